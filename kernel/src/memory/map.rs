//! The map of memory: from what the firmware says to ranges that are surely free.

use heapless::Vec;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::PAGE;

/// Addresses from `start` up to `end`, `end` not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The address after the last; never below `start`.
    pub end: u64,
}

impl Range {
    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Type of an entry that is memory free to use; all others are not (ACPI specification, table 15-374).
pub const USABLE: u32 = 1;

/// An entry as the firmware gives it (BIOS function E820; QEMU's `etc/e820`).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FirmwareEntry {
    start: U64,
    length: U64,
    kind: U32,
}

impl FirmwareEntry {
    /// What it covers and its type.
    #[must_use]
    pub fn decode(&self) -> (Range, u32) {
        let start = self.start.get();
        (Range { start, end: start.saturating_add(self.length.get()) }, self.kind.get())
    }
}

/// The most ranges that are kept apart.
const RANGES: usize = 32;

/// Ranges of free memory: whole pages, ascending, neither touching nor overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    ranges: Vec<Range, RANGES>,
}

impl Map {
    /// What is usable in `entries` (ranges with their types) and not also claimed by an entry of another type. The
    /// entries may overlap and come in any order.
    pub fn new(entries: impl Iterator<Item = (Range, u32)> + Clone) -> Self {
        let mut map = Self::default();
        for (range, _) in entries.clone().filter(|(_, kind)| *kind == USABLE) {
            map.add(Range { start: range.start.next_multiple_of(PAGE), end: range.end & !(PAGE - 1) });
        }
        for (range, _) in entries.filter(|(_, kind)| *kind != USABLE) {
            map.subtract(range);
        }
        map
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Total length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// Whether there is no memory at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn add(&mut self, mut new: Range) {
        if new.is_empty() {
            return;
        }
        self.ranges.retain(|old| {
            let apart = old.end < new.start || new.end < old.start;
            if !apart {
                new = Range { start: old.start.min(new.start), end: old.end.max(new.end) };
            }
            apart
        });
        let at = self.ranges.partition_point(|old| old.start < new.start);
        // A map with more pieces than are kept loses this one: there is less memory, but none twice.
        let _ = self.ranges.insert(at, new);
    }

    /// Takes the pages that `gone` touches out of the map.
    pub fn subtract(&mut self, gone: Range) {
        if gone.is_empty() {
            return;
        }
        let gone =
            Range { start: gone.start & !(PAGE - 1), end: gone.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX) };
        let mut rest = Self::default();
        for range in &self.ranges {
            rest.add(Range { start: range.start, end: range.end.min(gone.start) });
            rest.add(Range { start: range.start.max(gone.end), end: range.end });
        }
        *self = rest;
    }

    /// Takes `size` bytes (rounded up to pages) out of the map, from the first range that has them, at a multiple of
    /// `align`, a power of two not below [`PAGE`].
    pub fn take(&mut self, size: u64, align: u64) -> Option<Range> {
        let size = size.checked_next_multiple_of(PAGE)?;
        let found = self.ranges.iter().find_map(|range| {
            let start = range.start.checked_next_multiple_of(align)?;
            let end = start.checked_add(size)?;
            (end <= range.end).then_some(Range { start, end })
        })?;
        self.subtract(found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    fn map(entries: &[(u64, u64, u32)]) -> Map {
        Map::new(entries.iter().map(|&(start, end, kind)| (range(start, end), kind)))
    }

    #[test]
    fn unsorted_overlapping_entries_become_ascending_ranges() {
        let map = map(&[
            (0x10_0000, 0x800_0000, 1),
            (0xfffc_0000, 0x1_0000_0000, 2),
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0xa_0000, 2),
            (0x7fe_0000, 0x800_0000, 2),
            (0x800_0000, 0x900_0000, 1),
            (0x20_0000, 0x20_1000, 4),
            (0, 0, 0),
        ]);
        assert_eq!(
            map.ranges(),
            [
                range(0, 0x9_f000),
                range(0x10_0000, 0x20_0000),
                range(0x20_1000, 0x7fe_0000),
                range(0x800_0000, 0x900_0000)
            ]
        );
    }

    #[test]
    fn touching_ranges_join_and_partial_pages_are_lost() {
        assert_eq!(map(&[(0x1000, 0x2000, 1), (0x2000, 0x3001, 1)]).ranges(), [range(0x1000, 0x3000)]);
        assert!(map(&[(0x1001, 0x1fff, 1)]).is_empty());
        let mut map = map(&[(0x1000, 0x5000, 1)]);
        map.subtract(range(0x2fff, 0x3001));
        assert_eq!(map.ranges(), [range(0x1000, 0x2000), range(0x4000, 0x5000)]);
    }

    #[test]
    fn the_ends_of_the_address_space_do_no_harm() {
        let mut map = map(&[(0x1000, u64::MAX, 1), (u64::MAX - 5, u64::MAX, 2)]);
        map.subtract(range(u64::MAX - 1, u64::MAX));
        assert_eq!(map.ranges(), [range(0x1000, !(PAGE - 1))]);
        assert_eq!(map.take(u64::MAX, PAGE), None);
    }

    #[test]
    fn taking_aligns_and_never_gives_twice() {
        let mut map = map(&[(0x1000, 0x3000, 1), (0x10_0000, 0x60_0000, 1)]);
        assert_eq!(map.take(0x1001, PAGE), Some(range(0x1000, 0x3000)));
        assert_eq!(map.take(0x20_0000, 0x20_0000), Some(range(0x20_0000, 0x40_0000)));
        assert_eq!(map.take(0x20_0001, PAGE), None);
        assert_eq!(map.ranges(), [range(0x10_0000, 0x20_0000), range(0x40_0000, 0x60_0000)]);
    }

    #[test]
    fn more_pieces_than_are_kept_lose_memory_only() {
        let mut map = map(&[(0, 0x100_0000, 1)]);
        let before = map.len();
        for hole in 0..100 {
            map.subtract(range(hole * 0x2000, hole * 0x2000 + 1));
        }
        assert!(map.len() <= before - 100 * PAGE);
        assert!(map.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        assert!(map.ranges().iter().all(|range| range.start >= 200 * PAGE || range.start / PAGE % 2 == 1));
    }
}
