//! Hypercalls that a partition's LHCA executes.

use core::fmt;

use lhca_contract::{Call, Status};

use super::outcome::End;

/// The LHCA of a partition, as the partition's hypercalls and its end reach it.
pub trait Hypercalls: Send + Sync + fmt::Debug {
    /// Executes the most frequent call, [`Call::DOORBELL`], for the object `handle`. Returns the partition's status.
    fn ring_doorbell(&self, handle: u64) -> Status;

    /// Executes a call and returns its value.
    ///
    /// # Errors
    /// The status for the partition.
    fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status>;

    /// Notes that the partition ended: it makes no further calls.
    fn ended(&self, end: End);

    /// Notes that the partition's memory is scrubbed and free.
    fn released(&self);
}
