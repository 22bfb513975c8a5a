//! A port: its four rings, its link, its counters.

use std::os::fd::OwnedFd;

use hca_contract::{COUNTERS, Counter, LinkRequest, LinkState, Ring, STATUS_VECTOR, port, port_offset};
use iba::Vl;
use iba::packet::{self, Packet};

use super::bar::Bar;
use super::ring::{ReceiveRing, SendRing, Slot};
use cable::{self, BUFFER, Cable, CableEnd, CableEvent, MessageError, Reception, TransmitError};

/// Messages or packets that the port takes from one source before it serves another.
const BATCH: usize = 64;

/// Least credit, in packets, that the port gives the peer at once.
const CREDIT_STEP: u32 = Ring::PacketReceive.slots() / 2;

/// Port of a device.
#[derive(Debug)]
pub(super) struct Port {
    /// 0-based.
    number: u16,
    cable: Cable,
    /// Indexed by [`Pair`].
    send: [SendRing; 2],
    receive: [ReceiveRing; 2],
    /// State and epoch of the link in BAR2.
    published: (LinkState, u32),
    /// Sequence number of the last link request that the port acted on.
    request_done: u32,
    /// Counters that the cable's end does not keep; saturating.
    malformed: u64,
    vl15_dropped: u64,
    xmit_discards: u64,
}

/// Rings of one kind of packet, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    /// VL15.
    Qp0 = 0,
    /// All other VLs.
    Data = 1,
}

impl Pair {
    /// Returns the rings of `packet`; `None` if it is malformed, or not of the IBA transport.
    fn of(packet: &[u8]) -> Option<Self> {
        let Ok(Packet::Transport(parsed)) = packet::parse(packet) else { return None };
        let (pair, ring) = match parsed.lrh.vl() {
            Vl::MANAGEMENT => (Self::Qp0, Ring::Qp0Receive),
            _ => (Self::Data, Ring::PacketReceive),
        };
        (packet.len() <= ring.max_packet()).then_some(pair)
    }
}

impl Port {
    /// Creates port `number` (0-based) at `cable`, with its link held down.
    pub(super) fn new(number: u16, mut cable: Cable) -> Self {
        cable.with_end(CableEnd::disable);
        Self {
            number,
            cable,
            send: [Ring::Qp0Send, Ring::PacketSend].map(|ring| SendRing::new(number, ring)),
            receive: [Ring::Qp0Receive, Ring::PacketReceive].map(|ring| ReceiveRing::new(number, ring)),
            published: (LinkState::Disabled, 0),
            request_done: 0,
            malformed: 0,
            vl15_dropped: 0,
            xmit_discards: 0,
        }
    }

    /// Returns the cable.
    pub(super) fn cable(&self) -> &Cable {
        &self.cable
    }

    /// Returns the offset of a register of this port.
    fn register(&self, offset: usize) -> usize {
        port_offset(self.number) + offset
    }

    /// Resets the port for a new generation: link down, own words as at start.
    pub(super) fn reset(&mut self, bar: &Bar) {
        self.cable.with_end(CableEnd::disable);
        self.send.iter_mut().for_each(|ring| ring.reset(bar));
        self.receive.iter_mut().for_each(|ring| ring.reset(bar));
        self.published = (LinkState::Disabled, 0);
        self.request_done = 0;
        bar.store64(self.register(port::LINK), LinkState::Disabled as u64);
        bar.store(self.register(port::LINK_REQUEST_DONE), 0);
        self.publish_counters(bar);
    }

    /// Lets the link look for its peer, once the driver has taken up the device.
    pub(super) fn enable(&mut self, bar: &Bar, interrupt: &mut impl FnMut(u16)) {
        self.cable.with_end(CableEnd::enable);
        self.publish_link(bar, interrupt);
    }

    /// Plugs in a connected socket.
    pub(super) fn plug(&mut self, bar: &Bar, socket: OwnedFd, interrupt: &mut impl FnMut(u16)) {
        self.cable.plug(socket);
        self.publish_link(bar, interrupt);
    }

    /// Reads messages from the cable, at most [`BATCH`], and sends those that waited for room. Interrupts the driver
    /// once for all packets.
    ///
    /// # Errors
    /// The other end sent an invalid message. The port has unplugged the cable.
    pub(super) fn receive(
        &mut self,
        bar: &Bar,
        buffer: &mut [u8; BUFFER],
        interrupt: &mut impl FnMut(u16),
    ) -> Result<(), MessageError> {
        if self.cable.is_full() {
            self.cable.flush();
        }
        let mut result = Ok(());
        for _ in 0..BATCH {
            match self.cable.receive(buffer) {
                Reception::Event(CableEvent::Packet(packet)) => match Pair::of(packet) {
                    // Data always finds a slot: the peer has credit for free ones only.
                    Some(pair) if self.receive[pair as usize].put(bar, packet) => {}
                    Some(_) => self.vl15_dropped = self.vl15_dropped.saturating_add(1),
                    None => self.malformed = self.malformed.saturating_add(1),
                },
                Reception::Event(CableEvent::Link(_)) => self.publish_link(bar, interrupt),
                Reception::Event(CableEvent::Credit | CableEvent::Nothing) => {}
                Reception::Empty => break,
                Reception::Unplugged(_, error) => {
                    self.publish_link(bar, interrupt);
                    result = error.map_or(Ok(()), Err);
                    break;
                }
            }
        }
        self.receive.iter_mut().filter_map(|ring| ring.notify(bar)).for_each(interrupt);
        result
    }

