//! Backtraces for panic and fault reports.
#![allow(unsafe_code)] // the stack is read by address

use core::fmt;

use super::stack::STACKS;

/// Instruction pointer and frame pointer of code. Displays the return addresses, innermost first.
#[derive(Clone, Copy, Debug)]
pub struct Backtrace {
    rip: u64,
    rbp: u64,
}

/// Creates the backtrace of code at `rip` whose frame pointer is `rbp`.
#[must_use]
pub fn from(rip: u64, rbp: u64) -> Backtrace {
    Backtrace { rip, rbp }
}

/// Number of calls shown at most.
const DEPTH: usize = 16;

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:x}", self.rip)?;
        let mut frame = self.rbp;
        for _ in 0..DEPTH {
            if !frame.is_multiple_of(8) || !STACKS.contains(frame, 16) {
                break;
            }
            // SAFETY: the two words lie within a stack, which is mapped, and are aligned.
            let [next, rip] = unsafe { core::ptr::with_exposed_provenance::<[u64; 2]>(frame as usize).read_volatile() };
            write!(f, " < {rip:x}")?;
            if next <= frame {
                break;
            }
            frame = next;
        }
        Ok(())
    }
}
