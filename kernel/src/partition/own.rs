//! Memory and nested page tables that one partition owns, and gives back wiped.
#![allow(unsafe_code)] // hands frames to `Memory`

use core::ptr::{NonNull, with_exposed_provenance_mut};

use super::memory::Memory;
use crate::memory::map::Range;
use crate::memory::paging::{MapError, PageTables, Rights};
use crate::memory::{Caching, KernelTables, PAGE, allocate, free, wipe};

/// What a nested page may be used for: everything, by the guest, whose accesses all count as ring 3's.
const OPEN: Rights = Rights::READ.union(Rights::WRITE).union(Rights::USER);

/// The largest pages that help: memory of at least this size begins at a multiple of it.
const LARGE: u64 = 2 << 20;

/// A partition's memory, its own from its making to its end.
#[derive(Debug)]
pub(super) struct Own {
    frames: Range,
    /// `None` only while it is taken apart.
    nested: Option<PageTables>,
    pub(super) memory: Memory,
}

impl Own {
    /// `size` bytes of zeros, a multiple of a page, that the partition will see from address 0 on. `None` if there is no
    /// such memory.
    pub(super) fn new(size: u64) -> Option<Self> {
        let frames = allocate(size, if size >= LARGE { LARGE } else { PAGE })?;
        let base = NonNull::new(with_exposed_provenance_mut(frames.start as usize))?;
        // SAFETY: the frames were given to this value alone, and are mapped; it outlives the `Memory` in it.
        let memory = unsafe { Memory::new(base, frames.len()) };
        let mut own = Self { frames, nested: PageTables::new(&mut KernelTables), memory };
        let mapped = own.nested.as_mut()?.map(&mut KernelTables, 0, frames.start, frames.len(), OPEN);
        mapped.is_ok().then_some(own)
    }

    /// Lets the partition see `size` bytes of a device at `to` from its address `from` on.
    pub(super) fn map_device(&mut self, from: u64, to: u64, size: u64, caching: Caching) -> Result<(), MapError> {
        let rights = match caching {
            Caching::Cached => OPEN,
            Caching::Uncached => OPEN | Rights::UNCACHED,
        };
        let nested = self.nested.as_mut().ok_or(MapError::NoMemory)?;
        nested.map(&mut KernelTables, from, to, size, rights | Rights::NO_EXECUTE)
    }

    /// The address of the nested page tables.
    pub(super) fn nested_cr3(&self) -> u64 {
        self.nested.as_ref().map_or(0, PageTables::root)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(nested) = self.nested.take() {
            nested.destroy(&mut KernelTables);
        }
        wipe(self.frames);
        if let Err(error) = free(self.frames) {
            log::error!("{error}");
        }
    }
}
