//! Messages of a port, and where they go.

use umad_protocol::Datagram;

use crate::abi::UserMadHeader;
use crate::agents::FileId;

/// A MAD that a program may read: one, or a whole message of a class with RMPP.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// What goes in front of it; the length is filled in on reading.
    pub(crate) header: UserMadHeader,
    /// Common header and all behind it.
    pub(crate) mad: Vec<u8>,
}

/// Where a port's MADs go.
pub(crate) trait Outlet {
    /// To the fabric.
    fn transmit(&mut self, datagram: Datagram);
    /// To the readers of `file`.
    fn deliver(&mut self, file: FileId, message: Message);
}
