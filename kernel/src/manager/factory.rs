//! The machine's side of partitions: memory, processors and images.

use alloc::string::String;

use lhca_contract::Exits;
use lhca_engine::{BadAddress, Guest};
use partition_table::Lhca;
use subnet::LhcaId;

/// Creates partitions. Tests have one that needs no machine.
pub trait PartitionFactory {
    /// A partition, as the engine of its LHCA reaches it.
    type Guest: Guest;
    /// A partition, as the manager starts and stops it.
    type Running: RunningPartition;
    /// Memory, and an HCA if one is assigned, for a partition that will be created.
    type Reservation;

    /// Reserves memory for the partition of `row`.
    ///
    /// # Errors
    /// The reason, for people.
    fn reserve(&mut self, row: &Lhca) -> Result<Self::Reservation, String>;

    /// Scrubs a piece of a reservation. Returns `true` if more must be scrubbed.
    fn scrub(&mut self, reservation: &mut Self::Reservation) -> bool;

    /// Creates the partition of `row` for its start number `starts`, with the LHCA `id`, in a scrubbed reservation.
    ///
    /// # Errors
    /// The reason, for people.
    fn create(
        &mut self,
        reservation: Self::Reservation,
        row: &Lhca,
        id: LhcaId,
        starts: u32,
    ) -> Result<(Self::Guest, Self::Running), String>;

    /// Scrubs a piece of the memory of ended partitions. Returns `true` if more must be scrubbed.
    fn scrub_pending(&mut self) -> bool;

    /// Returns the number of partitions that have ended and whose memory is free again, wrapping.
    fn ends(&self) -> u32;

    /// Returns the size of free memory, in bytes.
    fn free_memory(&self) -> u64;
}

/// A partition that was created.
pub trait RunningPartition {
    /// Starts the partition.
    fn start(&self);

    /// Ends the partition at its next VM exit, which comes soon.
    fn stop(&self);

    /// Returns the reason of its end, once its LHCA is detached and its memory scrubbed and free.
    fn end(&self) -> Option<String>;

    /// Returns the number of its VM exits by reason; `None` after its end.
    fn exits(&self) -> Option<Exits>;

    /// Copies from its memory at `address`.
    ///
    /// # Errors
    /// [`BadAddress`]: it has no such memory, or has ended.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;
}
