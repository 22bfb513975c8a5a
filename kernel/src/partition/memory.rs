//! A partition's memory, as the hypervisor sees it. The partition may change it at any time, so it is atomics only, and
//! what is read is read once.
#![allow(unsafe_code)] // memory by address

use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Size of a word, in which memory is copied where it can be.
const WORD: usize = 8;

/// A partition's memory. Addresses are the partition's own: they begin at 0.
#[derive(Debug)]
pub struct Memory {
    base: NonNull<u8>,
    size: u64,
}

// SAFETY: the memory is reached through atomics only.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

pub use lhca_engine::BadAddress;

impl Memory {
    /// The memory of `size` bytes at `base`.
    ///
    /// # Safety
    /// For as long as the value lives, `base` must be valid for reads and writes of `size` bytes, be aligned to 8, and
    /// nothing in this program may reach the memory but through values like this one. `size` is a multiple of 8.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, size: u64) -> Self {
        Self { base, size }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Copies `length` bytes from `address` to the memory of `other`, `skipped` bytes behind `to`. Each byte is
    /// read once.
    ///
    /// # Errors
    /// [`BadAddress`], also for the skipped bytes; nothing was copied then.
    #[inline(always)]
    pub fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress> {
        let (from, to) = (self.place(address, length, 1)?, other.place(to, skipped + length, 1)?);
        let (words, rest) = (length / WORD, length % WORD);
        // SAFETY: both places are as long as what is copied, the second behind what is skipped. It is copied by
        // instructions, not by Rust, for which memory that partitions change meanwhile has no value; memory that
        // overlaps is a partition's own affair.
        unsafe {
            asm!(
                "rep movsq",
                "mov ecx, {rest:e}",
                "rep movsb",
                rest = in(reg) rest,
                inout("rcx") words => _,
                inout("rsi") from.as_ptr() => _,
                inout("rdi") to.as_ptr().add(skipped) => _,
                options(nostack, preserves_flags),
            );
        }
        Ok(())
    }

    /// The place of `length` bytes at `address`, a multiple of `align`.
    #[inline(always)]
    fn place(&self, address: u64, length: usize, align: u64) -> Result<NonNull<u8>, BadAddress> {
        let end = address.checked_add(length as u64).filter(|end| *end <= self.size);
        if end.is_none() || !address.is_multiple_of(align) {
            return Err(BadAddress);
        }
        // SAFETY: the offset was just found to lie within the memory.
        Ok(unsafe { self.base.add(address as usize) })
    }

    /// `count` times 64 bits at `address`, a multiple of 8.
    ///
    /// # Errors
    /// [`BadAddress`].
    #[inline]
    pub fn u64s(&self, address: u64, count: usize) -> Result<&[AtomicU64], BadAddress> {
        if count == 0 {
            return Ok(&[]);
        }
        let place = self.place(address, count * WORD, WORD as u64)?;
        // SAFETY: the place is in the memory, aligned, and shared through atomics only.
        Ok(unsafe { core::slice::from_raw_parts(place.cast().as_ptr(), count) })
    }

    fn u8s(&self, address: u64, count: usize) -> Result<&[AtomicU8], BadAddress> {
        let place = self.place(address, count, 1)?;
        // SAFETY: the place is in the memory, and shared through atomics only.
        Ok(unsafe { core::slice::from_raw_parts(place.cast().as_ptr(), count) })
    }

    /// Memory from `address` on as bytes up to the first word, whole words, and bytes again.
    #[expect(clippy::type_complexity, reason = "three slices")]
    fn split(&self, address: u64, length: usize) -> Result<(&[AtomicU8], &[AtomicU64], &[AtomicU8]), BadAddress> {
        self.place(address, length, 1)?;
        let head = length.min(address.next_multiple_of(WORD as u64).wrapping_sub(address) as usize);
        let words = (length - head) / WORD;
        let tail = length - head - words * WORD;
        let middle = address + head as u64;
        Ok((self.u8s(address, head)?, self.u64s(middle, words)?, self.u8s(middle + (words * WORD) as u64, tail)?))
    }

