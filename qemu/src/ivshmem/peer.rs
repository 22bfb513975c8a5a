//! A peer: the device model's end of the shared memory.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::message::{Message, Receiver};
use super::{MEMORY, VECTORS, VERSION};

/// How long a server may take to welcome a peer.
const WELCOME: Duration = Duration::from_secs(5);

/// Why a peer could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no server, or it went away, or it did not finish its welcome in time.
    #[error("joining the ivshmem server: {0}; see whether it still runs")]
    Io(#[from] io::Error),
    /// The server speaks something else.
    #[error("the ivshmem server sent {seen} where {wanted} belongs; connect to a server of this version")]
    Protocol {
        /// What the protocol has in this place.
        wanted: &'static str,
        /// The message that came.
        seen: i64,
    },
}

/// Whether there is anybody else on the memory, and whether that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// As before.
    Same,
    /// The last other peer left.
    Alone,
    /// A peer has come, with all its vectors.
    Joined,
}

/// A peer that joined a server.
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
    /// See [`JoinError`].
    pub fn join(path: &Path) -> Result<Self, JoinError> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(WELCOME))?;
        let mut receiver = Receiver::default();
        let mut next = |wanted, right: fn(&Message) -> bool| {
            let message = receiver.receive(&socket)?;
            if right(&message) { Ok(message) } else { Err(JoinError::Protocol { wanted, seen: message.value }) }
        };
        next("the protocol's version", |message| message.value == VERSION)?;
        let id = next("our id", |message| u16::try_from(message.value).is_ok())?;
        let memory = next("the memory", |message| message.value == MEMORY && message.fd.is_some())?;
        let (Ok(id), Some(memory)) = (u16::try_from(id.value), memory.fd) else {
            return Err(JoinError::Protocol { wanted: "our id and the memory", seen: id.value });
        };
        let mut peer = Self { socket, receiver, id, memory, vectors: Vec::new(), others: BTreeMap::new() };
        while peer.vectors.len() < usize::from(VECTORS) {
            let message = peer.receiver.receive(&peer.socket)?;
            peer.take(message);
        }
        peer.socket.set_nonblocking(true)?;
        Ok(peer)
    }

    /// Our own id: who rings us names it.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The shared memory.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Our own event descriptors, one for each vector: readable once somebody rang. QEMU makes each descriptor that it is
    /// sent blocking, and so ours with it: read one only when it is known to be readable.
    #[must_use]
    pub fn doorbells(&self) -> &[OwnedFd] {
        &self.vectors
    }

    /// Whether there is somebody else on the memory.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// Rings everybody else at `vector`.
    pub fn ring(&self, vector: u16) {
        for vectors in self.others.values() {
            if let Some(event) = vectors.get(usize::from(vector)) {
                // The only failure is a counter that stands at its limit, and then the other side is rung already.
                let _rung = rustix::io::write(event, &1_u64.to_ne_bytes());
            }
        }
    }

    /// Takes up what the server said of others. To be called when the socket is readable.
    ///
    /// # Errors
    /// The server is gone: [`ErrorKind::UnexpectedEof`], or what the socket says.
    pub fn update(&mut self) -> io::Result<Membership> {
        let mut membership = Membership::Same;
        loop {
            match self.receiver.receive(&self.socket) {
                Ok(message) => match self.take(message) {
                    Membership::Same => {}
                    changed => membership = changed,
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(membership),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, message: Message) -> Membership {
        let Ok(id) = u16::try_from(message.value) else { return Membership::Same };
        match message.fd {
            None => {
                let left = self.others.remove(&id).is_some();
                if left && self.is_alone() { Membership::Alone } else { Membership::Same }
            }
            Some(fd) => {
                let vectors = if id == self.id { &mut self.vectors } else { self.others.entry(id).or_default() };
                vectors.push(fd);
                let whole = id != self.id && vectors.len() == usize::from(VECTORS);
                if whole { Membership::Joined } else { Membership::Same }
            }
        }
    }
}

impl AsFd for Peer {
    /// The server's socket: readable when there is something to [`Peer::update`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
