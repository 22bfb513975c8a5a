//! BAR2 as ordinary memory made of atomics, so that a driver may reach it by pointer at any time.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use hca_contract::BAR2_SIZE;

const WORDS: usize = 1024;

#[repr(align(4096))]
struct Page([AtomicU32; WORDS]);

pub(crate) struct Memory(Box<[Page]>);

impl Memory {
    pub(crate) fn new() -> Self {
        let page = || Page([const { AtomicU32::new(0) }; WORDS]);
        Self((0..BAR2_SIZE / size_of::<Page>()).map(|_| page()).collect())
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }

    // All accesses are SeqCst: a fake has time, and so needs no fences.
    pub(crate) fn read32(&self, offset: usize) -> u32 {
        u32::from_le(self.word(offset).load(Ordering::SeqCst))
    }

    pub(crate) fn write32(&self, offset: usize, value: u32) {
        self.word(offset).store(value.to_le(), Ordering::SeqCst);
    }

    pub(crate) fn read64(&self, offset: usize) -> u64 {
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    pub(crate) fn write64(&self, offset: usize, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.write32(offset, u32::from_le_bytes([a, b, c, d]));
        self.write32(offset + 4, u32::from_le_bytes([e, f, g, h]));
    }

    /// Writes bytes at an aligned offset; bytes after the last, up to a whole word, become 0.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        for (i, chunk) in bytes.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write32(offset + 4 * i, u32::from_le_bytes(word));
        }
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(4)).flat_map(|i| self.read32(offset + 4 * i).to_le_bytes());
        words.take(length).collect()
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        &self.0[offset / size_of::<Page>()].0[offset % size_of::<Page>() / 4]
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Memory").field(&self.base()).finish()
    }
}