    /// Copies from `address` on. Each byte is read once.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        let (head, words, tail) = self.split(address, into.len())?;
        let (first, rest) = into.split_at_mut(head.len());
        let (middle, last) = rest.split_at_mut(words.len() * WORD);
        for (word, atomic) in middle.chunks_exact_mut(WORD).zip(words) {
            word.copy_from_slice(&atomic.load(Ordering::Relaxed).to_ne_bytes());
        }
        for (byte, atomic) in first.iter_mut().zip(head).chain(last.iter_mut().zip(tail)) {
            *byte = atomic.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies to `address` on.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        let (head, words, tail) = self.split(address, from.len())?;
        let (first, rest) = from.split_at(head.len());
        let (middle, last) = rest.split_at(words.len() * WORD);
        for (word, atomic) in middle.chunks_exact(WORD).zip(words) {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(word);
            atomic.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        for (byte, atomic) in first.iter().zip(head).chain(last.iter().zip(tail)) {
            atomic.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Memory of 64 bytes, 0 to 63, for one test alone.
    fn memory() -> Memory {
        let bytes: [u8; 64] = core::array::from_fn(|nth| nth as u8);
        let words = Box::leak(Box::new([0_u64; 8]));
        words.copy_from_slice(&core::array::from_fn::<u64, 8, _>(|nth| {
            u64::from_ne_bytes(bytes[8 * nth..8 * nth + 8].try_into().unwrap())
        }));
        // SAFETY: the words are leaked, and the test alone has them.
        unsafe { Memory::new(NonNull::from(words).cast(), 64) }
    }

    proptest! {
        #[test]
        fn any_piece_is_read_and_written(address in 0_u64..70, length in 0_usize..70) {
            let memory = memory();
            let mut bytes = vec![0xff; length];
            let fits = address as usize + length <= 64;
            prop_assert_eq!(memory.read(address, &mut bytes).is_ok(), fits);
            prop_assert_eq!(memory.write(address, &vec![0xee; length]).is_ok(), fits);
            let mut all = [0; 64];
            memory.read(0, &mut all).unwrap();
            for (nth, byte) in all.into_iter().enumerate() {
                let inside = fits && (address as usize..address as usize + length).contains(&nth);
                prop_assert_eq!(byte, if inside { 0xee } else { nth as u8 });
            }
            if fits {
                let expected: Vec<u8> = (address as u8..).take(length).collect();
                prop_assert_eq!(bytes, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn any_piece_is_copied_to_another(from in 0_u64..70, to in 0_u64..70, skipped in 0_usize..9, length in 0_usize..70) {
            let (one, other) = (memory(), memory());
            let copied = one.copy(from, &other, to, skipped, length).is_ok();
            let to = to + skipped as u64;
            let fits = |address: u64| address as usize + length <= 64;
            prop_assert_eq!(copied, fits(from) && fits(to));
            let mut all = [0; 64];
            other.read(0, &mut all).unwrap();
            for (nth, byte) in (0..).zip(all) {
                let inside = copied && (to..to + length as u64).contains(&nth);
                prop_assert_eq!(u64::from(byte), if inside { from + nth - to } else { nth });
            }
        }
    }

    #[test]
    fn words_are_aligned_and_inside() {
        let memory = memory();
        let last = memory.u64s(56, 1).unwrap()[0].load(Ordering::Relaxed);
        assert_eq!(last.to_ne_bytes(), [56, 57, 58, 59, 60, 61, 62, 63]);
        for address in [1, 4, 57, 64, u64::MAX, u64::MAX - 7] {
            assert_eq!(memory.u64s(address, 1).err(), Some(BadAddress), "{address}");
        }
        assert_eq!(memory.read(u64::MAX, &mut [0; 2]), Err(BadAddress));
    }
}
