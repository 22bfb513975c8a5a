//! A peer: the HCA model's end of the shared memory.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::message::{Message, Receiver};
use super::{MEMORY, VECTORS, VERSION};

/// Reason why a peer cannot join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server does not run, ended, or exceeded the time limit.
    #[error("cannot join the ivshmem server: {0}; check that it runs")]
    Io(#[from] io::Error),
    /// The server does not follow the protocol.
    #[error("cannot join the ivshmem server: it sent {seen} instead of {wanted}; use a server of this version")]
    Protocol {
        /// Content that the protocol has here.
        wanted: &'static str,
        /// Value of the message.
        seen: i64,
    },
}

/// Change of the other peers of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// No change.
    Unchanged,
    /// The last other peer left.
    Alone,
    /// A peer joined, with all its vectors.
    Joined,
}

/// A peer of a server.
#[derive(Debug)]
pub struct Peer {
    socket: UnixStream,
    receiver: Receiver,
    id: u16,
    memory: OwnedFd,
    vectors: Vec<OwnedFd>,
    others: BTreeMap<u16, Vec<OwnedFd>>,
}

impl Peer {
    /// Joins the server at `path`.
    ///
    /// # Errors
    /// [`JoinError`]: the server does not run, or does not follow the protocol.
    pub fn join(path: &Path) -> Result<Self, JoinError> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(TIME_LIMIT))?;
        let mut receiver = Receiver::default();
        let mut next = |wanted, right: fn(&Message) -> bool| {
            let message = receiver.receive(&socket)?;
            if right(&message) { Ok(message) } else { Err(JoinError::Protocol { wanted, seen: message.value }) }
        };
        next("the version of the protocol", |message| message.value == VERSION)?;
        let id = next("the id of this peer", |message| u16::try_from(message.value).is_ok())?;
        let memory = next("the memory", |message| message.value == MEMORY && message.fd.is_some())?;
        let (Ok(id), Some(memory)) = (u16::try_from(id.value), memory.fd) else {
            return Err(JoinError::Protocol { wanted: "the id of this peer and the memory", seen: id.value });
        };
        let mut peer = Self { socket, receiver, id, memory, vectors: Vec::new(), others: BTreeMap::new() };
        while peer.vectors.len() < usize::from(VECTORS) {
            let message = peer.receiver.receive(&peer.socket)?;
            peer.apply(message);
        }
        peer.socket.set_nonblocking(true)?;
        Ok(peer)
    }

    /// Returns the id of this peer, by which others notify it.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Returns the shared memory.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Returns the event descriptors, one for each vector; readable after a notification. QEMU makes the descriptors
    /// blocking that it receives, and they are shared: read one only while it is readable.
    #[must_use]
    pub fn doorbells(&self) -> &[OwnedFd] {
        &self.vectors
    }

    /// Returns `true` while the memory has no other peer.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// Notifies every other peer at `vector`.
    pub fn ring(&self, vector: u16) {
        for vectors in self.others.values() {
            if let Some(event) = vectors.get(usize::from(vector)) {
                // Fails only at the counter's limit: the other peer is already notified.
                let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
            }
        }
    }

    /// Reads the messages about other peers, once the socket is readable.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`] after the server ended, and those of the socket.
    pub fn update(&mut self) -> io::Result<Membership> {
        let mut membership = Membership::Unchanged;
        loop {
            match self.receiver.receive(&self.socket) {
                Ok(message) => match self.apply(message) {
                    Membership::Unchanged => {}
                    changed => membership = changed,
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(membership),
                Err(error) => return Err(error),
            }
        }
    }

    fn apply(&mut self, message: Message) -> Membership {
        let Ok(id) = u16::try_from(message.value) else { return Membership::Unchanged };
        match message.fd {
            None => {
                let left = self.others.remove(&id).is_some();
                if left && self.is_alone() { Membership::Alone } else { Membership::Unchanged }
            }
            Some(fd) => {
                let vectors = if id == self.id { &mut self.vectors } else { self.others.entry(id).or_default() };
                vectors.push(fd);
                let whole = id != self.id && vectors.len() == usize::from(VECTORS);
                if whole { Membership::Joined } else { Membership::Unchanged }
            }
        }
    }
}

impl AsFd for Peer {
    /// Returns the socket of the server; readable before a [`Peer::update`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Time limit of the server's messages to a new peer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
