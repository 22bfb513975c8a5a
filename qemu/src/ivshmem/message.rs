//! Messages of the protocol: an `i64`, and an optional file descriptor.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Sends `value` and `fd` without waiting.
///
/// # Errors
/// Those of the socket; [`ErrorKind::WriteZero`] if the whole message does not fit.
pub(super) fn send(socket: impl AsFd, value: i64, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let bytes = value.to_le_bytes();
    let rights = fd.as_slice();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(rights));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
    if sent == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

/// A received message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) value: i64,
    pub(super) fd: Option<OwnedFd>,
}

/// Assembles messages from a stream socket.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    bytes: [u8; 8],
    filled: usize,
    fd: Option<OwnedFd>,
}

impl Receiver {
    /// Returns the next message.
    ///
    /// # Errors
    /// Those of the socket, [`ErrorKind::WouldBlock`] included: the received part of a message is kept.
    /// [`ErrorKind::UnexpectedEof`] after the server closed the socket.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> io::Result<Message> {
        while self.filled < self.bytes.len() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let into = &mut [IoSliceMut::new(&mut self.bytes[self.filled..])];
            let received = rustix::net::recvmsg(&socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                    self.fd = fds.next();
                }
            }
            if received.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.filled += received.bytes;
        }
        self.filled = 0;
        Ok(Message { value: i64::from_le_bytes(self.bytes), fd: self.fd.take() })
    }
}
