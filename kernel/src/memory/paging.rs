//! Page tables of AMD64 long mode (APM vol. 2, 5.3), also used for nested paging (15.25.5).

use core::sync::atomic::{AtomicU64, Ordering};

use bitflags::bitflags;

use super::PAGE;

bitflags! {
    /// Access rights of an entry (APM vol. 2, 5.4.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u64 {
        /// Readable.
        const READ = 1 << 0;
        /// Writable.
        const WRITE = 1 << 1;
        /// Accessible from ring 3; every nested entry needs it, because guest accesses count as ring 3's (15.25.5).
        const USER = 1 << 2;
        /// Not cached, with the default page attribute table: for device registers.
        const UNCACHED = 1 << 3 | 1 << 4;
        /// Not executable.
        const NO_EXECUTE = 1 << 63;
    }
}

/// Flag of an entry above the lowest level that maps a page.
const LARGE: u64 = 1 << 7;
/// Address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Rights of an entry that points to a table; the entries below restrict them.
const TABLE: u64 = Rights::READ.union(Rights::WRITE).union(Rights::USER).bits();
/// Number of levels.
const LEVELS: u32 = 4;
/// Number of address bits: the lower half of the canonical addresses.
const ADDRESS_BITS: u32 = 47;

/// Page table. Its entries are atomics because the processor reads them and sets bits at any time.
pub type Table = [AtomicU64; 512];

/// Memory of tables.
pub trait TableMemory {
    /// Allocates a table of zeros and returns its address.
    fn allocate(&mut self) -> Option<u64>;
    /// Frees an allocated table.
    fn free(&mut self, address: u64);
    /// Returns the allocated table at an address.
    fn table(&self, address: u64) -> &Table;
}

/// Tree of page tables.
#[derive(Debug)]
pub struct PageTables {
    root: u64,
}

/// Error for a range that cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// An address or the length is not whole pages, or out of range.
    #[error("cannot map {0:#x}: it is not a page's address below 2^47")]
    Address(u64),
    /// The address is mapped already.
    #[error("cannot map {0:#x}: it is mapped already")]
    Occupied(u64),
    /// The memory for another table is exhausted.
    #[error("cannot map memory: no memory for another page table")]
    NoMemory,
}

/// Returns the number of address bits below those that index a table of `level`; 0 is the lowest level.
const fn shift(level: u32) -> u32 {
    12 + 9 * level
}

const fn index(address: u64, level: u32) -> usize {
    (address >> shift(level)) as usize & 0x1ff
}

impl PageTables {
    /// Creates tables without mappings. Returns `None` without memory.
    pub fn new(memory: &mut impl TableMemory) -> Option<Self> {
        memory.allocate().map(|root| Self { root })
    }

    /// Returns the physical address of the root table, for CR3 or nCR3.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps `size` bytes at address `from` to physical address `to`, with the largest pages that fit.
    ///
    /// # Errors
    /// [`MapError`] for the first address that fails; addresses below it stay mapped.
    pub fn map(
        &mut self,
        memory: &mut impl TableMemory,
        from: u64,
        to: u64,
        size: u64,
        rights: Rights,
    ) -> Result<(), MapError> {
        let last = from.checked_add(size).ok_or(MapError::Address(from))?;
        for address in [from, to, last] {
            if !address.is_multiple_of(PAGE) || address >> ADDRESS_BITS != 0 {
                return Err(MapError::Address(address));
            }
        }
        let mut done = 0;
        while done < size {
            let (from, to) = (from + done, to + done);
            let fits = |level: &u32| {
                let page = 1 << shift(*level);
                (from | to).is_multiple_of(page) && size - done >= page
            };
            let level = [2, 1].into_iter().find(fits).unwrap_or(0);
            self.map_page(memory, from, to, level, rights)?;
            done += 1 << shift(level);
        }
        Ok(())
    }

    fn map_page(
        &mut self,
        memory: &mut impl TableMemory,
        from: u64,
        to: u64,
        level: u32,
        rights: Rights,
    ) -> Result<(), MapError> {
        let mut table = self.root;
        for above in (level + 1..LEVELS).rev() {
            let entry = memory.table(table)[index(from, above)].load(Ordering::Relaxed);
            table = if entry & Rights::READ.bits() == 0 {
                let new = memory.allocate().ok_or(MapError::NoMemory)?;
                memory.table(table)[index(from, above)].store(new | TABLE, Ordering::Release);
                new
            } else if entry & LARGE == 0 {
                entry & ADDRESS
            } else {
                return Err(MapError::Occupied(from));
            };
        }
        let entry = &memory.table(table)[index(from, level)];
        if entry.load(Ordering::Relaxed) & Rights::READ.bits() != 0 {
            return Err(MapError::Occupied(from));
        }
        let large = if level > 0 { LARGE } else { 0 };
        entry.store(to | rights.bits() | large, Ordering::Release);
        Ok(())
    }

