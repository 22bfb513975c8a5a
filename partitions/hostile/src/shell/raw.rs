//! What safe code cannot do: shared memory by address, and instructions that a partition should not use.
#![allow(unsafe_code)] // that is what it is for

use core::arch::{asm, global_asm};
use core::ops::Range;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use lhca::{Line, Platform};
use x86_64::VirtAddr;
use x86_64::instructions::tables::sidt;
use x86_64::structures::idt::{Entry, HandlerFunc};

use super::Machine;

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
        // SAFETY: it is an aligned word of memory that nobody has a reference to; any bits are a number.
        unsafe { word.read_volatile() }
    }

    pub(super) fn put(&self, index: u64, value: u64) {
        let word: *mut u64 = with_exposed_provenance_mut(self.address(index) as usize);
        // SAFETY: as above.
        unsafe { word.write_volatile(value) };
    }
}

/// Reads from an address that has nothing, or writes there.
///
/// The page tables with which a partition begins have 1 GiB pages, and end at 4 GiB; the page that is needed is added.
pub(super) fn touch(address: u64, write: bool) {
    /// The table that maps 512 GiB, where the hypervisor put it.
    const TABLE: usize = 0x3000;
    const PRESENT_WRITABLE_HUGE: u64 = 0x83;
    let gigabyte = address >> 30;
    let entry: *mut u64 = with_exposed_provenance_mut(TABLE + 8 * (gigabyte as usize & 511));
    // SAFETY: it is an entry of the table in use, and what it maps is nobody's in this partition, or is mapped so already.
    unsafe { entry.write_volatile(gigabyte << 30 | PRESENT_WRITABLE_HUGE) };
    let word: *mut u64 = with_exposed_provenance_mut(address as usize);
    // SAFETY: there is nothing; if there is, the attempt has shown that.
    unsafe {
        if write {
            word.write_volatile(0x6861_6861_6861_6861);
        } else {
            word.read_volatile();
        }
    }
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

/// Writes the task priority register; whether that was refused by an exception, for which
/// [`catch_protection_faults`] has prepared.
pub(super) fn is_priority_refused(priority: u64) -> bool {
    let refused: u64;
    // SAFETY: it holds off interrupts, or is refused.
    unsafe {
        asm!(
            "lea r11, [rip + 2f]",
            "mov {refused:e}, 1",
            "mov cr8, {priority}",
            "xor {refused:e}, {refused:e}",
            "2:",
            priority = in(reg) priority,
            refused = out(reg) refused,
            out("r11") _,
        );
    }
    refused == 1
}
