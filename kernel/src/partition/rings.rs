//! Rings in a partition's memory, which are looked at again and again.
#![allow(unsafe_code)] // memory by address

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use core::ptr::{NonNull, slice_from_raw_parts};
use core::sync::atomic::AtomicU64;

use lhca_contract::ring::ENTRIES;
use lhca_engine::RingWords;

use super::machine::Partition;
use super::memory::BadAddress;

/// A ring in a partition's memory. The partition is there as long as this is.
pub struct Ring {
    memory: NonNull<RingWords>,
    _partition: Arc<Partition>,
}

// SAFETY: the ring is atomics, and the partition may be dropped anywhere.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// The ring at `address`, a multiple of 8, with entries of `words` words together.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub(super) fn new(partition: &Arc<Partition>, address: u64, words: usize) -> Result<Self, BadAddress> {
        let all = partition.memory().u64s(address, ENTRIES / size_of::<AtomicU64>() + words)?;
        // The length of a `RingWords` is that of its last field.
        let memory = slice_from_raw_parts(all.as_ptr(), words) as *const RingWords;
        // SAFETY: `all` is as long as the ring, aligned as it is, and atomics as it is.
        let memory = NonNull::from(unsafe { &*memory });
        Ok(Self { memory, _partition: partition.clone() })
    }
}

impl Deref for Ring {
    type Target = RingWords;

    #[inline(always)]
    fn deref(&self) -> &RingWords {
        // SAFETY: the memory stays where it is as long as its partition is there, which this keeps.
        unsafe { self.memory.as_ref() }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("words", &self.entries.len()).finish_non_exhaustive()
    }
}
