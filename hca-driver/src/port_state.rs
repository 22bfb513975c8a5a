//! The driver's own state of a port: its link and its four rings.

use crate::bar::Bar2;
use crate::link::Link;
use crate::port::{Port, Queue};
use crate::registers::RequestPageVolatileFieldAccess as _;
use crate::ring::{ReceiveRing, SendRing};

/// State of one port.
#[derive(Debug)]
pub(crate) struct PortState {
    link: Link,
    /// By [`Queue`].
    send: [SendRing; 2],
    /// By [`Queue`].
    receive: [ReceiveRing; 2],
    vl15_send_dropped: u64,
}

impl PortState {
    /// Creates the state of `port` before the first generation.
    pub(crate) fn new(port: Port) -> Self {
        Self {
            link: Link::default(),
            send: Queue::ALL.map(|queue| SendRing::new(port, queue)),
            receive: Queue::ALL.map(|queue| ReceiveRing::new(port, queue)),
            vl15_send_dropped: 0,
        }
    }

    /// Resets the port `port` for a new generation of the device, in BAR2 too.
    pub(crate) fn reset(&mut self, bar: &Bar2, port: Port) {
        self.link.reset();
        bar.request(port).link_request().write(0);
        self.send.iter_mut().for_each(|ring| ring.reset(bar));
        self.receive.iter_mut().for_each(|ring| ring.reset(bar));
    }

    /// Returns the link.
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Returns the send ring of `queue`.
    pub(crate) fn send(&mut self, queue: Queue) -> &mut SendRing {
        &mut self.send[queue as usize]
    }

    /// Returns the receive ring of `queue`.
    pub(crate) fn receive(&mut self, queue: Queue) -> &mut ReceiveRing {
        &mut self.receive[queue as usize]
    }

    /// Counts a packet that found the VL15 send ring full.
    pub(crate) fn count_vl15_send_drop(&mut self) {
        self.vl15_send_dropped = self.vl15_send_dropped.saturating_add(1);
    }

    /// Returns the number of packets that found the VL15 send ring full.
    pub(crate) fn vl15_send_dropped(&self) -> u64 {
        self.vl15_send_dropped
    }
}
