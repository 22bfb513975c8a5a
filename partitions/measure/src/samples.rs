//! Samples.

/// Repetitions of each operation.
pub(crate) const ROUNDS: usize = 200;

/// Instructions of each round.
#[derive(Default)]
pub(crate) struct Samples(heapless::Vec<u64, ROUNDS>);

impl Samples {
    /// Counts the instructions of `work`.
    pub(crate) fn count<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = now();
        let result = work();
        let after = now();
        // There is room for all rounds.
        let _ = self.0.push(after.wrapping_sub(before));
        result
    }

    /// Shows the least and the median of what was counted, the counting itself taken off.
    pub(crate) fn show(mut self, name: &str) {
        let mut nothing = Self::default();
        for _ in 0..ROUNDS {
            nothing.count(|| ());
        }
        let own = nothing.sorted().first().copied().unwrap_or(0);
        let sorted = self.sorted();
        let at = |place: usize| sorted.get(place).map_or(0, |count| count.saturating_sub(own));
        log::info!("figure {name} {} {}", at(0), at(sorted.len() / 2));
    }

    /// Returns `true` if most rounds took hardly more than the shortest.
    pub(crate) fn are_steady(mut self) -> bool {
        const MORE: u64 = 16;
        let sorted = self.sorted();
        let least = sorted.first().copied().unwrap_or(0);
        sorted.get(sorted.len() * 3 / 4).is_some_and(|count| *count <= least + MORE)
    }

    fn sorted(&mut self) -> &[u64] {
        self.0.sort_unstable();
        &self.0
    }
}

/// The time-stamp counter.
#[allow(unsafe_code)] // an instruction without effect
fn now() -> u64 {
    // SAFETY: RDTSC is allowed in every partition.
    unsafe { core::arch::x86_64::_rdtsc() }
}
