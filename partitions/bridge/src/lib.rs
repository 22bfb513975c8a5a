//! The bridge's protocol: from packets of the HCA that the partition drives to work requests of its LHCA, and back.
//!
//! A datagram is the same on both sides, byte for byte: addresses and keys are in the packet's headers on the one, in
//! the work request or its completion on the other. Two kinds of packet do not pass: the ones that the host's end of
//! the cable and the bridge exchange among themselves ([`own`]).
#![no_std]
#![forbid(unsafe_code)]

mod inbound;
mod outbound;
pub mod own;

pub use inbound::{Home, MAX_PACKET, packet};
pub use outbound::{Outbound, outbound};
