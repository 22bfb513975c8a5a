//! What the engine needs of a partition.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lhca_contract::Status;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Some of it lies outside of the partition's memory, or is not aligned as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in the partition's memory, or not aligned")]
pub struct BadAddress;

/// A partition: its memory, which it may change at any time, and its processor.
pub trait Guest {
    /// Copies from its memory at `address` on. Each byte is read once.
    ///
    /// # Errors
    /// [`BadAddress`]; what is in `into` means nothing then.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;

    /// Copies to its memory at `address` on.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress>;

    /// The 32 bits of its memory at `address`, a multiple of 4.
    ///
    /// # Errors
    /// [`BadAddress`].
    fn word(&self, address: u64) -> Result<&AtomicU32, BadAddress>;

    /// `count` times 64 bits of its memory from `address` on, a multiple of 8.
    ///
    /// # Errors
    /// [`BadAddress`].
    fn words(&self, address: u64, count: usize) -> Result<&[AtomicU64], BadAddress>;

    /// Copies `length` bytes of its memory at `address` to `other`'s at `to`.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    fn copy(&self, address: u64, other: &Self, to: u64, length: usize) -> Result<(), BadAddress>;

    /// Interrupts it with `vector`, now or as soon as it takes interrupts.
    fn interrupt(&self, vector: u8);
}

/// Copies a value of whole words from memory at `address`, a multiple of 8. Each word is read once.
#[inline(always)]
pub(crate) fn load<T: FromBytes + IntoBytes>(guest: &impl Guest, address: u64) -> Result<T, BadAddress> {
    let mut value = T::new_zeroed();
    let words = guest.words(address, size_of::<T>() / 8)?;
    for (bytes, word) in value.as_mut_bytes().chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    Ok(value)
}

/// Copies a value of whole words to memory at `address`, a multiple of 8.
#[inline(always)]
pub(crate) fn store<T: IntoBytes + Immutable>(guest: &impl Guest, address: u64, value: &T) -> Result<(), BadAddress> {
    let words = guest.words(address, size_of::<T>() / 8)?;
    for (bytes, word) in value.as_bytes().chunks_exact(8).zip(words) {
        let mut value = [0; 8];
        value.copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
    }
    Ok(())
}

/// Addresses that a hypercall is given are multiples of this.
const ALIGNMENT: u64 = 8;

/// Copies what a hypercall's argument points to.
pub(crate) fn get<T: FromBytes + IntoBytes>(guest: &impl Guest, address: u64) -> Result<T, Status> {
    let mut value = T::new_zeroed();
    check(address)?;
    guest.read(address, value.as_mut_bytes()).map_err(|BadAddress| Status::BAD_ADDRESS)?;
    Ok(value)
}

/// Fills what a hypercall's argument points to.
pub(crate) fn put<T: IntoBytes + Immutable>(guest: &impl Guest, address: u64, value: &T) -> Result<(), Status> {
    check(address)?;
    guest.write(address, value.as_bytes()).map_err(|BadAddress| Status::BAD_ADDRESS)
}

fn check(address: u64) -> Result<(), Status> {
    if address.is_multiple_of(ALIGNMENT) { Ok(()) } else { Err(Status::BAD_ADDRESS) }
}
