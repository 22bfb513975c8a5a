//! The partition, as the engine needs it.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64};

use lhca_contract::Status;
use lhca_contract::ring::ENTRIES;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An address outside of the partition's memory, or not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address outside of the partition's memory, or not aligned")]
pub struct BadAddress;

/// A ring in a partition's memory, checked once and kept.
pub trait Ring: fmt::Debug {
    /// Entry of the ring: a whole number of words of 64 bits.
    type Entry;

    /// Returns the number of entries, a power of two, less one.
    fn mask(&self) -> u32;

    /// Returns the control words of both ends.
    fn control(&self) -> &[AtomicU32; ENTRIES / 4];

    /// Returns the words of the entry with the free-running index `index`.
    fn entry(&self, index: u32) -> &[AtomicU64];
}

/// A partition: its memory, which it may change at any time, and its processor.
pub trait Guest: Clone {
    /// Ring in the partition's memory, which the value keeps alive.
    type Ring<E>: Ring<Entry = E>;

    /// Copies from the partition's memory at `address`. Each byte is read once.
    ///
    /// # Errors
    /// [`BadAddress`]; the content of `into` is undefined then.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;

    /// Copies to the partition's memory at `address`.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress>;

    /// Opens the ring of 2 to the power `log_entries` entries at `address`, a multiple of 8.
    ///
    /// # Errors
    /// [`BadAddress`].
    fn ring<E>(&self, address: u64, log_entries: u8) -> Result<Self::Ring<E>, BadAddress>;

    /// Copies `length` bytes from `address` to the memory of `other`, `skipped` bytes behind `to`.
    ///
    /// # Errors
    /// [`BadAddress`], also for the skipped bytes; nothing was copied then.
    fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress>;

    /// Interrupts the partition with `vector`, as soon as it accepts interrupts.
    fn interrupt(&self, vector: u8);
}

/// Alignment of structures that a hypercall's argument points to, in bytes.
const ALIGNMENT: u64 = 8;

/// Copies the structure that a hypercall's argument points to.
pub(crate) fn get<T: FromBytes + IntoBytes>(guest: &impl Guest, address: u64) -> Result<T, Status> {
    let mut value = T::new_zeroed();
    check(address)?;
    guest.read(address, value.as_mut_bytes()).map_err(|BadAddress| Status::BAD_ADDRESS)?;
    Ok(value)
}

/// Writes the structure that a hypercall's argument points to.
pub(crate) fn put<T: IntoBytes + Immutable>(guest: &impl Guest, address: u64, value: &T) -> Result<(), Status> {
    check(address)?;
    guest.write(address, value.as_bytes()).map_err(|BadAddress| Status::BAD_ADDRESS)
}

fn check(address: u64) -> Result<(), Status> {
    if address.is_multiple_of(ALIGNMENT) { Ok(()) } else { Err(Status::BAD_ADDRESS) }
}
