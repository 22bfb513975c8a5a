//! Rings in a partition's memory, checked once and accessed often.
#![allow(unsafe_code)] // memory by address

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};

use lhca_contract::ring::{self, ENTRIES};

use super::logical_partition::Partition;
use super::memory::BadAddress;

/// A ring in a partition's memory, which the value keeps alive.
pub struct Ring<E> {
    control: NonNull<[AtomicU32; ENTRIES / 4]>,
    entries: NonNull<AtomicU64>,
    mask: u32,
    _partition: Arc<Partition>,
    _entries: PhantomData<fn(E)>,
}

// SAFETY: the ring is atomics, and the partition may be dropped anywhere.
unsafe impl<E> Send for Ring<E> {}
// SAFETY: as above.
unsafe impl<E> Sync for Ring<E> {}

impl<E> Ring<E> {
    /// Words of an entry.
    const WORDS: usize = size_of::<E>() / size_of::<AtomicU64>();

    /// Opens the ring of 2 to the power `log_entries` entries at `address`, a multiple of 8.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub(super) fn new(partition: &Arc<Partition>, address: u64, log_entries: u8) -> Result<Self, BadAddress> {
        let memory = partition.memory();
        let bytes = ring::bytes(log_entries, size_of::<E>());
        let words = NonNull::from(memory.u64s(address, bytes / size_of::<AtomicU64>())?).cast::<AtomicU64>();
        Ok(Self {
            control: words.cast(),
            // SAFETY: the entries follow the control words, in the memory that was just found to be there.
            entries: unsafe { words.add(ENTRIES / size_of::<AtomicU64>()) },
            mask: (1 << log_entries) - 1,
            _partition: partition.clone(),
            _entries: PhantomData,
        })
    }
}

impl<E> lhca_engine::Ring for Ring<E> {
    type Entry = E;

    #[inline(always)]
    fn mask(&self) -> u32 {
        self.mask
    }

    #[inline(always)]
    fn control(&self) -> &[AtomicU32; ENTRIES / 4] {
        // SAFETY: the memory stays in place as long as its partition lives, which this keeps alive; it is aligned, and
        // shared through atomics only.
        unsafe { self.control.as_ref() }
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> &[AtomicU64] {
        let start = (index & self.mask) as usize * Self::WORDS;
        // SAFETY: as above; there are as many entries as the mask lets through, and one more.
        unsafe { NonNull::slice_from_raw_parts(self.entries.add(start), Self::WORDS).as_ref() }
    }
}

impl<E> fmt::Debug for Ring<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("mask", &self.mask).finish_non_exhaustive()
    }
}
