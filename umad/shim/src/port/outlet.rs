//! Messages of a port, and their destinations.

use umad_protocol::Datagram;

use crate::abi::UserMadHeader;
use crate::agents::FileId;

/// Message for a program to read: a MAD, or a whole message of a class with RMPP.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Header before the message; reading fills in the length.
    pub(crate) header: UserMadHeader,
    /// The message, from the common header on.
    pub(crate) mad: Vec<u8>,
}

/// Destinations of a port's MADs.
pub(crate) trait Outlet {
    /// Sends a datagram to the fabric.
    fn transmit(&mut self, datagram: Datagram);
    /// Delivers a message to the readers of `file`.
    fn deliver(&mut self, file: FileId, message: Message);
}
