//! Frame allocator: contiguous runs of free pages.

use alloc::collections::BTreeMap;

use super::PAGE;
use super::map::Range;

/// Free memory as runs of pages: start to end of each run. Runs do not touch.
#[derive(Debug, Default)]
pub struct Frames {
    free: BTreeMap<u64, u64>,
}

/// Error for a freed range that is not allocated: part of it is free, or it is not whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot free memory {:#x}..{:#x}: it is not allocated", .0.start, .0.end)]
pub struct NotAllocated(pub Range);

impl Frames {
    /// Creates an allocator without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: BTreeMap::new() }
    }

    /// Returns the number of free bytes.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free.iter().map(|(start, end)| end - start).sum()
    }

    /// Allocates `size` bytes, rounded up to pages and at least one, at a multiple of `align`, a power of two.
    ///
    /// Takes the lowest address that fits; returns `None` if none does.
    pub fn allocate(&mut self, size: u64, align: u64) -> Option<Range> {
        let size = size.max(1).checked_next_multiple_of(PAGE)?;
        let align = align.max(PAGE);
        let (run, taken) = self.free.iter().find_map(|(&start, &end)| {
            let at = start.checked_next_multiple_of(align)?;
            let taken = Range { start: at, end: at.checked_add(size)? };
            (taken.end <= end).then_some((Range { start, end }, taken))
        })?;
        self.free.remove(&run.start);
        self.insert(run.start, taken.start);
        self.insert(taken.end, run.end);
        Some(taken)
    }

    /// Frees an allocated range, or adds a range of new memory.
    ///
    /// # Errors
    /// [`NotAllocated`] if part of the range is free or it is not whole pages; nothing changes.
    pub fn free(&mut self, range: Range) -> Result<(), NotAllocated> {
        let whole = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE) && !range.is_empty();
        let before = self.free.range(..range.end).next_back().map(|(&start, &end)| Range { start, end });
        if !whole || before.is_some_and(|run| run.end > range.start) {
            return Err(NotAllocated(range));
        }
        let mut joined = range;
        if let Some(run) = before.filter(|run| run.end == range.start) {
            joined.start = run.start;
        }
        if let Some(end) = self.free.remove(&range.end) {
            joined.end = end;
        }
        self.free.insert(joined.start, joined.end);
        Ok(())
    }

    fn insert(&mut self, start: u64, end: u64) {
        if start < end {
            self.free.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(start: u64, end: u64) -> Frames {
        let mut frames = Frames::new();
        frames.free(Range { start, end }).unwrap();
        frames
    }

    #[test]
    fn freed_runs_are_joined() {
        let mut frames = frames(0x1000, 0x80_0000);
        let large = frames.allocate(0x20_0000, 0x20_0000).unwrap();
        assert_eq!(large, Range { start: 0x20_0000, end: 0x40_0000 });
        let small = frames.allocate(1, 1).unwrap();
        assert_eq!(small, Range { start: 0x1000, end: 0x2000 });
        assert_eq!(frames.allocate(0x40_0001, PAGE), None);
        frames.free(small).unwrap();
        frames.free(large).unwrap();
        assert_eq!(frames.free.len(), 1);
        assert_eq!(frames.available(), 0x7f_f000);
    }

    #[test]
    fn free_range_freed_again_is_refused() {
        let mut frames = frames(0x1000, 0x5000);
        for (start, end) in
            [(0x1000, 0x2000), (0x4000, 0x6000), (0, 0x2000), (0, 0x9000), (0x6000, 0x6000), (0x6001, 0x7000)]
        {
            let range = Range { start, end };
            assert_eq!(frames.free(range), Err(NotAllocated(range)));
        }
        assert_eq!(frames.available(), 0x4000);
    }

    proptest! {
        #[test]
        fn random_allocations_do_not_overlap_and_are_all_freed(
            steps in prop::collection::vec((any::<bool>(), 1_u64..9, 0_u32..4, any::<prop::sample::Index>()), 1..200)
        ) {
            let mut frames = frames(0x1000, 0x40_000);
            let all = frames.available();
            let mut given: Vec<Range> = Vec::new();
            for (take, pages, align, which) in steps {
                if take {
                    if let Some(range) = frames.allocate(pages * PAGE, PAGE << align) {
                        prop_assert!(range.start.is_multiple_of(PAGE << align) && range.len() == pages * PAGE);
                        prop_assert!(given.iter().all(|other| other.end <= range.start || range.end <= other.start));
                        given.push(range);
                    }
                } else if !given.is_empty() {
                    frames.free(given.swap_remove(which.index(given.len()))).unwrap();
                }
                prop_assert_eq!(frames.available() + given.iter().map(|range| range.len()).sum::<u64>(), all);
            }
            for range in given {
                frames.free(range).unwrap();
            }
            prop_assert_eq!(frames.free.len(), 1);
        }
    }
}
