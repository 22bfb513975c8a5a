//! Where an image begins, and where it ends.
#![allow(unsafe_code)] // the entry, and what the processor's state and the image promise each other

use core::arch::global_asm;
use core::fmt::Display;
use core::panic::PanicInfo;
use core::ptr::with_exposed_provenance_mut;

use lhca_contract::InformationPage;
use lhca_driver::{Lhca, Line, Vmmcall};

use crate::end::end_with;
use crate::{Information, Machine, Memory, console, exit, interrupts};

/// Of the memory's end, this is the stack's. Images keep all their state there.
const STACK: u64 = 128 << 10;

// The entry. The hypervisor has
//   1. put us into 64-bit mode, with all memory mapped at its own addresses and interrupts off,
//   2. put the memory's end into RSP, and
//   3. put the information page's address into RDI, where `begin` takes it.
global_asm!(
    "
    .globl image_start
    image_start:
        xor ebp, ebp
        call {begin}
        ud2",
    begin = sym begin,
);

unsafe extern "Rust" {
    /// What the image is: [`crate::image`] defines it.
    safe fn platform_image(machine: &mut Machine<Vmmcall>) -> u64;
}

extern "C" fn begin(page: &'static InformationPage) -> ! {
    interrupts::load();
    let lhca = match Lhca::probe(Vmmcall) {
        Ok(lhca) => lhca,
        Err(error) => panic!("{error}"),
    };
    console::start();
    let start = page.image_end.next_multiple_of(size_of::<Line>() as u64);
    let end = page.memory.saturating_sub(STACK).max(start);
    let lines = (end - start) as usize / size_of::<Line>();
    // SAFETY: the hypervisor says that this is free memory behind the image; it is mapped and zeroed, and the stack,
    // which grows down from the memory's end, is the only other thing there.
    let lines = unsafe { core::slice::from_raw_parts_mut(with_exposed_provenance_mut(start as usize), lines) };
    let mut machine = Machine { lhca, information: Information::new(page), memory: Memory::new(lines) };
    let code = platform_image(&mut machine);
    end_with(code)
}

/// Returns the exit code of an image with this result, and prints an error.
pub fn report(result: Result<u64, impl Display>) -> u64 {
    result.unwrap_or_else(|error| {
        log::error!("{error}");
        exit::ERROR
    })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log::error!("{info}");
    end_with(exit::PANIC)
}
