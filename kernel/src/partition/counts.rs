//! Counters of a partition's VM exits.

use core::sync::atomic::{AtomicU64, Ordering};

use lhca_contract::Exits;

/// Reason of a VM exit, as [`Exits`] distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A doorbell.
    Doorbell,
    /// Another hypercall.
    Call,
    /// HLT.
    Halt,
    /// An interrupt of the processor.
    Interrupt,
    /// Any other reason.
    Other,
}

/// Number of VM exits by [`Reason`]. Any processor reads; the one that runs the partition counts.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; 5]);

impl Counts {
    /// Counts a VM exit.
    #[inline(always)]
    pub fn count(&self, reason: Reason) {
        let count = &self.0[reason as usize];
        // One processor counts at a time, so no count is lost.
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns the counts.
    #[must_use]
    pub fn exits(&self) -> Exits {
        let of = |reason: Reason| self.0[reason as usize].load(Ordering::Relaxed);
        Exits {
            doorbells: of(Reason::Doorbell),
            calls: of(Reason::Call),
            halts: of(Reason::Halt),
            interrupts: of(Reason::Interrupt),
            others: of(Reason::Other),
        }
    }

    /// Returns the number of VM exits for all reasons together.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count() {
        let counts = Counts::default();
        let reasons = [Reason::Doorbell, Reason::Call, Reason::Halt, Reason::Interrupt, Reason::Other];
        for (times, reason) in (1..).zip(reasons) {
            (0..times).for_each(|_| counts.count(reason));
        }
        assert_eq!(counts.exits(), Exits { doorbells: 1, calls: 2, halts: 3, interrupts: 4, others: 5 });
        assert_eq!(counts.all(), 15);
    }
}
