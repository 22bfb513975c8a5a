//! The end of the partition.
#![allow(unsafe_code)] // halts the processor

use core::arch::asm;

use lhca_driver::{Lhca, Vmmcall};

/// Ends the partition.
pub(crate) fn end_with(code: u64) -> ! {
    if let Ok(lhca) = Lhca::probe(Vmmcall) {
        lhca.exit(code);
    }
    loop {
        // SAFETY: with interrupts off, this ends the partition.
        unsafe { asm!("cli", "hlt") };
    }
}
