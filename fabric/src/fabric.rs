//! Handle to a running fabric.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};

use crate::config::Config;
use crate::error::StartError;
use crate::event_loop::EventLoop;
use crate::net::Snapshot;
use crate::order::Order;
use crate::topology::PortRef;

/// A running fabric. Dropping it stops the fabric.
#[derive(Debug)]
pub struct Fabric {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Fabric {
    /// Creates the fabric and starts its thread. On return all links between its own nodes are up, and its sockets
    /// accept connections.
    ///
    /// # Errors
    /// A node, a socket or the capture file cannot be created.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (orders, inbox) = mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?);
        let event_loop = EventLoop::new(config, inbox, Arc::clone(&wake))?;
        let thread = thread::Builder::new().name("fabric".into()).spawn(move || event_loop.run())?;
        Ok(Self { orders, wake, thread: Some(thread) })
    }

    /// Returns the state of the fabric at this moment; `None` if its thread has panicked.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.order(Order::Snapshot(reply));
        answer.recv().ok()
    }

    /// Lets the host at a port send every datagram back to its sender, and join the multicast group of the partitions
    /// with the image `traffic`.
    pub fn respond(&self, at: PortRef) {
        self.order(Order::Respond(at));
    }

    /// Pulls the cable at a port of the fabric.
    pub fn unplug(&self, at: PortRef) {
        self.order(Order::Unplug(at));
    }

    /// Plugs the cable at a port of the fabric in again.
    pub fn plug(&self, at: PortRef) {
        self.order(Order::Plug(at));
    }

    fn order(&self, order: Order) {
        // Fails only after the thread has panicked; `snapshot` shows that.
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
