//! Memory and nested page tables of one partition, scrubbed before and after its use.
//!
//! Scrubbing takes long, so the boot processor does it in pieces: before a partition is created by
//! [`PartitionMemory::scrub`], and after its end by [`scrub_pending`].
#![allow(unsafe_code)] // hands frames to `Memory`

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use spin::Mutex;

use super::hypercalls::Hypercalls;
use super::memory::Memory;
use crate::cpu::{apic, local};
use crate::memory::map::Range;
use crate::memory::paging::{MapError, PageTables, Rights};
use crate::memory::{Caching, KernelTables, PAGE, Wiping, allocate_as_it_is, free};

/// Rights of a nested page: all, for user accesses, as all accesses of a guest are (APM vol. 2, 15.25.5).
const OPEN: Rights = Rights::READ.union(Rights::WRITE).union(Rights::USER);

/// Size of a large page, in bytes: memory of at least this size is aligned to it.
const LARGE: u64 = 2 << 20;

/// Memory of ended partitions that must be scrubbed.
static PENDING: Mutex<VecDeque<PendingScrub>> = Mutex::new(VecDeque::new());

/// The memory of a partition.
#[derive(Debug)]
pub struct PartitionMemory {
    frames: Range,
    /// `None` only while the value is dropped.
    nested: Option<PageTables>,
    contents: Memory,
    /// `None` once all of it is scrubbed.
    wiping: Option<Wiping>,
    /// LHCA of the partition, which learns when the memory is free.
    lhca: Option<Arc<dyn Hypercalls>>,
}

/// Memory of an ended partition.
struct PendingScrub {
    frames: Range,
    wiping: Wiping,
    lhca: Option<Arc<dyn Hypercalls>>,
}

impl PartitionMemory {
    /// Allocates `size` bytes, a multiple of a page, which the partition sees from address 0 on. `None` if no such
    /// memory is free.
    #[must_use]
    pub fn new(size: u64) -> Option<Self> {
        let frames = allocate_as_it_is(size, if size >= LARGE { LARGE } else { PAGE })?;
        let base = NonNull::new(with_exposed_provenance_mut(frames.start as usize))?;
        // SAFETY: the frames were given to this value alone, and are mapped; it outlives the `Memory` in it.
        let contents = unsafe { Memory::new(base, frames.len()) };
        let nested = PageTables::new(&mut KernelTables);
        let mut memory = Self { frames, nested, contents, wiping: Some(Wiping::new(frames)), lhca: None };
        let mapped = memory.nested.as_mut()?.map(&mut KernelTables, 0, frames.start, frames.len(), OPEN);
        mapped.is_ok().then_some(memory)
    }

    /// Scrubs a piece of the memory. Returns `true` if more must be scrubbed.
    pub fn scrub(&mut self) -> bool {
        let has_more = self.wiping.as_mut().is_some_and(Wiping::go_on);
        if !has_more {
            self.wiping = None;
        }
        has_more
    }

    /// Returns the contents.
    #[inline(always)]
    pub(super) fn contents(&self) -> &Memory {
        &self.contents
    }

    /// Sets the LHCA of the partition, which learns when the memory is free again.
    pub(super) fn set_lhca(&mut self, lhca: Option<Arc<dyn Hypercalls>>) {
        self.lhca = lhca;
    }

    /// Maps `size` bytes of a device at `to` to the partition's address `from`.
    ///
    /// # Errors
    /// A [`MapError`].
    pub(super) fn map_device(&mut self, from: u64, to: u64, size: u64, caching: Caching) -> Result<(), MapError> {
        let rights = match caching {
            Caching::Cached => OPEN,
            Caching::Uncached => OPEN | Rights::UNCACHED,
        };
        let nested = self.nested.as_mut().ok_or(MapError::NoMemory)?;
        nested.map(&mut KernelTables, from, to, size, rights | Rights::NO_EXECUTE)
    }

    /// Returns the physical address of the nested page tables.
    pub(super) fn nested_cr3(&self) -> u64 {
        self.nested.as_ref().map_or(0, PageTables::root)
    }
}

impl Drop for PartitionMemory {
    fn drop(&mut self) {
        if let Some(nested) = self.nested.take() {
            nested.destroy(&mut KernelTables);
        }
        let (frames, lhca) = (self.frames, self.lhca.take());
        PENDING.lock().push_back(PendingScrub { frames, wiping: Wiping::new(frames), lhca });
        apic::wake(local::cpu_at(0).apic_id());
    }
}

/// Scrubs a piece of the memory of ended partitions, and frees memory that is scrubbed. Returns `true` if more must be
/// scrubbed. The boot processor calls this, and is woken when a partition's memory arrives.
pub fn scrub_pending() -> bool {
    // Not under the lock: a processor that ends a partition waits for it.
    let Some(mut scrub) = PENDING.lock().pop_front() else { return false };
    if scrub.wiping.go_on() {
        PENDING.lock().push_front(scrub);
        return true;
    }
    if let Err(error) = free(scrub.frames) {
        log::error!("{error}");
    }
    if let Some(lhca) = scrub.lhca {
        lhca.released();
    }
    !PENDING.lock().is_empty()
}
