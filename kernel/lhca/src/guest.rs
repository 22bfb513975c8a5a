//! What the engine needs of a partition.

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::AtomicU64;

use lhca_contract::Status;
use lhca_contract::ring::ENTRIES;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Some of it lies outside of the partition's memory, or is not aligned as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in the partition's memory, or not aligned")]
pub struct BadAddress;

/// A ring as it lies in memory, in words of 64 bits.
#[derive(Debug)]
#[repr(C)]
pub struct RingWords {
    /// Both ends' control words.
    pub control: [AtomicU64; ENTRIES / 8],
    /// The entries.
    pub entries: [AtomicU64],
}

/// A partition: its memory, which it may change at any time, and its processor.
pub trait Guest: Clone {
    /// A ring in its memory, which stays as long as this does.
    type Ring: Deref<Target = RingWords> + fmt::Debug;

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

    /// A ring in its memory at `address`, a multiple of 8, with entries of `words` words together: to be kept, and looked at
    /// without asking again.
    ///
    /// # Errors
    /// [`BadAddress`].
    fn ring(&self, address: u64, words: usize) -> Result<Self::Ring, BadAddress>;

    /// Copies `length` bytes of its memory at `address` to `other`'s at `to`.
    ///
    /// # Errors
    /// [`BadAddress`]; nothing was copied then.
    fn copy(&self, address: u64, other: &Self, to: u64, length: usize) -> Result<(), BadAddress>;

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
