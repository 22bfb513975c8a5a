//! The partition's driver of its logical host channel adapter (LHCA).
//!
//! What there is, and how both sides understand each other, is `lhca_contract`. This crate speaks it from the
//! partition's side: [`Lhca`] makes the hypercalls, [`QueuePair`], [`CompletionQueue`] and [`EventQueue`] are queues in
//! the partition's own memory. Posting work and taking completions are stores and loads; a hypercall is made only where
//! the hypervisor requested a notification.
//!
//! The machine is behind [`Platform`], so that a partition's code runs on the host, on a fake hypervisor, as it is.
//!
//! ```
//! # use lhca_driver::{CallError, CompletionQueue, Lhca, NewQueuePair, Platform, QueuePair, RingMemory};
//! # use lhca_contract::{Completion, QueuePairKind, ReceiveEntry, SendEntry};
//! fn open<P: Platform>(
//!     lhca: &Lhca<P>,
//!     completions: RingMemory<Completion>,
//!     send: RingMemory<SendEntry>,
//!     receive: RingMemory<ReceiveEntry>,
//! ) -> Result<(CompletionQueue, QueuePair), CallError> {
//!     let completions = CompletionQueue::create(lhca, completions, 0)?;
//!     let (kind, port) = (QueuePairKind::UD, 1.into());
//!     let (send_completions, receive_completions) = (&completions, &completions);
//!     let new = NewQueuePair { kind, port, send, receive, send_completions, receive_completions, vector: 0 };
//!     let queue_pair = QueuePair::create(lhca, new)?;
//!     Ok((completions, queue_pair))
//! }
//! ```
#![no_std]

mod error;
mod lhca;
mod memory;
mod platform;
mod queue;
mod queue_pair;
mod ring;

pub use error::{CallError, Full, ProbeError};
pub use lhca::Lhca;
pub use memory::{Line, RingMemory};
pub use platform::Platform;
#[cfg(target_os = "none")]
pub use platform::Vmmcall;
pub use queue::{CompletionQueue, EventQueue};
pub use queue_pair::{NewQueuePair, QueuePair};
