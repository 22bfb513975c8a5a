//! Records of a response, and the knowledge that they come from.

use alloc::vec::Vec;

use iba::attr::SmInfo;
use iba::mad::Status;
use zerocopy::{Immutable, IntoBytes};

use crate::topology::Topology;

/// Tables of more bytes than this are not sent at a time: the client can request less, or later. It is as
/// much as all paths between 256 ports take.
pub(super) const MAX_TABLES: usize = 4 << 20;

/// The master's knowledge.
#[derive(Clone, Copy)]
pub(crate) struct Knowledge<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) own: &'a SmInfo,
}

/// Records of one kind, one behind the other as in a table.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(super) bytes: Vec<u8>,
    /// Bytes from one to the next, a multiple of 8.
    pub(super) step: usize,
    pub(super) count: usize,
}

impl Records {
    /// Adds `record`.
    ///
    /// # Errors
    /// The status of an answer that tells that there is no room.
    pub(super) fn push<T: IntoBytes + Immutable>(&mut self, record: &T) -> Result<(), Status> {
        if self.bytes.len() >= MAX_TABLES {
            return Err(Status::SA_NO_RESOURCES);
        }
        self.count += 1;
        self.step = size_of::<T>().next_multiple_of(8);
        self.bytes.extend_from_slice(record.as_bytes());
        self.bytes.resize(self.count * self.step, 0);
        Ok(())
    }
}
