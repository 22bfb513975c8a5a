//! The external fabric: switches and hosts that run `subnet`, cables between them, cables to the machines that run
//! Portico, and the umad server at the hosts' ports.
//!
//! All of it is one thread and one event loop ([`Fabric`]). The parts of it that need neither clock nor sockets are
//! pure: `net` carries packets between nodes, `links` trains cables, `timers` knows who is due.

mod attach;
mod flight;
mod lent;
mod links;
mod net;
mod responder;
mod run;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;
pub mod topology;
mod uplink;
#[cfg(test)]
mod uplink_tests;
mod wires;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;

pub use snapshot::{NodeView, PortView, Snapshot, UplinkView};

use crate::topology::{PortRef, Topology};
use umad_server::{BindError, Endpoint};

/// What a fabric is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nodes and cables.
    pub topology: Topology,
    /// Where the processes that model HCAs find their cables: port `p` of node `n` at `cable-n-p`.
    pub folder: PathBuf,
    /// Where to capture what passes on the cables to machines that run Portico.
    pub capture: Option<PathBuf>,
    /// Where umad programs attach to its hosts and switches, and to what is lent.
    pub umad: Endpoint,
    /// HCAs that partitions drive to lend ports to umad programs.
    pub lent: Vec<LentHca>,
}

/// An HCA that partitions drive, one after another, to lend their ports to umad programs. The process that models it finds
/// the cables as [`Config::folder`] says, with this name for the node.
#[derive(Clone, Debug)]
pub struct LentHca {
    /// Its name.
    pub name: String,
    /// How many ports it has.
    pub ports: u8,
}

/// Why a fabric cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A node cannot be made.
    #[error("a node of the topology cannot be made")]
    Node(#[from] subnet::ConfigError),
    /// Two machines that run Portico have a cable between them.
    #[error("`{0}` and `{1}` both run Portico and share a cable: put a switch between them")]
    NoSwitch(String, String),
    /// The socket of a cable cannot be made.
    #[error("cannot listen for a cable at {0}: use a folder with a shorter path that can be written to")]
    Cable(PathBuf, #[source] io::Error),
    /// The capture file cannot be made.
    #[error("cannot make the capture file {0}")]
    Capture(PathBuf, #[source] io::Error),
    /// Umad programs cannot attach.
    #[error(transparent)]
    Umad(#[from] BindError),
    /// The system refuses.
    #[error("cannot set up the fabric's event loop")]
    System(#[from] io::Error),
}

/// A running fabric. It stops when this is dropped.
#[derive(Debug)]
pub struct Fabric {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked for.
#[derive(Debug)]
enum Order {
    Pull { at: PortRef, pulled: bool },
    Snapshot(SyncSender<Snapshot>),
    Respond(PortRef),
    Stop,
}

impl Fabric {
    /// Makes the fabric, and starts it. All links between its own nodes are up when this returns, and sockets are
    /// ready to be connected to.
    ///
    /// # Errors
    /// If a part of it cannot be made.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (orders, inbox) = mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?);
        let fabric = run::Loop::new(config, inbox, Arc::clone(&wake))?;
        let thread = thread::Builder::new().name("fabric".into()).spawn(move || fabric.run())?;
        Ok(Self { orders, wake, thread: Some(thread) })
    }

    /// The fabric at this moment; `None` if it has died.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.order(Order::Snapshot(reply));
        answer.recv().ok()
    }

    /// Has the host at a port send every datagram that comes back to where it came from, and be in the multicast group in
    /// which partitions with the image `traffic` meet.
    pub fn respond(&self, at: PortRef) {
        self.order(Order::Respond(at));
    }

    /// Pulls the cable at a port of the fabric, or plugs it in again.
    pub fn pull(&self, at: PortRef, pulled: bool) {
        self.order(Order::Pull { at, pulled });
    }

    fn order(&self, order: Order) {
        // A fabric that is no longer there has nothing to be told.
        let _ = self.orders.send(order);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
