//! The partition's free memory, given away piece by piece, and buffers for what is sent and received.
#![allow(unsafe_code)] // buffers are reached by address

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use lhca_contract::Segment;
use lhca_driver::{Line, Platform, RingMemory};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Free memory.
#[derive(Debug)]
pub struct Memory {
    free: &'static mut [Line],
}

impl Memory {
    /// All of `free`.
    #[must_use]
    pub const fn new(free: &'static mut [Line]) -> Self {
        Self { free }
    }

    /// Bytes that are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        size_of_val::<[Line]>(self.free)
    }

    /// `count` lines of memory.
    ///
    /// # Panics
    /// If there are not so many: give the partition more memory.
    pub fn lines(&mut self, count: usize) -> &'static mut [Line] {
        let left = self.left();
        match core::mem::take(&mut self.free).split_at_mut_checked(count) {
            Some((lines, free)) => {
                self.free = free;
                lines
            }
            None => panic!("cannot allocate {} bytes of memory: {left} are left", count * size_of::<Line>()),
        }
    }

    /// A ring of 2 to the power `log_entries` entries.
    ///
    /// # Panics
    /// As [`Self::lines`].
    pub fn ring<E: FromBytes + IntoBytes + Immutable>(&mut self, log_entries: u8) -> RingMemory<E> {
        RingMemory::new(self.lines(RingMemory::<E>::lines(log_entries)), log_entries)
    }

    /// A buffer of `length` bytes.
    ///
    /// # Panics
    /// As [`Self::lines`].
    pub fn buffer(&mut self, length: usize) -> Buffer {
        let lines = self.lines(length.div_ceil(size_of::<Line>()));
        Buffer { start: NonNull::from(lines).cast(), length }
    }
}

/// Memory that can be lent to the hypervisor. The owner of the value has the memory: as long as it is lent, its
/// endpoint ([`crate::Endpoint`]) does.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is this value's alone.
unsafe impl Send for Buffer {}

impl Buffer {
    /// `length` bytes of it, from `start` on, as a work request names them.
    ///
    /// # Panics
    /// If it is shorter: an error of the image's own.
    #[must_use]
    pub fn segment<P: Platform>(&self, platform: &P, start: usize, length: usize) -> Segment {
        let address = platform.physical(self[start..start + length].as_ptr());
        Segment { address, length: length as u32, l_key: Segment::PHYSICAL }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory was given to this value alone, initialized, for good. The hypervisor writes there only
        // while the buffer is posted, and it is not posted while it has an owner.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn nothing_is_given_twice() {
        let mut memory = Memory::new(std::vec![Line::ZERO; 8].leak());
        let (mut first, mut second) = (memory.buffer(65), memory.buffer(64));
        assert_eq!((first.len(), second.len(), memory.left()), (65, 64, 5 * 64));
        first.fill(1);
        second.fill(2);
        assert!(first.iter().all(|&byte| byte == 1));
        assert_eq!(memory.lines(5).len(), 5);
    }

    #[test]
    #[should_panic(expected = "cannot allocate 128 bytes of memory: 64 are left")]
    fn what_is_not_there_is_not_given() {
        Memory::new(std::vec![Line::ZERO; 1].leak()).lines(2);
    }
}
