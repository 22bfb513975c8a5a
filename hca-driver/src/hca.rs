//! The HCA as its user sees it: packets, link requests, counters and events.

use core::time::Duration;

use hca_contract::LinkRequest;

use crate::bar::Bar2;
use crate::counters::Counters;
use crate::doorbell::Doorbell;
use crate::fault::{Fault, SendError, SlotFault};
use crate::identity::Identity;
use crate::lrh;
use crate::port::{MAX_PACKET, Port, Queue};
use crate::port_state::PortState;
use crate::recovery::{Attachment, Event};
use crate::ring::Push;

/// Driver of one HCA.
#[derive(Debug)]
pub struct Hca<D> {
    attachment: Attachment<D>,
    /// By [`Port`].
    ports: [PortState; 2],
}

impl<D: Doorbell> Hca<D> {
    /// Creates a driver for the device behind `bar`, whether present or to come. [`Hca::check`] takes it up.
    ///
    /// The device leaves a generation that an earlier driver of this BAR2 held.
    pub fn new(bar: Bar2, doorbell: D) -> Self {
        Self { attachment: Attachment::new(bar, doorbell), ports: Port::ALL.map(PortState::new) }
    }

    /// Watches the device, and returns the next event; `None` once there is none. `now` is a monotonic time of the
    /// caller's. Call it until it returns `None`: on each interrupt of the status vector, and at least every
    /// [`CHECK_PERIOD`](crate::CHECK_PERIOD).
    pub fn check(&mut self, now: Duration) -> Option<Event> {
        self.attachment.check(now, &mut self.ports)
    }

    /// Returns the identity of the device while attached.
    pub fn identity(&self) -> Option<Identity> {
        self.attachment.identity()
    }

    /// Sends `packet`, from its LRH through its payload, with one copy into the ring. Drops a packet for VL15 that
    /// finds the ring full, and counts it in [`Counters::vl15_send_dropped`].
    ///
    /// # Errors
    /// [`SendError`] gives the reason why the packet was not sent.
    pub fn send(&mut self, port: Port, queue: Queue, packet: &[u8]) -> Result<(), SendError> {
        if !self.attachment.has(port) {
            return Err(SendError::Absent);
        }
        let lrh = lrh::packet_bytes(packet);
        if packet.len() < lrh::BYTES || packet.len() > queue.send_ring().max_packet() || packet.len() != lrh as usize {
            return Err(SendError::Malformed { length: packet.len(), lrh });
        }
        let state = &mut self.ports[port as usize];
        match state.send(queue).push(self.attachment.bar(), packet) {
            Ok(Push::Quiet) => {}
            Ok(Push::Notify) => self.attachment.notify(queue.send_ring().vector(port as u16)),
            Ok(Push::Full) => match queue {
                Queue::Qp0 => state.count_vl15_send_drop(),
                Queue::Packet => return Err(SendError::NoRoom),
            },
            Err(fault) => {
                self.attachment.lose(fault);
                return Err(SendError::Absent);
            }
        }
        Ok(())
    }

    /// Returns `true` if the send ring of `queue` has a free slot. If not, the interrupt of the queue's vector follows
    /// once it has one. A forwarder checks this before it receives: so a full ring holds the sender back, and no packet
    /// is dropped.
    pub fn has_room(&mut self, port: Port, queue: Queue) -> bool {
        if !self.attachment.has(port) {
            return false;
        }
        let room = self.ports[port as usize].send(queue).has_room(self.attachment.bar());
        self.or_lose(room).unwrap_or(false)
    }

    /// Returns the free slots of a queue's rings; `None` unless attached to a device with this port.
    pub fn free(&mut self, port: Port, queue: Queue) -> Option<Free> {
        if !self.attachment.has(port) {
            return None;
        }
        let (state, bar) = (&mut self.ports[port as usize], self.attachment.bar());
        let free = state.send(queue).free(bar).and_then(|send| {
            let receive = state.receive(queue).free(bar)?;
            Ok(Free { send, receive })
        });
        self.or_lose(free)
    }

    /// Receives the next packet, from its LRH through its payload, with one copy into `buffer`; `None` if the ring is
    /// empty.
    ///
    /// # Errors
    /// [`SlotFault`] describes a slot that the device filled wrongly. The slot is skipped; the next may hold a packet.
    pub fn receive<'b>(
        &mut self,
        port: Port,
        queue: Queue,
        buffer: &'b mut [u8; MAX_PACKET],
    ) -> Result<Option<&'b mut [u8]>, SlotFault> {
        if !self.attachment.has(port) {
            return Ok(None);
        }
        let (ring, bar) = (self.ports[port as usize].receive(queue), self.attachment.bar());
        match ring.has_packet(bar) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(fault) => {
                self.attachment.lose(fault);
                return Ok(None);
            }
        }
        let length = ring.read(bar, buffer);
        if ring.pop(bar) {
            self.attachment.notify(queue.receive_ring().vector(port as u16));
        }
        Ok(Some(&mut buffer[..length?]))
    }

    /// Requests an interrupt for the next packet of a queue; call it before sleeping. Returns `true` if there is work
    /// already: a packet is in the ring, or [`Hca::check`] has an event.
    pub fn arm(&mut self, port: Port, queue: Queue) -> bool {
        if !self.attachment.has(port) {
            return self.attachment.is_lost();
        }
        let (ring, bar) = (self.ports[port as usize].receive(queue), self.attachment.bar());
        ring.arm(bar);
        let has_packet = ring.has_packet(bar);
        self.or_lose(has_packet).unwrap_or(true)
    }

    /// Requests a change of a port's link. [`Hca::check`] makes the requests one after the other; of those that wait,
    /// the last replaces the others. [`LinkRequest::Disable`] holds for later generations of the device too.
    pub fn request_link(&mut self, port: Port, request: LinkRequest) {
        self.ports[port as usize].link().request(request);
    }

    /// Returns a port's counters; those of the device are 0 unless attached to a device with this port.
    pub fn counters(&self, port: Port) -> Counters {
        let vl15_send_dropped = self.ports[port as usize].vl15_send_dropped();
        if self.attachment.has(port) {
            Counters::read(self.attachment.bar(), port, vl15_send_dropped)
        } else {
            Counters { vl15_send_dropped, ..Counters::default() }
        }
    }

    /// Returns the value of `result`, or releases the device because of its fault.
    fn or_lose<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.attachment.lose(fault)).ok()
    }
}

/// Free slots of a queue's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Slots for packets to send. Used slots hold packets that the device has not sent yet; on a data VL they wait for
    /// credit of the cable's other end.
    pub send: u32,
    /// Slots for packets to receive. The device gives the cable's other end credit for these.
    pub receive: u32,
}
