//! Digests of partitions' memory, by which a host sees whether anything in it has changed.

use alloc::format;
use alloc::string::String;
use core::fmt;

use control_protocol::Checksum;
use crc::{CRC_64_XZ, Crc};
use lhca_engine::BadAddress;
use subnet::LhcaId;

use super::{Done, Life, Run, Runner, State, Tenant};

/// Bytes that are looked at in one turn: the fabric waits meanwhile.
const SLICE: u64 = 64 << 10;
/// Bytes that are read at once.
const PIECE: usize = 4 << 10;

static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// The digest of a partition's memory, on its way from the first byte to the last.
pub(super) struct Digest {
    of: LhcaId,
    at: u64,
    size: u64,
    sum: crc::Digest<'static, u64>,
}

impl Digest {
    /// Goes on for one turn; whether that was the last.
    fn go_on(&mut self, run: &impl Run) -> Result<bool, BadAddress> {
        let end = self.size.min(self.at + SLICE);
        let mut piece = [0; PIECE];
        while self.at < end {
            let length = (end - self.at).min(PIECE as u64);
            let piece = &mut piece[..length as usize];
            run.read(self.at, piece)?;
            self.sum.update(piece);
            self.at += length;
        }
        Ok(self.at == self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, at, size, .. } = self;
        f.debug_struct("Digest").field("of", of).field("at", at).field("size", size).finish_non_exhaustive()
    }
}

impl<R: Runner> Life<R> {
    /// Begins with the digest of a tenant's memory.
    pub(super) fn digest(&mut self, nth: usize) -> Result<Done, String> {
        let Tenant { row, id, state, .. } = &self.tenants[nth];
        match (state, row.partition()) {
            (State::Running(_), Some(program)) => {
                self.digest = Some(Digest { of: *id, at: 0, size: program.bytes(), sum: CRC.digest() });
                Ok(Done::Later)
            }
            (_, None) => Err(format!("{} has no partition, and so no memory", row.name())),
            _ => Err(format!("{0} does not run, and so has no memory: `start {0}` begins it", row.name())),
        }
    }

    /// Goes on with it; its end, if this is that.
    pub(super) fn go_on_digesting(&mut self) -> Option<Result<String, String>> {
        let mut digest = self.digest.take()?;
        let tenant = self.tenants.iter().find(|tenant| tenant.id == digest.of)?;
        let turn = match &tenant.state {
            State::Running(run) => digest.go_on(run),
            _ => Err(BadAddress),
        };
        match turn {
            Ok(false) => {
                self.digest = Some(digest);
                None
            }
            Ok(true) => {
                let checksum = Checksum(digest.sum.finalize());
                Some(Ok(format!("{}\n", control_protocol::Digest { checksum, bytes: digest.size })))
            }
            Err(BadAddress) => Some(Err(format!("{} ended meanwhile", tenant.row.name()))),
        }
    }
}
