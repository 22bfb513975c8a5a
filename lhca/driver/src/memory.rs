//! A ring's memory: the only place where the driver touches what the hypervisor also writes.
#![allow(unsafe_code)] // shared memory, reached through raw pointers

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

use lhca_contract::ring;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A cache line of memory for a ring.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line([u64; 8]);

impl Line {
    /// A line of zeros.
    pub const ZERO: Self = Self([0; 8]);
}

/// A ring of entries `E` in memory that the hypervisor shares for as long as the queue lives.
#[derive(Debug)]
pub struct RingMemory<E> {
    base: NonNull<Line>,
    log_entries: u8,
    entries: PhantomData<fn(E)>,
}

// SAFETY: the memory is this value's alone in the partition, and is reached by atomics and volatile accesses only.
unsafe impl<E> Send for RingMemory<E> {}

impl<E: FromBytes + IntoBytes + Immutable> RingMemory<E> {
    /// A ring of 2 to the power `log_entries` entries in `lines`, which are zeroed.
    ///
    /// # Panics
    /// If there are fewer than [`RingMemory::lines`], or the contract has no ring of this size: errors of the image's
    /// own.
    #[must_use]
    pub fn new(lines: &'static mut [Line], log_entries: u8) -> Self {
        const { assert!(size_of::<E>().is_multiple_of(8)) };
        assert!((ring::MIN_LOG_ENTRIES..=ring::MAX_LOG_ENTRIES).contains(&log_entries), "no ring has that size");
        assert!(lines.len() >= Self::lines(log_entries), "too little memory for the ring");
        lines.fill(Line::ZERO);
        Self { base: NonNull::from(lines).cast(), log_entries, entries: PhantomData }
    }

    /// Lines that a ring of 2 to the power `log_entries` entries needs.
    #[must_use]
    pub const fn lines(log_entries: u8) -> usize {
        ring::bytes(log_entries, size_of::<E>()).div_ceil(size_of::<Line>())
    }

    pub(crate) fn log_entries(&self) -> u8 {
        self.log_entries
    }

    pub(crate) fn entries(&self) -> u32 {
        1 << self.log_entries
    }

    pub(crate) fn start(&self) -> *const u8 {
        self.base.as_ptr().cast()
    }

    /// The control word at `offset`, one of the contract's.
    pub(crate) fn control(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset < ring::ENTRIES);
        // SAFETY: control words are aligned and lie before the entries, in memory that is there as long as `self`, and
        // that both sides reach by atomics only.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().byte_add(offset).cast()) }
    }

    pub(crate) fn write(&self, index: u32, entry: &E) {
        let (words, _) = entry.as_bytes().as_chunks::<8>();
        let place = self.place(index);
        for (nth, word) in words.iter().enumerate() {
            // SAFETY: see `place`.
            unsafe { place.add(nth).write_volatile(u64::from_ne_bytes(*word)) };
        }
    }

    pub(crate) fn read(&self, index: u32) -> E {
        let mut entry = E::new_zeroed();
        let place = self.place(index);
        let (words, _) = entry.as_mut_bytes().as_chunks_mut::<8>();
        for (nth, word) in words.iter_mut().enumerate() {
            // SAFETY: see `place`.
            *word = unsafe { place.add(nth).read_volatile() }.to_ne_bytes();
        }
        entry
    }

    /// Where an entry begins: a multiple of 8 in the memory, as long as an entry, because `new` made sure that all are
    /// in.
    fn place(&self, index: u32) -> *mut u64 {
        let offset = ring::entry_offset(self.log_entries, size_of::<E>(), index);
        // SAFETY: the offset is below the ring's size, which is within the memory.
        unsafe { self.base.as_ptr().byte_add(offset).cast() }
    }
}
