//! The HCA as its user sees it: ports, queues, packets, requests.

use core::fmt;

use hca_contract::{LinkRequest, Ring, STATUS_VECTOR};

use crate::bar::Bar2;
use crate::fault::{SendError, SlotFault};
use crate::life::Life;
use crate::link::Link;
use crate::lrh;
use crate::registers::{
    DevicePageVolatileFieldAccess as _, DriverPageVolatileFieldAccess as _, PortPageVolatileFieldAccess as _,
    RequestPageVolatileFieldAccess as _,
};
use crate::ring::{Push, ReceiveRing, SendRing};

/// The longest packet that a queue takes or gives, in bytes, CRCs not counted.
pub const MAX_PACKET: usize = Ring::PacketReceive.max_packet();

/// A physical port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Port 1.
    One = 0,
    /// Port 2; not every HCA has it.
    Two = 1,
}

impl Port {
    /// All that an HCA may have.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u8 + 1)
    }
}

/// A port's two pairs of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Queue pair 0: VL15, subnet management. Nothing holds the sender back: what finds no room is dropped and counted.
    Qp0 = 0,
    /// Everything else, which is never dropped for lack of room.
    Packet = 1,
}

impl Queue {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Qp0, Self::Packet];

    pub(crate) fn send_ring(self) -> Ring {
        match self {
            Self::Qp0 => Ring::Qp0Send,
            Self::Packet => Ring::PacketSend,
        }
    }

    pub(crate) fn receive_ring(self) -> Ring {
        match self {
            Self::Qp0 => Ring::Qp0Receive,
            Self::Packet => Ring::PacketReceive,
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qp0 => "QP0",
            Self::Packet => "packet",
        })
    }
}

/// How the driver rings the device; the carrier's. With ivshmem: `target << 16 | vector` stored at offset 12 of BAR0.
pub trait Doorbell {
    /// Rings `vector` at `target`. Must not be reordered before earlier stores to BAR2.
    fn ring(&mut self, target: u16, vector: u16);
}

impl<F: FnMut(u16, u16)> Doorbell for F {
    fn ring(&mut self, target: u16, vector: u16) {
        self(target, vector);
    }
}

/// Who a device is. Checked: see [`crate::Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which life of the device this is; never 0.
    pub generation: u32,
    /// Number of ports, 1 or 2.
    pub ports: u16,
    /// Whom to ring.
    pub doorbell_target: u16,
    /// Node GUID, never 0; port `p`'s GUID (1-based) is this plus `p`.
    pub node_guid: u64,
    /// System image GUID.
    pub system_image_guid: u64,
    /// Vendor id, 24 bits.
    pub vendor_id: u32,
    /// Device id.
    pub device_id: u16,
    /// Revision.
    pub revision: u16,
}

impl Identity {
    /// The ports that there are.
    pub fn ports(&self) -> impl Iterator<Item = Port> + use<> {
        Port::ALL.into_iter().take(usize::from(self.ports))
    }
}

/// What the device counts for a port; all saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent on the cable.
    pub xmit_packets: u64,
    /// Bytes sent, CRCs included.
    pub xmit_bytes: u64,
    /// Packets received in good order.
    pub rcv_packets: u64,
    /// Bytes received, CRCs included.
    pub rcv_bytes: u64,
    /// Packets received with a wrong CRC or a malformed header.
    pub rcv_errors: u64,
    /// Packets dropped because the VL15 receive ring was full.
    pub vl15_dropped: u64,
    /// Packets that the device did not send: malformed, or no link.
    pub xmit_discards: u64,
    /// Times the link went down.
    pub link_downed: u64,
    /// Packets that the driver dropped because the VL15 send ring was full; not the device's.
    pub vl15_send_dropped: u64,
}

/// Slots of a queue's rings that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// For packets to send. Fewer than there are means that some wait, on a data lane for the credit of the cable's other
    /// end.
    pub send: u32,
    /// For packets that come. The device gives the cable's other end credit for these.
    pub receive: u32,
}

/// The driver of one HCA.
#[derive(Debug)]
pub struct Hca<D> {
    pub(crate) bar: Bar2,
    pub(crate) doorbell: D,
    pub(crate) life: Life,
    pub(crate) ports: [PortState; 2],
}

#[derive(Debug, Default)]
pub(crate) struct PortState {
    pub(crate) link: Link,
    send: [SendRing; 2],
    receive: [ReceiveRing; 2],
    vl15_send_dropped: u64,
}

impl<D: Doorbell> Hca<D> {
    /// A driver for the device, present or to come, behind `bar`. [`Hca::check`] takes it up.
    pub fn new(bar: Bar2, mut doorbell: D) -> Self {
        // The only word of its own that the driver ever reads: what an earlier driver took up, if there was one, is in
        // the middle of its life. The device begins a new one when it sees the 0.
        let past = bar.driver().generation().read();
        if past != 0 {
            bar.driver().generation().write(0);
            if let Ok(target) = u16::try_from(bar.device().doorbell_target().read()) {
                doorbell.ring(target, STATUS_VECTOR);
            }
        }
        Self { bar, doorbell, life: Life::Waiting { past }, ports: Default::default() }
    }

    /// Who the device is, while one is taken up.
    pub fn identity(&self) -> Option<Identity> {
        match self.life {
            Life::Attached { identity, .. } => Some(identity),
            Life::Waiting { .. } | Life::Lost { .. } => None,
        }
    }

