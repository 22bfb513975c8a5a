//! The process at its port: files, the MAD layer, and the thread that moves datagrams and keeps time.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use iba::PortNum;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, read, write};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use umad_protocol::Datagram;
use zerocopy::{FromZeros, IntoBytes};

use crate::agents::{FileId, Registration};
use crate::attach::{AskError, AttachError, Attachment, Environment};
use crate::file::UmadFile;
use crate::port::{Message, Outlet, Port};
use crate::sysfs::Facts;

/// The process at its port.
#[derive(Debug)]
pub(crate) struct Session {
    attachment: Attachment,
    facts: Mutex<Option<Facts>>,
    /// The port that it is for, once something of that is open.
    port: Mutex<Option<PortNum>>,
    inner: Mutex<Inner>,
    /// Wakes the thread from its wait.
    wake: OwnedFd,
}

#[derive(Debug)]
struct Inner {
    port: Port,
    wires: Wires,
    last_file: u32,
    /// When the thread looks again at the latest.
    next_look: Option<Instant>,
}

/// Where the port's MADs go.
#[derive(Debug, Default)]
struct Wires {
    /// What the server has no room for yet.
    outbox: VecDeque<Datagram>,
    files: HashMap<FileId, Arc<UmadFile>>,
}

impl Outlet for Wires {
    fn transmit(&mut self, datagram: Datagram) {
        self.outbox.push_back(datagram);
    }

    fn deliver(&mut self, file: FileId, message: Message) {
        if let Some(file) = self.files.get(&file) {
            file.push(message);
        }
    }
}

