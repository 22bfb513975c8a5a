//! The driver of the emulated host channel adapter (HCA).
//!
//! The HCA is packet memory, rings and registers in BAR2, as `hca_contract` lays them out. This crate drives it: it takes
//! up a device that appears, tells of its links, moves packets, and gives the device up when it dies or lies. It
//! believes nothing that the device writes: each word is read once into a checked value, and what the driver itself wrote
//! it remembers and never reads back. A device can cost packets and links, never the hypervisor.
//!
//! The caller owns time and interrupts. Its loop is:
//!
//! ```
//! # use core::time::Duration;
//! # use hca_driver::{Doorbell, Hca, MAX_PACKET, Port, Queue};
//! fn turn(hca: &mut Hca<impl Doorbell>, now: Duration, buffer: &mut [u8; MAX_PACKET]) {
//!     while let Some(event) = hca.check(now) {
//!         // Attached, Lost, LinkUp, LinkDown ...
//! #       let _ = event;
//!     }
//!     let mut busy = false;
//!     for port in Port::ALL {
//!         for queue in Queue::ALL {
//!             while let Ok(Some(packet)) = hca.receive(port, queue, buffer) {
//!                 // ... answer with hca.send(port, queue, packet)
//! #               let _ = packet;
//!             }
//!             busy |= hca.arm(port, queue);
//!         }
//!     }
//!     if !busy {
//!         // Nothing is waiting, and an interrupt will tell of the next packet: sleep, but not beyond
//!         // CHECK_PERIOD, so that a dead device is noticed.
//!     }
//! }
//! ```
//!
//! Who polls leaves [`Hca::arm`] out, and the device then rings no bell for packets.
#![no_std]

mod bar;
mod counters;
mod doorbell;
mod fault;
mod hca;
mod identity;
mod link;
mod lrh;
mod port;
mod port_state;
mod recovery;
mod registers;
mod ring;

pub use bar::Bar2;
pub use counters::Counters;
pub use doorbell::Doorbell;
pub use fault::{Fault, SendError, SlotFault};
pub use hca::{Free, Hca};
pub use hca_contract::LinkRequest;
pub use identity::Identity;
pub use link::Rate;
pub use port::{MAX_PACKET, Port, Queue};
pub use recovery::{CHECK_PERIOD, Event};
