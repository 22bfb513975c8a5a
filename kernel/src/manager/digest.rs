//! Digests of partitions' memory, by which a host sees whether it has changed.

use core::fmt;

use control_protocol::Checksum;
use crc::{CRC_64_XZ, Crc};
use lhca_engine::BadAddress;
use subnet::LhcaId;

use super::factory::RunningPartition;

/// Bytes of one step: the fabric waits meanwhile.
const STEP: u64 = 64 << 10;
/// Bytes of one read.
const PIECE: usize = 4 << 10;

static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// The digest of a partition's memory, from the first byte to the last.
pub(super) struct MemoryDigest {
    id: LhcaId,
    next: u64,
    size: u64,
    sum: crc::Digest<'static, u64>,
}

/// Progress of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More memory must be read.
    More,
    /// All memory is read.
    Done,
}

impl MemoryDigest {
    /// Starts the digest of `size` bytes of the partition that has the LHCA `id`.
    pub(super) fn new(id: LhcaId, size: u64) -> Self {
        Self { id, next: 0, size, sum: CRC.digest() }
    }

    /// Returns the LHCA of the partition.
    pub(super) fn id(&self) -> LhcaId {
        self.id
    }

    /// Reads the next piece of memory.
    ///
    /// # Errors
    /// [`BadAddress`]: the partition has ended.
    pub(super) fn step(&mut self, partition: &impl RunningPartition) -> Result<Step, BadAddress> {
        let end = self.size.min(self.next + STEP);
        let mut piece = [0; PIECE];
        while self.next < end {
            let length = (end - self.next).min(PIECE as u64);
            let piece = &mut piece[..length as usize];
            partition.read(self.next, piece)?;
            self.sum.update(piece);
            self.next += length;
        }
        Ok(if self.next == self.size { Step::Done } else { Step::More })
    }

    /// Returns the record of a digest that is done.
    pub(super) fn record(self) -> control_protocol::Digest {
        control_protocol::Digest { checksum: Checksum(self.sum.finalize()), bytes: self.size }
    }
}

impl fmt::Debug for MemoryDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, next, size, .. } = self;
        f.debug_struct("MemoryDigest").field("id", id).field("next", next).field("size", size).finish_non_exhaustive()
    }
}
