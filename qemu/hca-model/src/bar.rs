//! BAR2 as the model sees it: memory that the driver may write at any time, so it is made of atomics.

#![allow(unsafe_code)] // maps shared memory and makes atomics of it

use std::io;
use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use hca_contract::BAR2_SIZE;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Mapping of BAR2. Offsets are those of the contract. An offset outside of BAR2 panics, so it must never come from the
/// driver unchecked.
#[derive(Debug)]
pub struct Bar {
    base: NonNull<u8>,
}

impl Bar {
    /// Maps `memory`.
    ///
    /// # Errors
    /// If `memory` is smaller than BAR2, or cannot be mapped.
    pub fn map(memory: impl AsFd) -> io::Result<Self> {
        let size = rustix::fs::fstat(&memory)?.st_size;
        if usize::try_from(size).is_ok_and(|size| size >= BAR2_SIZE) {
            // SAFETY: a new mapping at an address of the system's choice disturbs no other, and only `self` has it.
            let base = unsafe {
                mmap(null_mut(), BAR2_SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, memory, 0)?
            };
            NonNull::new(base.cast()).map(|base| Self { base }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
        } else {
            Err(io::Error::other(format!("cannot map BAR2: the shared memory has {size} bytes, not {BAR2_SIZE}")))
        }
    }

    /// Reads a word. Later reads see everything that the other side wrote before this word.
    #[must_use]
    pub fn load(&self, offset: usize) -> u32 {
        u32::from_le(self.word(offset).load(Ordering::Acquire))
    }

    /// Writes a word, after all earlier writes.
    pub fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value.to_le(), Ordering::Release);
    }

    /// Reads a `u64`, in the order of [`Bar::load`].
    #[must_use]
    pub fn load64(&self, offset: usize) -> u64 {
        u64::from_le(self.long(offset).load(Ordering::Acquire))
    }

    /// Writes a `u64`, in the order of [`Bar::store`].
    pub fn store64(&self, offset: usize, value: u64) {
        self.long(offset).store(value.to_le(), Ordering::Release);
    }

    /// Orders the write of an index before the read of the other side's event index, or of an event index before the
    /// read of an index.
    pub fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    /// Copies bytes from BAR2; `offset` is a multiple of 8.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        for (chunk, offset) in into.chunks_mut(8).zip((offset..).step_by(8)) {
            let bytes = self.long(offset).load(Ordering::Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// Copies bytes to BAR2, and zeroes up to the next multiple of 8; `offset` is a multiple of 8.
    pub fn write(&self, offset: usize, from: &[u8]) {
        for (chunk, offset) in from.chunks(8).zip((offset..).step_by(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.long(offset).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Returns the word at `offset`.
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < BAR2_SIZE, "word {offset:#x} of BAR2");
        // SAFETY: in the mapping and aligned, as just checked, and the mapping lives as long as `self`. Both sides use
        // this memory as atomics of one size at each offset.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    /// Returns the `u64` at `offset`.
    fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < BAR2_SIZE, "u64 {offset:#x} of BAR2");
        // SAFETY: as in `word`.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and no reference into it outlives `self`.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), BAR2_SIZE) } {
            log::error!("cannot unmap BAR2: {error}");
        }
    }
}