    /// Sends the driver's packets, acts on its link request, and gives the peer credit. Returns `true` if packets are
    /// left that could be sent at once.
    pub(super) fn serve(&mut self, bar: &Bar, buffer: &mut [u8], interrupt: &mut impl FnMut(u16)) -> bool {
        // Read first: packets that were in the send rings before the request go out before it takes effect.
        let request = bar.load64(self.register(port::LINK_REQUEST));
        let more = self.send(bar, Pair::Qp0, buffer, interrupt) | self.send(bar, Pair::Data, buffer, interrupt);
        if !more {
            self.act_on(bar, request, interrupt);
        }
        self.grant(bar);
        self.publish_counters(bar);
        more
    }

    /// Acts on the link request `word` if it is new.
    fn act_on(&mut self, bar: &Bar, word: u64, interrupt: &mut impl FnMut(u16)) {
        let [request, sequence] = [word, word >> port::LINK_REQUEST_SEQ_SHIFT].map(|word| (word & 0xffff_ffff) as u32);
        if sequence == self.request_done {
            return;
        }
        const DISABLE: u32 = LinkRequest::Disable as u32;
        const ENABLE: u32 = LinkRequest::Enable as u32;
        const RETRAIN: u32 = LinkRequest::Retrain as u32;
        match request {
            DISABLE => drop(self.cable.with_end(CableEnd::disable)),
            ENABLE => self.cable.with_end(CableEnd::enable),
            RETRAIN => drop(self.cable.with_end(CableEnd::retrain)),
            unknown => {
                log::warn!("port {}: cannot act on link request {unknown}: it is unknown; ignored", self.number + 1)
            }
        }
        self.publish_link(bar, interrupt);
        self.request_done = sequence;
        bar.store(self.register(port::LINK_REQUEST_DONE), sequence);
        interrupt(STATUS_VECTOR);
    }

    /// Sends from one of the two send rings. Returns `true` if packets are left that could be sent at once.
    fn send(&mut self, bar: &Bar, pair: Pair, buffer: &mut [u8], interrupt: &mut impl FnMut(u16)) -> bool {
        let ring = &mut self.send[pair as usize];
        let mut more = true;
        for _ in 0..BATCH {
            let packet = match ring.peek(bar, buffer) {
                Slot::Packet(length) => Some(&buffer[..length]).filter(|packet| Pair::of(packet) == Some(pair)),
                Slot::Bad => None,
                Slot::Empty if ring.arm(bar) => continue,
                Slot::Empty => {
                    more = false;
                    break;
                }
            };
            match packet.map(|packet| self.cable.transmit(packet)) {
                Some(Ok(())) => {}
                // The packet stays in its slot. Credit, or room in the socket, leads to the next attempt.
                Some(Err(TransmitError::Full)) => {
                    more = false;
                    break;
                }
                None | Some(Err(TransmitError::Down)) => self.xmit_discards = self.xmit_discards.saturating_add(1),
            }
            ring.advance();
        }
        if let Some(vector) = ring.publish(bar) {
            interrupt(vector);
        }
        more
    }

    /// Gives the peer credit for the free slots, and requests a notification once more of them are free.
    fn grant(&mut self, bar: &Bar) {
        let ring = &mut self.receive[Pair::Data as usize];
        loop {
            let room = self.cable.end().room();
            let free = ring.free(bar);
            if free.saturating_sub(room) >= CREDIT_STEP {
                self.cable.with_end(|end| end.grant(free));
                continue;
            }
            if !ring.arm_space(bar, room + CREDIT_STEP) {
                return;
            }
        }
    }

    /// Publishes the link's state if it changed.
    fn publish_link(&mut self, bar: &Bar, interrupt: &mut impl FnMut(u16)) {
        let (state, rate) = match self.cable.end().state() {
            cable::LinkState::Disabled => (LinkState::Disabled, 0),
            cable::LinkState::Polling => (LinkState::Polling, 0),
            cable::LinkState::Up(link) => (
                LinkState::Up,
                u64::from(link.width) << port::LINK_WIDTH_SHIFT
                    | u64::from(link.speed) << port::LINK_SPEED_SHIFT
                    | u64::from(link.speed_ext) << port::LINK_SPEED_EXT_SHIFT,
            ),
        };
        if state == self.published.0 {
            return;
        }
        self.published = (state, self.published.1.wrapping_add(1));
        let epoch = u64::from(self.published.1) << port::LINK_EPOCH_SHIFT;
        bar.store64(self.register(port::LINK), state as u64 | rate | epoch);
        interrupt(STATUS_VECTOR);
    }

    fn publish_counters(&self, bar: &Bar) {
        let end = self.cable.end().counters();
        let mut counters = [0; COUNTERS];
        counters[Counter::XmitPackets as usize] = end.xmit_packets;
        counters[Counter::XmitBytes as usize] = end.xmit_bytes;
        counters[Counter::RcvPackets as usize] = end.rcv_packets;
        counters[Counter::RcvBytes as usize] = end.rcv_bytes;
        counters[Counter::RcvErrors as usize] = end.rcv_errors.saturating_add(self.malformed);
        counters[Counter::Vl15Dropped as usize] = self.vl15_dropped;
        counters[Counter::XmitDiscards as usize] = self.xmit_discards;
        counters[Counter::LinkDowned as usize] = end.link_downed;
        for (offset, counter) in (port::COUNTERS..).step_by(8).zip(counters) {
            bar.store64(self.register(offset), counter);
        }
    }
}
