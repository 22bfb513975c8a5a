//! Sessions: a port's files and MAD layer, and the thread that moves datagrams and keeps time.

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
use crate::attach::{AttachError, Attachment, Environment, QueryError};
use crate::file::UmadFile;
use crate::port::{Message, Outlet, Port};
use crate::sysfs::{Age, NodeAttributes};

/// Session of the process at a port.
#[derive(Debug)]
pub(crate) struct Session {
    attachment: Attachment,
    attributes: Mutex<Option<NodeAttributes>>,
    /// Port of the session, once a file of the port was opened.
    port: Mutex<Option<PortNum>>,
    inner: Mutex<Inner>,
    /// Wakes the thread from its wait.
    wake: OwnedFd,
}

#[derive(Debug)]
struct Inner {
    port: Port,
    outputs: Outputs,
    last_file: u32,
    /// Time at which the thread wakes at the latest.
    wake_at: Option<Instant>,
}

/// Destinations of the port's MADs.
#[derive(Debug, Default)]
struct Outputs {
    /// Datagrams for which the server has no room yet.
    outbox: VecDeque<Datagram>,
    files: HashMap<FileId, Arc<UmadFile>>,
}

impl Outlet for Outputs {
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
    /// Attaches to the node that the environment names, as the `nth` session of this process. The caller then runs
    /// [`Session::run`] on a thread of its own.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub(crate) fn new(environment: &Environment, nth: u8) -> Result<Self, AttachError> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| AttachError::Socket { what: "wake-ups", error })?;
        let attachment = Attachment::new(environment, nth)?;
        let port = Port::new(random());
        let inner = Inner { port, outputs: Outputs::default(), last_file: 0, wake_at: None };
        Ok(Self { attachment, attributes: Mutex::default(), port: Mutex::default(), inner: Mutex::new(inner), wake })
    }

    /// Returns the port of the session; `None` while no file of a port was opened.
    pub(crate) fn port(&self) -> Option<PortNum> {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this the session for `port` of the node.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn set_port(&self, port: PortNum) -> Result<(), QueryError> {
        // No request without a change: ibsim attaches to one port alone.
        if self.attributes(Age::Any)?.node.local_port != port {
            self.attachment.set_port(port)?;
        }
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = Some(port);
        Ok(())
    }

    /// Returns the node's attributes of this age.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn attributes(&self, age: Age) -> Result<NodeAttributes, QueryError> {
        let mut attributes = self.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        match attributes.as_ref() {
            Some(attributes) if age == Age::Any => Ok(attributes.clone()),
            _ => Ok(attributes.insert(self.attachment.attributes()?).clone()),
        }
    }

    /// Sets or clears the port's IsSM bit.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn set_is_sm(&self, is_sm: bool) -> Result<(), QueryError> {
        self.attachment.set_is_sm(is_sm)
    }

    /// Detaches, if the server can be reached at once.
    pub(crate) fn leave(&self) {
        self.attachment.leave();
    }

    /// Opens a umad file, and the descriptor for the program.
    ///
    /// # Errors
    ///
    /// The system refuses a descriptor.
    pub(crate) fn open(&self, flags: OFlags) -> Result<(Arc<UmadFile>, OwnedFd), Errno> {
        let mut inner = self.lock();
        inner.last_file += 1;
        let (file, fd) = UmadFile::open(FileId(inner.last_file), flags)?;
        let file = Arc::new(file);
        inner.outputs.files.insert(file.id, file.clone());
        Ok((file, fd))
    }

    /// Closes a umad file.
    pub(crate) fn close(&self, file: &UmadFile) {
        let mut inner = self.lock();
        inner.port.close(file.id);
        inner.outputs.files.remove(&file.id);
    }

    /// Adds an agent to `file` and returns its number there.
    ///
    /// # Errors
    ///
    /// See [`Port::register`].
    pub(crate) fn register(&self, file: &UmadFile, request: Registration) -> Result<u32, Errno> {
        self.lock().port.register(file.id, request)
    }

    /// Removes agent `id` of `file`.
    ///
    /// # Errors
    ///
    /// See [`Port::unregister`].
    pub(crate) fn unregister(&self, file: &UmadFile, id: u32) -> Result<(), Errno> {
        self.lock().port.unregister(file.id, id)
    }

    /// Sends a MAD that a program writes to `file`.
    ///
    /// # Errors
    ///
    /// See [`Port::send`].
    pub(crate) fn write(&self, file: &UmadFile, bytes: &[u8]) -> Result<usize, Errno> {
        let (header, mad) = file.parse(bytes)?;
        let now = Instant::now();
        let mut inner = self.lock();
        let Inner { port, outputs, .. } = &mut *inner;
        port.send(now, file.id, header, mad, outputs)?;
        let next = port.poll(now, outputs);
        self.flush(&mut inner);
        let is_earlier = next.is_some_and(|next| inner.wake_at.is_none_or(|look| next < look));
        if is_earlier || !inner.outputs.outbox.is_empty() {
            inner.wake_at = next;
            let _ = write(&self.wake, &1_u64.to_ne_bytes()); // a full eventfd wakes too
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
            // A program that closes all unknown descriptors closes these too.
            let is_gone = fds.iter().any(|fd| fd.revents().contains(PollFlags::NVAL));
            if is_gone || result.is_err_and(|error| error != Errno::INTR) {
                return;
            }
            if fds[1].revents().contains(PollFlags::IN) {
                let _ = read(&self.wake, &mut [0; 8]);
            }
        }
    }

    /// Takes datagrams and polls the port. Returns the time until the next deadline, and `true` if datagrams wait for
    /// the server.
    fn work(&self) -> (Option<Timespec>, bool) {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut datagram = Datagram::new_zeroed();
        loop {
            match recv(self.attachment.data(), datagram.as_mut_bytes(), RecvFlags::DONTWAIT) {
                Ok((size, _)) if size == size_of::<Datagram>() => {
                    let Inner { port, outputs, .. } = &mut *inner;
                    port.receive(now, &datagram, outputs);
                    self.flush(&mut inner);
                }
                // Not of this protocol, or the report that the server died: requests will time out.
                Ok(_) | Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let Inner { port, outputs, .. } = &mut *inner;
        inner.wake_at = port.poll(now, outputs);
        self.flush(&mut inner);
        let wait = inner.wake_at.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        (wait, !inner.outputs.outbox.is_empty())
    }

    /// Sends datagrams as far as the server has room.
    fn flush(&self, inner: &mut Inner) {
        while let Some(datagram) = inner.outputs.outbox.front() {
            match send(self.attachment.data(), datagram.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => break,
                // Sent, or lost with the server.
                _ => drop(inner.outputs.outbox.pop_front()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a random number.
fn random() -> u16 {
    let [.., high, low] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([high, low])
}
