//! Unsafe acts: shared memory by address, and instructions that a partition should not use.
#![allow(unsafe_code)] // that is what it is for

use core::arch::{asm, global_asm};
use core::ops::Range;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use hostile_image::{END, PAGE};
use lhca_driver::{Line, Platform};
use x86_64::VirtAddr;
use x86_64::instructions::tables::sidt;
use x86_64::structures::idt::{Entry, HandlerFunc};

use super::machine::Machine;

/// Memory that is ours to lose, whatever the hypervisor puts there.
pub(super) struct Scratch {
    start: u64,
    words: u64,
}

impl Scratch {
    pub(super) fn new(machine: &mut Machine, lines: usize) -> Self {
        let lines = machine.memory.lines(lines);
        let start = machine.lhca.platform().physical(lines.as_ptr().cast());
        Self { start, words: size_of_val(lines) as u64 / 8 }
    }

    /// All of the free memory, but for a few lines.
    pub(super) fn all(machine: &mut Machine) -> Self {
        let lines = machine.memory.left() / size_of::<Line>();
        Self::new(machine, lines)
    }

    /// The free memory as it is, to look at: it stays free.
    pub(super) fn free(machine: &mut Machine) -> Self {
        let words = machine.memory.left() as u64 / 8;
        Self { words, ..Self::new(machine, 0) }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start + 8 * self.words
    }

    /// The address of the word `index`, which wraps around.
    pub(super) fn address(&self, index: u64) -> u64 {
        self.start + 8 * (index % self.words)
    }

    pub(super) fn words(&self) -> u64 {
        self.words
    }

    pub(super) fn get(&self, index: u64) -> u64 {
        let word: *const u64 = with_exposed_provenance(self.address(index) as usize);
        // SAFETY: it is an aligned word of memory without references to it; any bits are a number.
        unsafe { word.read_volatile() }
    }

    pub(super) fn put(&self, index: u64, value: u64) {
        let word: *mut u64 = with_exposed_provenance_mut(self.address(index) as usize);
        // SAFETY: as above.
        unsafe { word.write_volatile(value) };
    }

    /// Writes the index at `offset` of the ring at the word `ring`, and leaves the event index beside it.
    pub(super) fn set_index(&self, ring: u64, offset: usize, index: u32) {
        let place = ring + offset as u64 / 8;
        self.put(place, self.get(place) & !0xffff_ffff | u64::from(index));
    }
}

/// Maps all addresses up to [`END`] at themselves.
///
/// The page tables with which a partition begins are where the hypervisor put them, have 1 GiB pages, and end at 4 GiB.
pub(super) fn map_all(machine: &mut Machine) {
    const ROOT: usize = 0x2000;
    const FIRST: u64 = 0x3000;
    const TABLE: u64 = 0b11; // present, writable
    const GIB_PAGE: u64 = 0b1000_0011; // and large
    const ENTRIES: u64 = 512;
    // Twice a page's lines have a page among them.
    let more = Scratch::new(machine, 2 * PAGE as usize / size_of::<Line>()).start.next_multiple_of(PAGE);
    let put = |table: u64, index: u64, value: u64| {
        let entry: *mut u64 = with_exposed_provenance_mut((table + 8 * index) as usize);
        // SAFETY: it is an entry of a table. What it maps is at its own address already, or unused in this partition.
        unsafe { entry.write_volatile(value) };
    };
    for gigabyte in 0..END >> 30 {
        let table = if gigabyte < ENTRIES { FIRST } else { more };
        put(table, gigabyte % ENTRIES, gigabyte << 30 | GIB_PAGE);
    }
    put(ROOT as u64, 1, more | TABLE);
}

/// Has an exception without a handler for it, for the next one, and for that.
pub(super) fn triple_fault() -> ! {
    let no_table = [0_u16; 5];
    // SAFETY: ends the partition.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const no_table, options(noreturn)) }
}

/// Does nothing for ever, and takes no interrupt.
pub(super) fn spin() -> ! {
    // SAFETY: ends nothing and changes nothing.
    unsafe { asm!("cli", "2: jmp 2b", options(noreturn)) }
}

// Goes on after a general-protection exception where R11 says.
global_asm!(
    "
    hostile_caught:
        mov [rsp + 8], r11
        add rsp, 8
        iretq"
);

unsafe extern "C" {
    static hostile_caught: u8;
}

/// From here on a general-protection exception leads on, in code that expects one, instead of to the end.
pub(super) fn catch_protection_faults() {
    const GENERAL_PROTECTION: usize = 13;
    let table: *mut Entry<HandlerFunc> = sidt().base.as_mut_ptr();
    // SAFETY: the table has all 256 entries; only the processor reads it, and there is no exception meanwhile.
    unsafe { (*table.add(GENERAL_PROTECTION)).set_handler_addr(VirtAddr::from_ptr(&raw const hostile_caught)) };
}

/// Declares functions that say whether an instruction was refused by an exception, for which
/// [`catch_protection_faults`] has prepared.
macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident: $instruction:literal;)*) => { $(
        $(#[$doc])*
        pub(super) fn $name(operand: u64) -> bool {
            let refused: u64;
            // SAFETY: it is refused, or shows what the attempt is to show, and this is the end of the partition.
            unsafe {
                asm!(
                    "lea r11, [rip + 2f]",
                    "mov ecx, 1",
                    $instruction,
                    "xor ecx, ecx",
                    "2:",
                    in("rax") operand,
                    out("rcx") refused,
                    out("rdx") _,
                    out("r11") _,
                );
            }
            refused == 1
        }
    )* };
}

refused! {
    /// Writes the task priority register.
    is_priority_refused: "mov cr8, rax";
    /// Reads from an address.
    is_load_refused: "mov rdx, [rax]";
    /// Writes to an address.
    is_store_refused: "mov qword ptr [rax], -1";
}
