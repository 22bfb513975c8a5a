//! Report of an exception in the kernel.

use core::sync::atomic::{AtomicBool, Ordering};

use x86_64::registers::control::{Cr2, Cr3};
use x86_64::structures::idt::{ExceptionVector, PageFaultErrorCode};

use super::registers::Registers;
use super::{backtrace, local, port};
use crate::console;
use crate::exit::ExitCode;

/// Reports an exception on the console and ends the machine. The kernel recovers from no exception of its own.
pub(super) fn report(registers: &Registers) -> ! {
    static REPORTING: AtomicBool = AtomicBool::new(false);
    if REPORTING.swap(true, Ordering::Relaxed) {
        port::exit(ExitCode::FAULT); // the report itself faulted, or another processor's is under way
    }
    console::emergency(format_args!(
        "fault: {} (error {:#x}) on cpu {}\n{registers}\ncr2 {:016x}  cr3 {:016x}\n{}",
        Exception(registers),
        registers.error,
        local::cpu().index(),
        Cr2::read_raw(),
        Cr3::read_raw().0.start_address().as_u64(),
        backtrace::from(registers.rip, registers.rbp),
    ));
    port::exit(ExitCode::FAULT)
}

/// Display form of an exception: its name, and the access of a page fault.
struct Exception<'a>(&'a Registers);

impl core::fmt::Display for Exception<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match ExceptionVector::try_from(self.0.vector as u8) {
            Ok(ExceptionVector::Page) => {
                let error = PageFaultErrorCode::from_bits_truncate(self.0.error);
                let access = if error.contains(PageFaultErrorCode::INSTRUCTION_FETCH) {
                    "execution"
                } else if error.contains(PageFaultErrorCode::CAUSED_BY_WRITE) {
                    "write"
                } else {
                    "read"
                };
                let page =
                    if error.contains(PageFaultErrorCode::PROTECTION_VIOLATION) { "forbidden" } else { "unmapped" };
                write!(f, "page fault, {access} of {page} address {:#x}", Cr2::read_raw())
            }
            Ok(vector) => write!(f, "{vector:?} exception"),
            Err(_) => write!(f, "exception {}", self.0.vector),
        }
    }
}