    /// Returns the physical address and the rights of a mapped address.
    pub fn translate(&self, memory: &impl TableMemory, address: u64) -> Option<(u64, Rights)> {
        if address >> ADDRESS_BITS != 0 {
            return None;
        }
        let mut table = self.root;
        for level in (0..LEVELS).rev() {
            let entry = memory.table(table)[index(address, level)].load(Ordering::Relaxed);
            if entry & Rights::READ.bits() == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let offset = address & ((1 << shift(level)) - 1);
                return Some((
                    entry & ADDRESS & !((1 << shift(level)) - 1) | offset,
                    Rights::from_bits_truncate(entry),
                ));
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// Frees all tables. No processor may use them any more.
    pub fn destroy(self, memory: &mut impl TableMemory) {
        destroy(memory, self.root, LEVELS - 1);
    }
}

fn destroy(memory: &mut impl TableMemory, table: u64, level: u32) {
    if level > 0 {
        for slot in 0..512 {
            let entry = memory.table(table)[slot].load(Ordering::Relaxed);
            if entry & Rights::READ.bits() != 0 && entry & LARGE == 0 {
                destroy(memory, entry & ADDRESS, level - 1);
            }
        }
    }
    memory.free(table);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Tables on the host's heap; `left` more can be allocated.
    struct Tables {
        tables: HashMap<u64, Box<Table>>,
        next: u64,
        left: usize,
    }

    impl Tables {
        fn new(left: usize) -> Self {
            Self { tables: HashMap::new(), next: 0x7000_0000, left }
        }
    }

    impl TableMemory for Tables {
        fn allocate(&mut self) -> Option<u64> {
            self.left = self.left.checked_sub(1)?;
            self.next += PAGE;
            self.tables.insert(self.next, Box::new([const { AtomicU64::new(0) }; 512]));
            Some(self.next)
        }

        fn free(&mut self, address: u64) {
            self.tables.remove(&address).expect("a table is freed once");
            self.left += 1;
        }

        fn table(&self, address: u64) -> &Table {
            &self.tables[&address]
        }
    }

    const DATA: Rights = Rights::READ.union(Rights::WRITE).union(Rights::NO_EXECUTE);

    #[test]
    fn mapping_uses_the_largest_pages() {
        let mut memory = Tables::new(100);
        let mut pages = PageTables::new(&mut memory).unwrap();
        pages.map(&mut memory, 0x3fff_f000, 0x3fff_f000, 0x4000_0000 + 0x20_1000 + 0x1000, DATA).unwrap();
        // Root, the third level, and for the 4 KiB page before the gigabyte, and for the pages after it, two each.
        assert_eq!(memory.tables.len(), 2 + 2 + 2);
        for address in [0x3fff_f000, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0x8020_0fff] {
            assert_eq!(pages.translate(&memory, address), Some((address, DATA)));
        }
        assert_eq!(pages.translate(&memory, 0x3fff_efff), None);
        assert_eq!(pages.translate(&memory, 0x8020_1000), None);
        assert_eq!(pages.translate(&memory, 1 << 47), None);
        pages.destroy(&mut memory);
        assert!(memory.tables.is_empty());
    }

    #[test]
    fn mapped_address_is_refused() {
        let mut memory = Tables::new(100);
        let mut pages = PageTables::new(&mut memory).unwrap();
        pages.map(&mut memory, 0x20_0000, 0, 0x20_0000, DATA).unwrap();
        assert_eq!(pages.map(&mut memory, 0x30_0000, 0, PAGE, DATA), Err(MapError::Occupied(0x30_0000)));
        assert_eq!(pages.map(&mut memory, 0x1f_f000, 0, 2 * PAGE, DATA), Err(MapError::Occupied(0x20_0000)));
        assert_eq!(pages.map(&mut memory, 0x1f_f000, 0, PAGE, DATA), Err(MapError::Occupied(0x1f_f000)));
    }

    #[test]
    fn unaligned_or_high_address_is_refused() {
        let mut memory = Tables::new(1);
        let mut pages = PageTables::new(&mut memory).unwrap();
        for (from, to, size) in [(1, 0, PAGE), (0, 1, PAGE), (0, 0, 1), (1 << 47, 0, PAGE), (!0xfff, 0, PAGE)] {
            assert!(matches!(pages.map(&mut memory, from, to, size, DATA), Err(MapError::Address(_))), "{from:#x}");
        }
        assert_eq!(pages.map(&mut memory, 0, 0, PAGE, DATA), Err(MapError::NoMemory));
    }

    /// Returns all mappings of a table: address, physical address, and size in bytes.
    fn leaves(memory: &Tables, table: u64, level: u32, from: u64) -> Vec<(u64, u64, u64)> {
        let size = 1 << shift(level);
        let entries = (0..).map(|nth| from + nth * size).zip(memory.table(table));
        let found = entries.flat_map(|(from, entry)| match entry.load(Ordering::Relaxed) {
            0 => Vec::new(),
            entry if level == 0 || entry & LARGE != 0 => vec![(from, entry & ADDRESS & !(size - 1), size)],
            entry => leaves(memory, entry & ADDRESS, level - 1, from),
        });
        found.collect()
    }

    proptest! {
        #[test]
        fn exactly_the_mapped_addresses_translate(
            from in 0_u64..0x4_0000, to in 0_u64..0x4_0000, pages in 1_u64..0x900, probe in 0_u64..0x5_0000
        ) {
            let mut memory = Tables::new(100);
            let mut tables = PageTables::new(&mut memory).unwrap();
            tables.map(&mut memory, from * PAGE, to * PAGE, pages * PAGE, DATA).unwrap();
            let mapped = probe.checked_sub(from).filter(|nth| *nth < pages);
            let expected = mapped.map(|nth| ((to + nth) * PAGE + 0x123, DATA));
            prop_assert_eq!(tables.translate(&memory, probe * PAGE + 0x123), expected);
            let mut next = (from * PAGE, to * PAGE);
            for (from, to, size) in leaves(&memory, tables.root, LEVELS - 1, 0) {
                prop_assert_eq!((from, to), next);
                next = (from + size, to + size);
            }
            prop_assert_eq!(next.0, (from + pages) * PAGE, "all of it, and nothing of any other address");
            tables.destroy(&mut memory);
            prop_assert!(memory.tables.is_empty());
        }
    }
}
