//! How often a partition was left.

use core::sync::atomic::{AtomicU64, Ordering};

use lhca_contract::Exits;

/// Why a partition was left, as [`Exits`] tells reasons apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It rang.
    Doorbell,
    /// Another hypercall.
    Call,
    /// HLT.
    Halt,
    /// An interrupt of the processor.
    Interrupt,
    /// All else.
    Other,
}

/// How often a partition was left, by [`Reason`]. Anybody reads; only the processor that runs the partition counts.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; 5]);

impl Counts {
    /// Counts one more.
    #[inline(always)]
    pub fn count(&self, reason: Reason) {
        let count = &self.0[reason as usize];
        // Nobody else counts, so no other's count is lost.
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// What was counted.
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

    /// How often it was left, for whatever reason.
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
