//! What this process has open: which descriptors and directory streams are ours.

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

/// Descriptors from here on are never ours.
const MAX_FD: usize = 1 << 16;

/// What this process has open.
pub(crate) struct Process {
    /// One for each port of which something is open; the first also asks how things are.
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Which descriptors are ours; to be seen without a lock, by everything the process reads and writes.
    is_ours: Vec<AtomicBool>,
    open: Mutex<HashMap<RawFd, Open>>,
    directories: Mutex<HashMap<usize, Box<Directory>>>,
    has_directories: AtomicBool,
}

/// What a descriptor of ours stands for.
#[derive(Clone)]
pub(crate) enum Open {
    /// A umad file.
    Umad(Arc<Session>, Arc<UmadFile>),
    /// An issm file: while it is open the port is one of a subnet manager.
    Issm(Arc<Session>),
}

/// Null until the process opens something of ours, and again in a child of its own.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// What this process has open, if it ever opened anything of ours.
pub(crate) fn current() -> Option<&'static Process> {
    // SAFETY: the pointer is null or comes from `Box::leak`, and nothing frees it.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
}

/// What this process has open, from now on something.
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
    // Where another thread was faster, its own counts and this one is lost, once.
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

/// In a child: the server knows its parent only, and the parent's locks may be held for ever here. It starts anew.
extern "C" fn after_fork() {
    CURRENT.store(ptr::null_mut(), Ordering::Release);
}

/// At exit, tells the server. In a child of its own that opened nothing there is nothing to tell.
extern "C" fn at_exit() {
    if let Some(process) = current() {
        // Another thread may be at it and not come to an end; the server finds out by itself then.
        if let Ok(sessions) = process.sessions.try_lock() {
            sessions.iter().for_each(|session| session.leave());
        }
    }
}

/// Whether descriptor `fd` of this process is ours. Takes no lock.
pub(crate) fn is_ours(fd: RawFd) -> bool {
    current().is_some_and(|process| process.flag(fd).is_some_and(|is_ours| is_ours.load(Ordering::Acquire)))
}

impl Process {
    /// What is at `path`, as the node is now.
    ///
    /// # Errors
    ///
    /// ENOENT where there is nothing, ENODEV where the process cannot attach, EIO where the server does not answer.
    pub(crate) fn lookup(&self, path: &[u8]) -> Result<Entry, Errno> {
        let session = self.first_session()?;
        let facts = session.facts(sysfs::is_of_port(path)).map_err(|error| {
            eprintln!("portico-umad: cannot ask the server about the port: {error}");
            Errno::IO
        })?;
        sysfs::lookup(&facts, path).ok_or(Errno::NOENT)
    }

    /// The process's first session; attaches when it is needed first.
    fn first_session(&self) -> Result<Arc<Session>, Errno> {
        let mut sessions = lock(&self.sessions);
        match sessions.first() {
            Some(session) => Ok(session.clone()),
            None => attach(&mut sessions),
        }
    }

    /// The session for `port`. The first one is that of the port of which something is opened first.
    fn session_for(&self, port: PortNum) -> Result<Arc<Session>, Errno> {
        let mut sessions = lock(&self.sessions);
        let is_it = |session: &&Arc<Session>| session.port().is_none_or(|its| its == port);
        let session = match sessions.iter().find(is_it) {
            Some(session) => session.clone(),
            None => attach(&mut sessions)?,
        };
        if session.port().is_none() {
            session.set_port(port).map_err(|error| {
                eprintln!("portico-umad: cannot attach to port {port}: the server says: {error}");
                Errno::NODEV
            })?;
        }
        Ok(session)
    }

    /// Opens a device file.
    ///
    /// # Errors
    ///
    /// ENODEV where the process cannot attach, EMFILE and its like, EAGAIN where the port has a subnet manager already.
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

    /// What descriptor `fd` stands for, if it is ours.
    pub(crate) fn find(&self, fd: RawFd) -> Option<Open> {
        lock(&self.open).get(&fd).cloned()
    }

    /// Forgets descriptor `fd`, which the program is about to close.
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

    /// Opens a directory stream over `names`; the address stands for it.
    pub(crate) fn open_directory(&self, directory: Directory) -> usize {
        let directory = Box::new(directory);
        let address = ptr::from_ref(&*directory).addr();
        self.has_directories.store(true, Ordering::Release);
        lock(&self.directories).insert(address, directory);
        address
    }

    /// Does something with the directory stream at `address`, if it is ours.
    pub(crate) fn with_directory<T>(&self, address: usize, act: impl FnOnce(&mut Directory) -> T) -> Option<T> {
        if !self.has_directories.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.directories).get_mut(&address).map(|directory| act(directory))
    }

    /// Closes the directory stream at `address`; says whether it was ours.
    pub(crate) fn close_directory(&self, address: usize) -> bool {
        self.has_directories.load(Ordering::Acquire) && lock(&self.directories).remove(&address).is_some()
    }
}

/// Attaches once more.
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
