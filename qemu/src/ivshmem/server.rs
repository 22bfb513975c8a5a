//! The server: holds the memory and the event descriptors, and introduces the peers to each other.

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

/// Peers at one time, at most: QEMU and the model, and room for those that are about to be found dead.
const MAX_PEERS: usize = 8;

/// A running server. Dropping it disconnects all peers and removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: OwnedFd,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Makes the memory, of the size of BAR2 and all zeroes, and serves it on a new socket at `path` from a thread.
    ///
    /// # Errors
    /// If the memory, the socket or the thread cannot be made; a file that stands at `path` already is not removed.
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

    /// Where peers connect.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither step can be repaired by who drops us, so what goes wrong is told and left.
        let stopped = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            match (stopped, thread.join()) {
                (Ok(_), Ok(Ok(()))) => {}
                (Err(error), _) => log::error!("telling the ivshmem server to stop: {error}"),
                (_, Ok(Err(error))) => log::error!("the ivshmem server ended early: {error}"),
                (_, Err(_)) => log::error!("the ivshmem server panicked"),
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("removing the socket {}: {error}", self.path.display());
        }
    }
}

/// BAR2's memory. Sealed in its size, so that no peer can make another one's mapping fault.
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
    /// Tells this peer of all vectors of the peer `id`.
    fn introduce(&self, id: u16, vectors: &[OwnedFd]) -> io::Result<()> {
        vectors.iter().try_for_each(|vector| message::send(&self.socket, id.into(), Some(vector.as_fd())))
    }
}

struct Serving {
    memory: OwnedFd,
    listener: UnixListener,
    stop: OwnedFd,
    peers: BTreeMap<u16, Member>,
    /// Ids that nobody ever had. QEMU's device frees what it knows of a peer that leaves, and writes there if a peer
    /// with the same id comes (seen in 7.2: it corrupts its heap).
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

    /// Waits for something to do: stop, accept, or these peers have left.
    fn wait(&self) -> io::Result<(bool, bool, Vec<u16>)> {
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        fds.extend(self.peers.values().map(|peer| PollFd::new(&peer.socket, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false, Vec::new())),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        // A peer never has anything to say: what is readable from it is its end, or nonsense that ends it.
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
            log::warn!("{MAX_PEERS} peers are connected to the ivshmem server: one more was turned away");
            return Ok(());
        }
        let Some(id) = self.ids.next() else {
            log::warn!("the ivshmem server has no id left: a peer was turned away; start the run again");
            return Ok(());
        };
        let vectors = (0..VECTORS).map(|_| event()).collect::<io::Result<Vec<_>>>()?;
        let member = Member { socket, vectors };
        if let Err(error) = self.welcome(id, &member) {
            log::warn!("ivshmem peer {id} went away while it was welcomed: {error}");
            return Ok(());
        }
        let deaf = self.tell(|other| other.introduce(id, &member.vectors));
        self.peers.insert(id, member);
        self.remove(deaf);
        Ok(())
    }

    /// What a new peer is told: itself, the memory, the others, and last its own vectors.
    fn welcome(&self, id: u16, member: &Member) -> io::Result<()> {
        message::send(&member.socket, VERSION, None)?;
        message::send(&member.socket, id.into(), None)?;
        message::send(&member.socket, MEMORY, Some(self.memory.as_fd()))?;
        for (other, peer) in &self.peers {
            member.introduce(*other, &peer.vectors)?;
        }
        member.introduce(id, &member.vectors)
    }

    /// Tells every peer something; returns those that do not take it.
    fn tell(&self, what: impl Fn(&Member) -> io::Result<()>) -> Vec<u16> {
        self.peers.iter().filter(|(_, peer)| what(peer).is_err()).map(|(id, _)| *id).collect()
    }

    /// Removes peers, and tells the others; who cannot be told is removed as well.
    fn remove(&mut self, mut ids: Vec<u16>) {
        while let Some(id) = ids.pop() {
            if self.peers.remove(&id).is_some() {
                ids.extend(self.tell(|other| message::send(&other.socket, id.into(), None)));
            }
        }
    }
}
