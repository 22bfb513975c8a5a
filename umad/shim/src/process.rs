//! Descriptors and directory streams of this process that belong to the library.

// Reading a leaked pointer, and the calls that have no safe wrapper: handlers at fork and exit, and the signal mask.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{mem, ptr, thread};

use iba::PortNum;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::attach::Environment;
use crate::directory::Directory;
use crate::file::UmadFile;
use crate::session::Session;
use crate::sysfs::{self, Device, Entry};

/// Descriptors from this number on never belong to the library.
const MAX_FD: usize = 1 << 16;

/// Open files, streams and sessions of this process.
pub(crate) struct Process {
    /// One for each port of which a file is open. The first also queries attributes.
    sessions: Mutex<Vec<Arc<Session>>>,
    /// By descriptor: `true` if it belongs to the library. Each read and write of the process checks it, without a
    /// lock.
    is_ours: Vec<AtomicBool>,
    open: Mutex<HashMap<RawFd, Open>>,
    directories: Mutex<HashMap<usize, Box<Directory>>>,
    has_directories: AtomicBool,
}

/// Kind of a descriptor that belongs to the library.
#[derive(Clone)]
pub(crate) enum Open {
    /// A umad file.
    Umad(Arc<Session>, Arc<UmadFile>),
    /// An issm file: while it is open, the port's IsSM bit is set.
    Issm(Arc<Session>),
}

/// Null until the process opens a file of the library's, and again in a forked child.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// Returns the state of this process, if it ever opened a file of the library's.
pub(crate) fn current() -> Option<&'static Process> {
    // SAFETY: the pointer is null or comes from `Box::leak`, and nothing frees it.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
}

/// Returns the state of this process; creates it at the first call.
pub(crate) fn get_or_init() -> &'static Process {
    if let Some(process) = current() {
        return process;
    }
    let new = Box::leak(Box::new(Process {
        sessions: Mutex::default(),
        is_ours: (0..MAX_FD).map(|_| AtomicBool::new(false)).collect(),
        open: Mutex::default(),
        directories: Mutex::default(),
        has_directories: AtomicBool::new(false),
    }));
    // If another thread was faster, its state counts and this one is leaked, once.
    match CURRENT.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            // SAFETY: the handlers are functions of this library, which is never unloaded.
            unsafe {
                libc::pthread_atfork(None, None, Some(after_fork));
                libc::atexit(at_exit);
            }
            new
        }
        Err(_) => get_or_init(),
    }
}

/// Resets the state in a forked child: the server knows the parent only, and the parent's locks may be held for ever.
extern "C" fn after_fork() {
    CURRENT.store(ptr::null_mut(), Ordering::Release);
}

/// Detaches all sessions at exit.
extern "C" fn at_exit() {
    if let Some(process) = current() {
        // Another thread may hold the lock for ever; the server then notices the end by itself.
        if let Ok(sessions) = process.sessions.try_lock() {
            sessions.iter().for_each(|session| session.leave());
        }
    }
}

/// Returns `true` if descriptor `fd` belongs to the library. Takes no lock.
pub(crate) fn is_ours(fd: RawFd) -> bool {
    current().is_some_and(|process| process.flag(fd).is_some_and(|is_ours| is_ours.load(Ordering::Acquire)))
}

impl Process {
    /// Returns the file at `path`, with the node's present attributes.
    ///
    /// # Errors
    ///
    /// ENOENT if no file is there, ENODEV if the process cannot attach, EIO if the server does not answer.
    pub(crate) fn lookup(&self, path: &[u8]) -> Result<Entry, Errno> {
        let session = self.first_session()?;
        let attributes = session.attributes(sysfs::age_of(path)).map_err(|error| {
            eprintln!("portico-umad: cannot query the server: {error}");
            Errno::IO
        })?;
        sysfs::lookup(&attributes, path).ok_or(Errno::NOENT)
    }

    /// Returns the first session; attaches at the first call.
    fn first_session(&self) -> Result<Arc<Session>, Errno> {
        let mut sessions = lock(&self.sessions);
        match sessions.first() {
            Some(session) => Ok(session.clone()),
            None => attach(&mut sessions),
        }
    }

