//! Memory map: from the firmware's entries to ranges of free memory.

use heapless::Vec;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::PAGE;

/// Range of addresses from `start` to `end`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Address after the last; not below `start`.
    pub end: u64,
}

impl Range {
    /// Returns the length in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns `true` if the range has no address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Type of an entry of usable memory (ACPI specification, table 15-374).
pub const USABLE: u32 = 1;

/// Entry of the firmware's memory map (BIOS function E820; QEMU's `etc/e820`).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FirmwareEntry {
    start: U64,
    length: U64,
    kind: U32,
}

impl FirmwareEntry {
    /// Returns the entry's range and type.
    #[must_use]
    pub fn decode(&self) -> (Range, u32) {
        let start = self.start.get();
        (Range { start, end: start.saturating_add(self.length.get()) }, self.kind.get())
    }
}

/// Number of ranges in a map at most.
const RANGES: usize = 32;

/// Ranges of free memory: whole pages, ascending, neither touching nor overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    ranges: Vec<Range, RANGES>,
}

impl Map {
    /// Creates the map of memory that an entry of `entries` (ranges with their types) marks usable and no entry marks
    /// otherwise. The entries may overlap and have any order.
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

    /// Returns the ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Returns the total length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// Returns `true` if the map has no memory.
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
        // A full map loses this range: there is less memory, but no memory twice.
        let _ = self.ranges.insert(at, new);
    }

    /// Removes the pages that `gone` touches from the map.
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

    /// Removes `size` bytes, rounded up to pages, from the first range that has them at a multiple of `align`, a power
    /// of two of at least [`PAGE`]. Returns `None` if no range has them.
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
    fn unsorted_entries_become_ascending_ranges() {
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
    fn adjacent_ranges_are_joined_and_partial_pages_dropped() {
        assert_eq!(map(&[(0x1000, 0x2000, 1), (0x2000, 0x3001, 1)]).ranges(), [range(0x1000, 0x3000)]);
        assert!(map(&[(0x1001, 0x1fff, 1)]).is_empty());
        let mut map = map(&[(0x1000, 0x5000, 1)]);
        map.subtract(range(0x2fff, 0x3001));
        assert_eq!(map.ranges(), [range(0x1000, 0x2000), range(0x4000, 0x5000)]);
    }

    #[test]
    fn ranges_at_the_end_of_the_address_space_do_not_overflow() {
        let mut map = map(&[(0x1000, u64::MAX, 1), (u64::MAX - 5, u64::MAX, 2)]);
        map.subtract(range(u64::MAX - 1, u64::MAX));
        assert_eq!(map.ranges(), [range(0x1000, !(PAGE - 1))]);
        assert_eq!(map.take(u64::MAX, PAGE), None);
    }

    #[test]
    fn taken_range_is_aligned_and_removed() {
        let mut map = map(&[(0x1000, 0x3000, 1), (0x10_0000, 0x60_0000, 1)]);
        assert_eq!(map.take(0x1001, PAGE), Some(range(0x1000, 0x3000)));
        assert_eq!(map.take(0x20_0000, 0x20_0000), Some(range(0x20_0000, 0x40_0000)));
        assert_eq!(map.take(0x20_0001, PAGE), None);
        assert_eq!(map.ranges(), [range(0x10_0000, 0x20_0000), range(0x40_0000, 0x60_0000)]);
    }

    #[test]
    fn full_map_loses_memory_and_stays_ordered() {
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
