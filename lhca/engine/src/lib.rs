//! The hypervisor's side of the logical host channel adapters (LHCAs): what `lhca_contract` promises to partitions.
//!
//! [`Logical`] joins partitions to the hypervisor's subnet management agent ([`subnet::Hsma`]): it answers hypercalls,
//! takes datagrams from send queues, hands them to the HSMA, and lays what arrives into receive queues. It touches no
//! hardware: a partition's memory and interrupts are behind [`Guest`], the physical ports behind [`Wire`], and the time
//! comes in as an argument. So it runs on the host in tests, against the partition's own driver.
//!
//! Whatever a partition says is a value to be judged. Its memory changes under the hypervisor's eyes, so each field is
//! read once, into a copy. Nothing is allocated where packets walk.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod calls;
mod direct;
mod events;
mod guest;
mod lhca;
mod logical;
mod objects;
mod outlet;
mod pace;
mod policy;
mod receive;
mod ring;
mod segments;
mod send;
mod slots;

pub use guest::{BadAddress, Guest, Ring};
pub use lhca::{Counts, Held};
pub use logical::Logical;
pub use outlet::{Joined, Wire};
pub use partition_table::{Policy, Qp0Policy, RefusalPolicy};
pub use send::Refusal;