impl Session {
    /// Attaches to the node that the environment names, as the `nth` session of this process. Whoever has the session is to
    /// call [`Session::run`] on a thread of its own.
    ///
    /// # Errors
    ///
    /// Says why it cannot.
    pub(crate) fn new(environment: &Environment, nth: u8) -> Result<Self, AttachError> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| AttachError::Socket { what: "waking up", error })?;
        let attachment = Attachment::new(environment, nth)?;
        let port = Port::new(random());
        let inner = Inner { port, wires: Wires::default(), last_file: 0, next_look: None };
        Ok(Self { attachment, facts: Mutex::default(), port: Mutex::default(), inner: Mutex::new(inner), wake })
    }

    /// The port that it is for; `None` as long as nothing but questions were asked.
    pub(crate) fn port(&self) -> Option<PortNum> {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it the session for `port` of the node.
    ///
    /// # Errors
    ///
    /// Says why the server does not let it.
    pub(crate) fn set_port(&self, port: PortNum) -> Result<(), AskError> {
        // It is asked only where there is something to change: ibsim attaches to one port alone.
        if self.facts(false)?.node.local_port != port {
            self.attachment.set_port(port)?;
        }
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = Some(port);
        Ok(())
    }

    /// What the server says of the node: now, or when it was asked last.
    ///
    /// # Errors
    ///
    /// Says why the server does not answer.
    pub(crate) fn facts(&self, now: bool) -> Result<Facts, AskError> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        match facts.as_ref() {
            Some(facts) if !now => Ok(facts.clone()),
            _ => Ok(facts.insert(self.attachment.facts()?).clone()),
        }
    }

    /// Makes the port one of a subnet manager, or not.
    ///
    /// # Errors
    ///
    /// Says why the server does not answer.
    pub(crate) fn set_is_sm(&self, is_sm: bool) -> Result<(), AskError> {
        self.attachment.set_is_sm(is_sm)
    }

    /// Tells the server, if it can be told at once, that the process ends.
    pub(crate) fn leave(&self) {
        self.attachment.leave();
    }

    /// Opens a umad file, and the descriptor for the program.
    ///
    /// # Errors
    ///
    /// EMFILE and its like.
    pub(crate) fn open(&self, flags: OFlags) -> Result<(Arc<UmadFile>, OwnedFd), Errno> {
        let mut inner = self.lock();
        inner.last_file += 1;
        let (file, fd) = UmadFile::open(FileId(inner.last_file), flags)?;
        let file = Arc::new(file);
        inner.wires.files.insert(file.id, file.clone());
        Ok((file, fd))
    }

    /// Closes a umad file.
    pub(crate) fn close(&self, file: &UmadFile) {
        let mut inner = self.lock();
        inner.port.close(file.id);
        inner.wires.files.remove(&file.id);
    }

    /// Adds an agent to `file` and says its number there.
    ///
    /// # Errors
    ///
    /// As [`Port::register`].
    pub(crate) fn register(&self, file: &UmadFile, wish: Registration) -> Result<u32, Errno> {
        self.lock().port.register(file.id, wish)
    }

    /// Removes agent `id` of `file`.
    ///
    /// # Errors
    ///
    /// As [`Port::unregister`].
    pub(crate) fn unregister(&self, file: &UmadFile, id: u32) -> Result<(), Errno> {
        self.lock().port.unregister(file.id, id)
    }

    /// Sends what a program writes to `file`.
    ///
    /// # Errors
    ///
    /// As [`Port::send`].
    pub(crate) fn write(&self, file: &UmadFile, bytes: &[u8]) -> Result<usize, Errno> {
        let (header, mad) = file.parse(bytes)?;
        let now = Instant::now();
        let mut inner = self.lock();
        let Inner { port, wires, .. } = &mut *inner;
        port.send(now, file.id, header, mad, wires)?;
        let next = port.poll(now, wires);
        self.flush(&mut inner);
        let is_earlier = next.is_some_and(|next| inner.next_look.is_none_or(|look| next < look));
        if is_earlier || !inner.wires.outbox.is_empty() {
            inner.next_look = next;
            let _ = write(&self.wake, &1_u64.to_ne_bytes()); // it can only be full, and then it wakes too
        }
        Ok(bytes.len())
    }

    /// Moves datagrams and keeps time until the sockets are gone.
    pub(crate) fn run(&self) {
        loop {
            let (wait, has_output) = self.work();
            let output = if has_output { PollFlags::OUT } else { PollFlags::empty() };
            let mut fds =
                [PollFd::new(self.attachment.data(), PollFlags::IN | output), PollFd::new(&self.wake, PollFlags::IN)];
            let result = poll(&mut fds, wait.as_ref());
            // A program that closes all descriptors it knows nothing of closes these too.
            let is_gone = fds.iter().any(|fd| fd.revents().contains(PollFlags::NVAL));
            if is_gone || result.is_err_and(|error| error != Errno::INTR) {
                return;
            }
            if fds[1].revents().contains(PollFlags::IN) {
                let _ = read(&self.wake, &mut [0; 8]);
            }
        }
    }

    /// Takes what has arrived and does what is due; says how long there is nothing to do, and whether something waits
    /// to be sent.
    fn work(&self) -> (Option<Timespec>, bool) {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut datagram = Datagram::new_zeroed();
        loop {
            match recv(self.attachment.data(), datagram.as_mut_bytes(), RecvFlags::DONTWAIT) {
                Ok((size, _)) if size == size_of::<Datagram>() => {
                    let Inner { port, wires, .. } = &mut *inner;
                    port.receive(now, &datagram, wires);
                    self.flush(&mut inner);
                }
                // Not of this protocol, or news of a server that died: a request to it will time out.
                Ok(_) | Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let Inner { port, wires, .. } = &mut *inner;
        inner.next_look = port.poll(now, wires);
        self.flush(&mut inner);
        let wait = inner.next_look.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        (wait, !inner.wires.outbox.is_empty())
    }

    /// Sends as much as the server has room for.
    fn flush(&self, inner: &mut Inner) {
        while let Some(datagram) = inner.wires.outbox.front() {
            match send(self.attachment.data(), datagram.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => break,
                // Sent, or lost with the server.
                _ => drop(inner.wires.outbox.pop_front()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that another process hardly has too.
fn random() -> u16 {
    let [.., high, low] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([high, low])
}
