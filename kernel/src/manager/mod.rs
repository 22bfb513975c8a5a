//! The partition manager: starts, ends, adds and removes partitions, and executes the requests of the control line.

mod digest;
mod factory;
mod managed_partition;
mod partition_manager;
mod request;
#[cfg(test)]
pub(crate) mod tests;

pub use self::factory::{PartitionFactory, RunningPartition};
pub use self::partition_manager::{Answer, PartitionManager};
pub use self::request::write_answer;
