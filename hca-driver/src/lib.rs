//! The driver of the emulated host channel adapter (HCA).
//!
//! The HCA is packet memory, rings and registers in BAR2, as `hca_contract` lays them out. The driver takes up a device
//! that appears, reports its links, moves packets, and releases the device when it dies or breaks the contract. The
//! driver trusts no word of the device's: it reads each once into a checked value, and never reads back its own words.
//! A device can cost packets and links, never the hypervisor.
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
//!         // All rings are empty, and the next packet raises an interrupt: sleep, but no longer than
//!         // CHECK_PERIOD, so that a dead device is noticed.
//!     }
//! }
//! ```
//!
//! A caller that polls does not call [`Hca::arm`]; the device then raises no interrupts for packets.
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
