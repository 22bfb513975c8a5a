//! Inter-VM shared memory as QEMU's `ivshmem-doorbell` device speaks it: the carrier of the HCA's BAR2.
//!
//! A [`Server`] holds the memory and the event descriptors and sends them to its peers, QEMU and the HCA model, so that
//! either may die and restart without the other. A [`Peer`] is the model's side.
//!
//! The protocol runs on a Unix stream socket from the server to the peer only, in messages of one `i64`, little-endian,
//! some with a file descriptor:
//!
//! | message | descriptor | meaning |
//! |---|---|---|
//! | 0 | - | the version of the protocol |
//! | id | - | the peer's own id |
//! | -1 | memory | the shared memory |
//! | id | event | the next vector of that peer; with the own id, a vector at which others notify this peer |
//! | id | - | that peer left |
//!
//! Each peer has [`VECTORS`] vectors.

mod message;
mod peer;
mod server;
#[cfg(test)]
mod tests;

pub use peer::{JoinError, Membership, Peer};
pub use server::Server;

/// Vectors of each peer: as many as the HCA has in one direction.
pub const VECTORS: u16 = hca_contract::VECTORS;

/// Version of the protocol, the first message to each peer.
const VERSION: i64 = 0;
/// Message with the shared memory.
const MEMORY: i64 = -1;
