//! Logical partitions: guests with memory of their own, scheduled on the processors.
//!
//! A `Partition` is shared by the scheduler, which runs it, and the engine of its LHCA, which reads and writes its
//! memory and interrupts it. Its memory is scrubbed and freed after the last reference is gone (`scrub_pending`).

#[cfg(target_os = "none")]
mod calls;
pub mod counts;
pub mod cpuid;
#[cfg(target_os = "none")]
mod exits;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod hypercalls;
pub mod image;
pub mod interrupts;
#[cfg(target_os = "none")]
mod logical_partition;
pub mod memory;
#[cfg(target_os = "none")]
mod outcome;
#[cfg(target_os = "none")]
mod partition_memory;
#[cfg(target_os = "none")]
mod rings;
#[cfg(target_os = "none")]
pub mod scheduler;
#[cfg(target_os = "none")]
mod timers;

#[cfg(target_os = "none")]
pub use guest::PartitionGuest;
#[cfg(target_os = "none")]
pub use hypercalls::Hypercalls;
#[cfg(target_os = "none")]
pub use logical_partition::{Config, Partition, StartError};
#[cfg(target_os = "none")]
pub use outcome::End;
#[cfg(target_os = "none")]
pub use partition_memory::{PartitionMemory, scrub_pending};
