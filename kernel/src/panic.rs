//! Report of a panic.
#![allow(unsafe_code)] // reads the frame pointer

use core::arch::asm;
use core::panic::PanicInfo;

use x86_64::registers::control::{Cr2, Cr3};

use crate::console;
use crate::cpu::{backtrace, local, port};
use crate::exit::ExitCode;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (rsp, rbp, rip): (u64, u64, u64);
    // SAFETY: only registers are read.
    unsafe {
        asm!(
            "mov {}, rsp",
            "mov {}, rbp",
            "lea {}, [rip]",
            out(reg) rsp,
            out(reg) rbp,
            out(reg) rip,
            options(nostack, nomem)
        );
    }
    console::emergency(format_args!(
        "{info} on cpu {}\nrsp {rsp:016x}  rbp {rbp:016x}  cr2 {:016x}  cr3 {:016x}\n{}",
        local::cpu().index(),
        Cr2::read_raw(),
        Cr3::read_raw().0.start_address().as_u64(),
        backtrace::from(rip, rbp),
    ));
    port::exit(ExitCode::PANIC)
}