    /// Sends `packet`, from its LRH through its payload, with one copy into the ring. A packet for VL15 that finds no room
    /// is dropped and counted in [`Counters::vl15_send_dropped`].
    ///
    /// # Errors
    /// [`SendError`] says why the packet was not sent.
    pub fn send(&mut self, port: Port, queue: Queue, packet: &[u8]) -> Result<(), SendError> {
        let Some(target) = self.bell_of(port) else { return Err(SendError::Absent) };
        let lrh = lrh::packet_bytes(packet);
        if packet.len() < lrh::BYTES || packet.len() > queue.send_ring().max_packet() || packet.len() != lrh as usize {
            return Err(SendError::Malformed { length: packet.len(), lrh });
        }
        let state = &mut self.ports[port as usize];
        match state.send[queue as usize].push(&self.bar, port, queue, packet) {
            Ok(Push::Quiet) => {}
            Ok(Push::Ring) => self.doorbell.ring(target, queue.send_ring().vector(port as u16)),
            Ok(Push::Full) => match queue {
                Queue::Qp0 => state.vl15_send_dropped = state.vl15_send_dropped.saturating_add(1),
                Queue::Packet => return Err(SendError::NoRoom),
            },
            Err(fault) => {
                self.lose(fault);
                return Err(SendError::Absent);
            }
        }
        Ok(())
    }

    /// Whether a packet for `queue` would find room now. If not, the interrupt of the queue's vector will tell of room. Who
    /// forwards asks this before receiving, and so hands a full ring's pressure on to the sender instead of dropping.
    pub fn has_room(&mut self, port: Port, queue: Queue) -> bool {
        if self.bell_of(port).is_none() {
            return false;
        }
        self.ports[port as usize].send[queue as usize].room(&self.bar, port, queue).unwrap_or_else(|fault| {
            self.lose(fault);
            false
        })
    }

    /// The free slots of a queue's rings; `None` while there is no device with this port.
    pub fn free(&mut self, port: Port, queue: Queue) -> Option<Free> {
        self.bell_of(port)?;
        let PortState { send, receive, .. } = &mut self.ports[port as usize];
        let free = send[queue as usize].free(&self.bar, port, queue).and_then(|send| {
            let receive = receive[queue as usize].free(&self.bar, port, queue)?;
            Ok(Free { send, receive })
        });
        free.map_err(|fault| self.lose(fault)).ok()
    }

    /// Receives the next packet, from its LRH through its payload, with one copy into `buffer`. `None`: there is none.
    ///
    /// # Errors
    /// [`SlotFault`] says what was wrong with what the device gave; it was passed over, and the next packet may follow.
    pub fn receive<'b>(
        &mut self,
        port: Port,
        queue: Queue,
        buffer: &'b mut [u8; MAX_PACKET],
    ) -> Result<Option<&'b mut [u8]>, SlotFault> {
        let Some(target) = self.bell_of(port) else { return Ok(None) };
        let ring = &mut self.ports[port as usize].receive[queue as usize];
        match ring.waiting(&self.bar, port, queue) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(fault) => {
                self.lose(fault);
                return Ok(None);
            }
        }
        let length = ring.read(&self.bar, port, queue, buffer);
        if ring.pop(&self.bar, port, queue) {
            self.doorbell.ring(target, queue.receive_ring().vector(port as u16));
        }
        Ok(Some(&mut buffer[..length?]))
    }

    /// Asks for an interrupt when the next packet comes to a queue; to be called before sleeping. Says whether one is
    /// waiting already, or [`Hca::check`] has something to tell, so that there is no time to sleep.
    pub fn arm(&mut self, port: Port, queue: Queue) -> bool {
        if self.bell_of(port).is_none() {
            return matches!(self.life, Life::Lost { .. });
        }
        let ring = &mut self.ports[port as usize].receive[queue as usize];
        ring.arm(&self.bar, port, queue);
        ring.waiting(&self.bar, port, queue).unwrap_or_else(|fault| {
            self.lose(fault);
            true
        })
    }

    /// Asks the device to change a port's link. Requests are made one after the other, by [`Hca::check`]; of those that wait
    /// the last counts. A link that is disabled stays so over lives of the device.
    pub fn request_link(&mut self, port: Port, request: LinkRequest) {
        self.ports[port as usize].link.want(request);
    }

    /// A port's counters; the device's are all 0 while there is no device.
    pub fn counters(&self, port: Port) -> Counters {
        let vl15_send_dropped = self.ports[port as usize].vl15_send_dropped;
        if self.bell_of(port).is_none() {
            return Counters { vl15_send_dropped, ..Counters::default() };
        }
        let registers = self.bar.port(port);
        Counters {
            xmit_packets: registers.xmit_packets().read(),
            xmit_bytes: registers.xmit_bytes().read(),
            rcv_packets: registers.rcv_packets().read(),
            rcv_bytes: registers.rcv_bytes().read(),
            rcv_errors: registers.rcv_errors().read(),
            vl15_dropped: registers.vl15_dropped().read(),
            xmit_discards: registers.xmit_discards().read(),
            link_downed: registers.link_downed().read(),
            vl15_send_dropped,
        }
    }

    /// Begins `port` anew, for a new life of the device.
    pub(crate) fn begin(&mut self, port: Port) {
        let state = &mut self.ports[port as usize];
        state.link.begin();
        self.bar.request(port).link_request().write(0);
        for queue in Queue::ALL {
            state.send[queue as usize].begin(&self.bar, port, queue);
            state.receive[queue as usize].begin(&self.bar, port, queue);
        }
    }

    /// Whom to ring, while a device is taken up that has `port`.
    fn bell_of(&self, port: Port) -> Option<u16> {
        match &self.life {
            Life::Attached { identity, .. } if (port as u16) < identity.ports => Some(identity.doorbell_target),
            _ => None,
        }
    }
}
