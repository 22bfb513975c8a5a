//! What the engine needs of a partition.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64};

use lhca_contract::Status;
use lhca_contract::ring::ENTRIES;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Some of it lies outside of the partition's memory, or is not aligned as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in the partition's memory, or not aligned")]
pub struct BadAddress;

/// A ring in a partition's memory: to be kept, and looked at without asking again.
pub trait Ring: fmt::Debug {
    /// What the ring is of; some number of words of 64 bits.
    type Entry;

    /// One less than the number of entries, a power of two.
    fn mask(&self) -> u32;

    /// Both ends' control words.
    fn control(&self) -> &[AtomicU32; ENTRIES / 4];

    /// The words of the entry with free-running index `index`: as many as an entry has.
    fn entry(&self, index: u32) -> &[AtomicU64];
}

/// A partition: its memory, which it may change at any time, and its processor.
pub trait Guest: Clone {
    /// A ring in its memory, which stays as long as this does.
    type Ring<E>: Ring<Entry = E>;

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

    /// The ring of 2 to the power `log_entries` entries in its memory at `address`, a multiple of 8.
    ///
    /// # Errors
    /// [`BadAddress`].
    fn ring<E>(&self, address: u64, log_entries: u8) -> Result<Self::Ring<E>, BadAddress>;

    /// Copies `length` bytes of its memory at `address` to `other`'s, to be found `skipped` bytes behind `to`.
    ///
    /// # Errors
    /// [`BadAddress`], if what is skipped is none either; nothing was copied then.
    fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress>;

    /// Interrupts it with `vector`, now or as soon as it takes interrupts.
    fn interrupt(&self, vector: u8);
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