    /// Returns the session for `port`; attaches if there is none. The first port to be opened gets the first session.
    fn session_for(&self, port: PortNum) -> Result<Arc<Session>, Errno> {
        let mut sessions = lock(&self.sessions);
        let is_it = |session: &&Arc<Session>| session.port().is_none_or(|its| its == port);
        let session = match sessions.iter().find(is_it) {
            Some(session) => session.clone(),
            None => attach(&mut sessions)?,
        };
        if session.port().is_none() {
            session.set_port(port).map_err(|error| {
                eprintln!("portico-umad: cannot attach to port {port}: {error}");
                Errno::NODEV
            })?;
        }
        Ok(session)
    }

    /// Opens a device file.
    ///
    /// # Errors
    ///
    /// ENODEV if the process cannot attach, EAGAIN if the port has an SM, and errors of the system.
    pub(crate) fn open_device(&self, device: Device, flags: OFlags) -> Result<RawFd, Errno> {
        match device {
            Device::Umad(port) => {
                let session = self.session_for(port)?;
                let (file, fd) = session.open(flags)?;
                self.insert(fd, Open::Umad(session, file))
            }
            Device::Issm(port) => {
                let session = self.session_for(port)?;
                let is_it = |open: &Open| matches!(open, Open::Issm(other) if Arc::ptr_eq(other, &session));
                if lock(&self.open).values().any(is_it) {
                    return Err(Errno::AGAIN);
                }
                let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
                session.set_is_sm(true).map_err(|_| Errno::AGAIN)?;
                self.insert(fd, Open::Issm(session))
            }
        }
    }

    /// Adds a descriptor.
    fn insert(&self, fd: OwnedFd, open: Open) -> Result<RawFd, Errno> {
        let is_ours = self.flag(fd.as_raw_fd()).ok_or(Errno::MFILE)?;
        let fd = fd.into_raw_fd();
        lock(&self.open).insert(fd, open);
        is_ours.store(true, Ordering::Release);
        Ok(fd)
    }

    fn flag(&self, fd: RawFd) -> Option<&AtomicBool> {
        self.is_ours.get(usize::try_from(fd).ok()?)
    }

    /// Returns the kind of descriptor `fd`, if it belongs to the library.
    pub(crate) fn find(&self, fd: RawFd) -> Option<Open> {
        lock(&self.open).get(&fd).cloned()
    }

    /// Removes descriptor `fd`, which the program is about to close.
    pub(crate) fn close(&self, fd: RawFd) {
        if !self.flag(fd).is_some_and(|is_ours| is_ours.swap(false, Ordering::AcqRel)) {
            return;
        }
        match lock(&self.open).remove(&fd) {
            Some(Open::Umad(session, file)) => session.close(&file),
            Some(Open::Issm(session)) => {
                let _ = session.set_is_sm(false);
            }
            None => {}
        }
    }

    /// Adds a directory stream, and returns its address.
    pub(crate) fn open_directory(&self, directory: Directory) -> usize {
        let directory = Box::new(directory);
        let address = ptr::from_ref(&*directory).addr();
        self.has_directories.store(true, Ordering::Release);
        lock(&self.directories).insert(address, directory);
        address
    }

    /// Calls `act` on the directory stream at `address`; `None` if it does not belong to the library.
    pub(crate) fn with_directory<T>(&self, address: usize, act: impl FnOnce(&mut Directory) -> T) -> Option<T> {
        if !self.has_directories.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.directories).get_mut(&address).map(|directory| act(directory))
    }

    /// Closes the directory stream at `address`; returns `false` if it does not belong to the library.
    pub(crate) fn close_directory(&self, address: usize) -> bool {
        self.has_directories.load(Ordering::Acquire) && lock(&self.directories).remove(&address).is_some()
    }
}

/// Adds a session, with its thread.
fn attach(sessions: &mut Vec<Arc<Session>>) -> Result<Arc<Session>, Errno> {
    let nth = u8::try_from(sessions.len()).map_err(|_| Errno::MFILE)?;
    let session = Session::new(&Environment::read(), nth).map_err(|error| {
        eprintln!("portico-umad: {error}");
        Errno::NODEV
    })?;
    let session = Arc::new(session);
    let runner = session.clone();
    let spawned = without_signals(|| {
        thread::Builder::new().name("portico-umad".into()).stack_size(1 << 18).spawn(move || runner.run())
    });
    spawned.map_err(|_| Errno::AGAIN)?;
    sessions.push(session.clone());
    Ok(session)
}

/// Runs `spawn` with all signals blocked, so that a thread it starts never runs a handler of the program.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are valid for the calls, which only look at or fill them.
    unsafe {
        let (mut all, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut before);
        let result = spawn();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
