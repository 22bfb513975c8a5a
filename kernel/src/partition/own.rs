//! Memory and nested page tables that one partition owns, wiped before and after.
//!
//! Much memory takes long to wipe. So that is done in pieces, by whoever looks after the machine: before a partition is made,
//! through [`Own::wipe`], and when it is gone, through [`tidy`].
#![allow(unsafe_code)] // hands frames to `Memory`

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use spin::Mutex;

use super::Hypercalls;
use super::memory::Memory;
use crate::cpu::{apic, local};
use crate::memory::map::Range;
use crate::memory::paging::{MapError, PageTables, Rights};
use crate::memory::{Caching, KernelTables, PAGE, Wiping, allocate_as_it_is, free};

/// What a nested page may be used for: everything, by the guest, whose accesses all count as ring 3's.
const OPEN: Rights = Rights::READ.union(Rights::WRITE).union(Rights::USER);

/// The largest pages that help: memory of at least this size begins at a multiple of it.
const LARGE: u64 = 2 << 20;

/// What partitions have left, to be wiped.
static LEFT: Mutex<VecDeque<Left>> = Mutex::new(VecDeque::new());

/// A partition's memory, its own from before its making to its end.
#[derive(Debug)]
pub struct Own {
    frames: Range,
    /// `None` only while it is taken apart.
    nested: Option<PageTables>,
    pub(super) memory: Memory,
    /// `None` once all is wiped.
    wiping: Option<Wiping>,
    /// Who is told when all of it is free again.
    pub(super) told: Option<Arc<dyn Hypercalls>>,
}

/// Memory that was a partition's.
struct Left {
    frames: Range,
    wiping: Wiping,
    told: Option<Arc<dyn Hypercalls>>,
}

impl Own {
    /// `size` bytes, a multiple of a page, that the partition will see from address 0 on. `None` if there is no such memory.
    #[must_use]
    pub fn new(size: u64) -> Option<Self> {
        let frames = allocate_as_it_is(size, if size >= LARGE { LARGE } else { PAGE })?;
        let base = NonNull::new(with_exposed_provenance_mut(frames.start as usize))?;
        // SAFETY: the frames were given to this value alone, and are mapped; it outlives the `Memory` in it.
        let memory = unsafe { Memory::new(base, frames.len()) };
        let nested = PageTables::new(&mut KernelTables);
        let mut own = Self { frames, nested, memory, wiping: Some(Wiping::new(frames)), told: None };
        let mapped = own.nested.as_mut()?.map(&mut KernelTables, 0, frames.start, frames.len(), OPEN);
        mapped.is_ok().then_some(own)
    }

    /// Wipes a piece of it, if it has not been wiped. Whether there is more to wipe.
    pub fn wipe(&mut self) -> bool {
        let has_more = self.wiping.as_mut().is_some_and(Wiping::go_on);
        if !has_more {
            self.wiping = None;
        }
        has_more
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
        let (frames, told) = (self.frames, self.told.take());
        LEFT.lock().push_back(Left { frames, wiping: Wiping::new(frames), told });
        apic::wake(local::cpu_at(0).apic_id());
    }
}

/// Wipes a piece of what partitions have left, and frees what is wiped. Whether there is more to wipe. It is the boot
/// processor that calls this, and that is woken when there is something.
pub fn tidy() -> bool {
    // Not under the lock, which who ends a partition waits for.
    let Some(mut left) = LEFT.lock().pop_front() else { return false };
    if left.wiping.go_on() {
        LEFT.lock().push_front(left);
        return true;
    }
    if let Err(error) = free(left.frames) {
        log::error!("{error}");
    }
    if let Some(lhca) = left.told {
        lhca.gone();
    }
    !LEFT.lock().is_empty()
}
