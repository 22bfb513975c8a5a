//! Interrupts that wait for a partition.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A bit for each vector, and whether there may be any.
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

    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.vectors.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Whether there may be any: what is not so is so for sure.
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
        for (nth, word) in [0_u8, 1, 2, 3].into_iter().zip(&self.vectors).rev() {
            let bits = word.load(Ordering::SeqCst);
            if let Some(bit) = bits.checked_ilog2() {
                word.fetch_and(!(1 << bit), Ordering::AcqRel);
                self.any.store(true, Ordering::Release); // there may be more
                return Some(nth * 64 + bit as u8);
            }
        }
        None
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
}
