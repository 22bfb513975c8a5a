//! Logical partitions: guests with memory of their own, scheduled on the processors.
//!
//! A partition is shared: whoever has it may interrupt it, stop it, and read and write its memory. The scheduler has
//! those that run. Its memory is wiped and given back after the last one has let go of it (`tidy`).

#[cfg(target_os = "none")]
mod calls;
pub mod counts;
pub mod cpuid;
#[cfg(target_os = "none")]
mod exits;
pub mod image;
pub mod interrupts;
#[cfg(target_os = "none")]
mod machine;
pub mod memory;
#[cfg(target_os = "none")]
mod own;
#[cfg(target_os = "none")]
mod rings;
#[cfg(target_os = "none")]
pub mod scheduler;
#[cfg(target_os = "none")]
mod timers;

#[cfg(target_os = "none")]
pub use machine::{Config, End, Hypercalls, Partition, Shared, StartError};
#[cfg(target_os = "none")]
pub use own::{Own, tidy};
