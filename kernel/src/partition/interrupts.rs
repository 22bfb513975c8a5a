//! Pending interrupts of a partition.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Pending vectors: a bit each, and a flag that is set while there may be any.
#[derive(Debug, Default)]
pub struct Pending {
    any: AtomicBool,
    vectors: [AtomicU64; 4],
}

impl Pending {
    /// Notes a vector; noted twice it is still one interrupt.
    pub fn set(&self, vector: u8) {
        self.vectors[usize::from(vector / 64)].fetch_or(1 << (vector % 64), Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
    }

    /// Returns `true` if a vector is pending.
    #[must_use]
    pub fn any(&self) -> bool {
        self.vectors.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Returns `false` if no vector is pending; `true` may be out of date.
    #[inline]
    #[must_use]
    pub fn maybe(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes the highest vector. Only one side takes.
    #[inline]
    pub fn take(&self) -> Option<u8> {
        if self.maybe() { self.search() } else { None }
    }

    #[cold]
    fn search(&self) -> Option<u8> {
        // First, so that what comes from here on is found the next time.
        self.any.store(false, Ordering::SeqCst);
        let mut words = [0_u8, 1, 2, 3].into_iter().zip(&self.vectors).rev();
        let found = words.find_map(|(nth, word)| Some((nth, word, word.load(Ordering::SeqCst).checked_ilog2()?)));
        let (nth, word, bit) = found?;
        word.fetch_and(!(1 << bit), Ordering::AcqRel);
        if self.any() {
            self.any.store(true, Ordering::Release);
        }
        Some(nth * 64 + bit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_comes_first_and_each_once() {
        let pending = Pending::default();
        for vector in [0x20, 0xff, 0x40, 0x20, 0x3f, 0] {
            pending.set(vector);
        }
        assert!(pending.any());
        let taken: Vec<u8> = core::iter::from_fn(|| pending.take()).collect();
        assert_eq!(taken, [0xff, 0x40, 0x3f, 0x20, 0]);
        assert!(!pending.any());
    }

    #[test]
    fn once_the_last_is_taken_there_is_none_for_sure() {
        let pending = Pending::default();
        pending.set(0x20);
        pending.set(0xff);
        pending.take();
        assert!(pending.maybe());
        pending.take();
        assert!(!pending.maybe());
    }
}
