//! Orders from other threads to the fabric's event loop.

use std::sync::mpsc::SyncSender;

use crate::net::Snapshot;
use crate::topology::PortRef;

/// An order to the event loop.
#[derive(Debug)]
pub(crate) enum Order {
    /// Pull the cable at a port.
    Unplug(PortRef),
    /// Plug the cable at a port in again.
    Plug(PortRef),
    /// Send a snapshot of the fabric.
    Snapshot(SyncSender<Snapshot>),
    /// Let the host at a port respond to datagrams.
    Respond(PortRef),
    /// End the event loop.
    Stop,
}
