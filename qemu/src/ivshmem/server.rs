//! The server: holds the memory and the event descriptors, and sends each peer those of the others.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags};

use super::{MEMORY, VECTORS, VERSION, message};

/// A running server. Dropping it disconnects all peers and removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: OwnedFd,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Creates the memory, of the size of BAR2 and zeroed, and starts a thread that serves it on a new socket at
    /// `path`.
    ///
    /// # Errors
    /// The memory, the socket or the thread cannot be created. An existing file at `path` is kept.
    pub fn start(path: &Path) -> io::Result<Self> {
        let memory = memory()?;
        let listener = UnixListener::bind(path)?;
        let stop = event()?;
        let mut server = Self { path: path.to_owned(), stop: stop.try_clone()?, thread: None };
        listener.set_nonblocking(true)?;
        let serving = Serving { memory, listener, stop, peers: BTreeMap::new(), ids: 0..=u16::MAX };
        server.thread = Some(std::thread::Builder::new().name("ivshmem".into()).spawn(|| serving.run())?);
        Ok(server)
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The caller of drop cannot repair a failure, so it is logged.
        let stopped = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            match (stopped, thread.join()) {
                (Ok(_), Ok(Ok(()))) => {}
                (Err(error), _) => log::error!("cannot stop the ivshmem server: {error}"),
                (_, Ok(Err(error))) => log::error!("the ivshmem server ended early: {error}"),
                (_, Err(_)) => log::error!("the ivshmem server panicked"),
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Creates the memory of BAR2. Its size is sealed, so that a peer cannot make another peer's mapping fault.
fn memory() -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("portico-hca", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, hca_contract::BAR2_SIZE as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}

fn event() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// A peer that is connected.
struct Member {
    socket: UnixStream,
    vectors: Vec<OwnedFd>,
}

impl Member {
    /// Sends this peer all vectors of the peer `id`.
    fn introduce(&self, id: u16, vectors: &[OwnedFd]) -> io::Result<()> {
        vectors.iter().try_for_each(|vector| message::send(&self.socket, id.into(), Some(vector.as_fd())))
    }
}

struct Serving {
    memory: OwnedFd,
    listener: UnixListener,
    stop: OwnedFd,
    peers: BTreeMap<u16, Member>,
    /// Unused ids. An id is not used again: QEMU 7.2 frees its state of a peer that leaves, and writes to the freed
    /// memory if a peer with the same id joins.
    ids: RangeInclusive<u16>,
}

impl Serving {
    fn run(mut self) -> io::Result<()> {
        loop {
            let (stop, connecting, left) = self.wait()?;
            if stop {
                return Ok(());
            }
            self.remove(left);
            if connecting {
                self.accept()?;
            }
        }
    }

    /// Waits for an event; returns stop, connection pending, and the peers that left.
    fn wait(&self) -> io::Result<(bool, bool, Vec<u16>)> {
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        fds.extend(self.peers.values().map(|peer| PollFd::new(&peer.socket, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false, Vec::new())),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        // Peers send nothing: a readable socket has ended, or breaks the protocol.
        let left = self.peers.keys().zip(&fds[2..]).filter(|(_, fd)| ready(fd)).map(|(id, _)| *id).collect();
        Ok((ready(&fds[0]), ready(&fds[1]), left))
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.peers.len() >= MAX_PEERS {
            log::warn!("refused a peer of the ivshmem server: the limit is {MAX_PEERS}");
            return Ok(());
        }
        let Some(id) = self.ids.next() else {
            log::warn!("refused a peer of the ivshmem server: all ids are used; start the run again");
            return Ok(());
        };
        let vectors = (0..VECTORS).map(|_| event()).collect::<io::Result<Vec<_>>>()?;
        let member = Member { socket, vectors };
        if let Err(error) = self.welcome(id, &member) {
            log::warn!("ivshmem peer {id} left while it joined: {error}");
            return Ok(());
        }
        let unreachable = self.broadcast(|other| other.introduce(id, &member.vectors));
        self.peers.insert(id, member);
        self.remove(unreachable);
        Ok(())
    }

    /// Sends a new peer its id, the memory, the vectors of the others, and last its own.
    fn welcome(&self, id: u16, member: &Member) -> io::Result<()> {
        message::send(&member.socket, VERSION, None)?;
        message::send(&member.socket, id.into(), None)?;
        message::send(&member.socket, MEMORY, Some(self.memory.as_fd()))?;
        for (other, peer) in &self.peers {
            member.introduce(*other, &peer.vectors)?;
        }
        member.introduce(id, &member.vectors)
    }

    /// Sends to every peer by `send`; returns those whose socket fails.
    fn broadcast(&self, send: impl Fn(&Member) -> io::Result<()>) -> Vec<u16> {
        self.peers.iter().filter(|(_, peer)| send(peer).is_err()).map(|(id, _)| *id).collect()
    }

    /// Removes peers, and notifies the others; removes also those whose socket fails.
    fn remove(&mut self, mut ids: Vec<u16>) {
        while let Some(id) = ids.pop() {
            if self.peers.remove(&id).is_some() {
                ids.extend(self.broadcast(|other| message::send(&other.socket, id.into(), None)));
            }
        }
    }
}

/// Peers at one time, at most: QEMU, the model, and dead ones that are not removed yet.
const MAX_PEERS: usize = 8;
