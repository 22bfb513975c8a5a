//! The hypervisor's side of the logical host channel adapters (LHCAs): what `lhca_contract` promises to partitions.
//!
//! [`LogicalFabric`] joins partitions to the hypervisor's subnet management agent ([`subnet::Hsma`]): it answers
//! hypercalls, takes datagrams from send queues, hands them to the HSMA, and lays what arrives into receive queues. It
//! touches no hardware: a partition's memory and interrupts are behind [`Guest`], the physical ports behind [`Wire`],
//! and the time comes in as an argument. So it runs on the host in tests, against the partition's own driver.
//!
//! Whatever a partition says is a value to be judged. Its memory changes under the hypervisor's eyes, so each field is
//! read once, into a copy. Nothing is allocated where packets walk.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adaptive_polling;
mod calls;
mod events;
mod fast_path;
mod flow;
mod guest;
mod lhca;
mod limits;
mod logical_fabric;
mod objects;
mod outlet;
mod policy;
mod receive;
mod ring;
mod segments;
mod send;
mod slots;

pub use guest::{BadAddress, Guest, Ring};
pub use lhca::{Drops, ObjectCounts};
pub use logical_fabric::{Doorbell, LogicalFabric};
pub use outlet::{FabricOutlet, Wire};
pub use partition_table::{Policy, Qp0Policy, RefusalPolicy};
pub use send::Refusal;
