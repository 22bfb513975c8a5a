//! A partition, as the engine of its LHCA reaches it.

use alloc::sync::Arc;

use lhca_engine::Guest;

use super::logical_partition::Partition;
use super::memory::BadAddress;
use super::rings::Ring;
use super::scheduler;

/// A partition that the engine shares with the scheduler.
#[derive(Clone, Debug)]
pub struct PartitionGuest(pub Arc<Partition>);

impl Guest for PartitionGuest {
    type Ring<E> = Ring<E>;

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.0.memory().read(address, into)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.0.memory().write(address, from)
    }

    fn ring<E>(&self, address: u64, log_entries: u8) -> Result<Ring<E>, BadAddress> {
        Ring::new(&self.0, address, log_entries)
    }

    #[inline(always)]
    fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress> {
        self.0.memory().copy(address, other.0.memory(), to, skipped, length)
    }

    fn interrupt(&self, vector: u8) {
        scheduler::interrupt(&self.0, vector);
    }
}
