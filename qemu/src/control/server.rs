//! The server: between one kernel and its clients.

use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use control_protocol::Ending;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::process::geteuid;

use super::line::Line;
use super::{PATIENCE, Place};

/// Running server. Its drop closes its sockets; connected clients get an error for each request.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    kernel: UnixListener,
    clients: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves clients at `place`. The kernel's machine is to connect to a new socket at `path`, once.
    ///
    /// # Errors
    /// A socket cannot be had.
    pub fn start(path: PathBuf, place: &Place) -> Result<Self> {
        let kernel = UnixListener::bind(&path).with_context(|| format!("cannot make the socket {}", path.display()))?;
        let name = place.name();
        let clients = SocketAddr::from_abstract_name(&name).and_then(|address| UnixListener::bind_addr(&address));
        let clients = clients.with_context(|| {
            format!("cannot open the control line {name}: end the run that has it, or choose another --socket")
        })?;
        let (listen_kernel, listen_clients) = (kernel.try_clone()?, clients.try_clone()?);
        let thread = thread::spawn(move || {
            // The thread ends when the sockets are shut down; its error has no reader.
            let _ = serve(&listen_kernel, &listen_clients);
        });
        Ok(Self { path, kernel, clients, thread: Some(thread) })
    }

    /// Returns the socket to which the kernel's machine connects.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The shutdown ends a pending accept.
        let _ = shutdown(&self.kernel, Shutdown::Both);
        let _ = shutdown(&self.clients, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(kernel: &UnixListener, clients: &UnixListener) -> io::Result<()> {
    let (kernel, _) = kernel.accept()?;
    let line = Arc::new(Mutex::new(Line::new(kernel, PATIENCE)?));
    loop {
        let (client, _) = clients.accept()?;
        if is_allowed(&client) {
            let line = line.clone();
            thread::spawn(move || attend(client, &line));
        }
    }
}

/// An abstract socket has no permissions that the system would look after.
fn is_allowed(client: &UnixStream) -> bool {
    sockopt::socket_peercred(client).is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

/// Serves `client` until it hangs up.
fn attend(client: UnixStream, line: &Mutex<Line>) -> io::Result<()> {
    let mut answers = client.try_clone()?;
    for asked in BufReader::new(client).lines() {
        let answer = line.lock().unwrap_or_else(PoisonError::into_inner).ask(&asked?);
        let answer = answer.unwrap_or_else(|error| {
            let reason = format!("the hypervisor does not answer: {error}");
            format!("{}\n", Ending::Refused(&reason))
        });
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}
