//! A device, a scripted driver that decodes BAR2 by itself, and the far ends of the cables.

use std::os::fd::OwnedFd;

use hca_contract::{
    Counter, LinkRequest, LinkState, Ring, control, device, driver, port, port_offset, ring_control_offset, slot,
    slot_offset,
};
use iba::{Guid, PortNum};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::{Bar, Device, Identity};
use cable::{Abilities, BUFFER, Cable, CableEnd, CableEvent, Hello, Reception, pair};

pub(super) const NODE_GUID: u64 = 0x0250_5400_0000_0100;
pub(super) const DOORBELL_TARGET: u16 = 7;

/// Creates BAR2's memory, zeroed.
pub(crate) fn memory() -> OwnedFd {
    let memory = memfd_create("hca-test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, hca_contract::BAR2_SIZE as u64).unwrap();
    memory
}

pub(super) fn cable(node: u64) -> Cable {
    Cable::new(CableEnd::new(Hello { node: Guid::new(node), port: PortNum::new(1) }, Abilities::default()), None)
}

/// Returns a packet of `length` bytes, a multiple of 4, with an opcode of a reliable connection.
pub(super) fn packet(vl: u8, length: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
    let words = u16::try_from(length / 4 + 1).unwrap().to_be_bytes();
    packet[..8].copy_from_slice(&[vl << 4, 2, 0, 1, words[0], words[1], 0, 2]);
    packet[8..20].copy_from_slice(&[4, 0, 0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 0]);
    packet
}

/// Returns a packet that carries `number`.
pub(crate) fn numbered(vl: u8, number: u32) -> Vec<u8> {
    let mut packet = packet(vl, 64);
    packet[20..24].copy_from_slice(&number.to_le_bytes());
    packet
}

pub(super) fn number_of(packet: &[u8]) -> u32 {
    u32::from_le_bytes(packet[20..24].try_into().unwrap())
}

/// A driver that keeps the contract, with methods that break it.
pub(super) struct Driver {
    pub(super) bar: Bar,
    produced: [[u32; 4]; 2],
    consumed: [[u32; 4]; 2],
    requests: [u32; 2],
}

impl Driver {
    pub(super) fn new(memory: &OwnedFd) -> Self {
        Self { bar: Bar::map(memory).unwrap(), produced: [[0; 4]; 2], consumed: [[0; 4]; 2], requests: [0; 2] }
    }

    pub(super) fn generation(&self) -> u32 {
        self.bar.load(device::GENERATION)
    }

    /// Takes up the device's present generation.
    pub(super) fn take_up(&mut self) {
        (self.produced, self.consumed, self.requests) = Default::default();
        for port in 0..2 {
            self.bar.store64(port_offset(port) + port::LINK_REQUEST, 0);
            for (ring, words) in [
                (Ring::Qp0Send, [control::PRODUCED, control::SPACE_EVENT]),
                (Ring::PacketSend, [control::PRODUCED, control::SPACE_EVENT]),
                (Ring::Qp0Receive, [control::CONSUMED, control::DATA_EVENT]),
                (Ring::PacketReceive, [control::CONSUMED, control::DATA_EVENT]),
            ] {
                words.into_iter().for_each(|word| self.bar.store(ring_control_offset(port, ring) + word, 0));
            }
        }
        self.bar.store(driver::GENERATION, self.generation());
    }

    /// Releases the device.
    pub(super) fn release(&self) {
        self.bar.store(driver::RELEASED, self.bar.load(driver::GENERATION));
        self.bar.store(driver::GENERATION, 0);
    }

    pub(super) fn word(&self, port: u16, ring: Ring, word: usize) -> u32 {
        self.bar.load(ring_control_offset(port, ring) + word)
    }

    pub(super) fn set_word(&self, port: u16, ring: Ring, word: usize, value: u32) {
        self.bar.store(ring_control_offset(port, ring) + word, value);
    }

    /// Sends; returns `true` if the device waits for a notification.
    pub(super) fn send(&mut self, port: u16, ring: Ring, packet: &[u8]) -> bool {
        self.send_slot(port, ring, 0, u32::try_from(packet.len()).unwrap(), packet)
    }

    /// Sends a slot whose index is off by `skew` and whose length is `length`.
    pub(super) fn send_slot(&mut self, port: u16, ring: Ring, skew: u32, length: u32, packet: &[u8]) -> bool {
        let index = self.produced[usize::from(port)][ring as usize];
        assert!(index.wrapping_sub(self.word(port, ring, control::CONSUMED)) < ring.slots(), "the ring is full");
        let slot = slot_offset(port, ring, index);
        self.bar.store(slot + slot::INDEX, index.wrapping_add(skew));
        self.bar.store(slot + slot::LENGTH, length);
        self.bar.write(slot + slot::PACKET, packet);
        let published = index.wrapping_add(1);
        self.produced[usize::from(port)][ring as usize] = published;
        self.set_word(port, ring, control::PRODUCED, published);
        hca_contract::notify(self.word(port, ring, control::DATA_EVENT), published, index)
    }

    /// Receives a packet without publishing that.
    pub(super) fn peek(&mut self, port: u16, ring: Ring) -> Option<Vec<u8>> {
        let index = self.consumed[usize::from(port)][ring as usize];
        let ready = self.word(port, ring, control::PRODUCED).wrapping_sub(index);
        assert!(ready <= ring.slots(), "the device overran the ring");
        if ready == 0 {
            return None;
        }
        let slot = slot_offset(port, ring, index);
        assert_eq!(self.bar.load(slot + slot::INDEX), index);
        let mut packet = vec![0; self.bar.load(slot + slot::LENGTH) as usize];
        self.bar.read(slot + slot::PACKET, &mut packet);
        self.consumed[usize::from(port)][ring as usize] = index.wrapping_add(1);
        Some(packet)
    }

    /// Receives; returns also `true` if the device waits for a notification.
    pub(super) fn receive(&mut self, port: u16, ring: Ring) -> Option<(Vec<u8>, bool)> {
        let packet = self.peek(port, ring)?;
        let consumed = self.consumed[usize::from(port)][ring as usize];
        self.set_word(port, ring, control::CONSUMED, consumed);
        let event = self.word(port, ring, control::SPACE_EVENT);
        Some((packet, hca_contract::notify(event, consumed, consumed.wrapping_sub(1))))
    }

    pub(super) fn receive_all(&mut self, port: u16, ring: Ring) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive(port, ring)).map(|(packet, _)| packet).collect()
    }

    /// Requests an interrupt for the next packet.
    pub(super) fn arm(&self, port: u16, ring: Ring) {
        self.set_word(port, ring, control::DATA_EVENT, self.consumed[usize::from(port)][ring as usize]);
    }

    pub(super) fn link_word(&self, port: u16) -> u64 {
        self.bar.load64(port_offset(port) + port::LINK)
    }

    /// State and epoch.
    pub(super) fn link(&self, port: u16) -> (u8, u32) {
        let bytes = self.link_word(port).to_le_bytes();
        (bytes[0], u32::from_le_bytes(bytes[4..].try_into().unwrap()))
    }

    pub(super) fn is_up(&self, port: u16) -> bool {
        u32::from(self.link(port).0) == LinkState::Up as u32
    }

    pub(super) fn request(&mut self, port: u16, request: LinkRequest) {
        self.request_number(port, request as u32);
    }

    pub(super) fn request_number(&mut self, port: u16, request: u32) {
        let sequence = &mut self.requests[usize::from(port)];
        *sequence += 1;
        let word = u64::from(*sequence) << port::LINK_REQUEST_SEQ_SHIFT | u64::from(request);
        self.bar.store64(port_offset(port) + port::LINK_REQUEST, word);
    }

    pub(super) fn request_is_done(&self, port: u16) -> bool {
        self.bar.load(port_offset(port) + port::LINK_REQUEST_DONE) == self.requests[usize::from(port)]
    }

    pub(super) fn counter(&self, port: u16, counter: Counter) -> u64 {
        self.bar.load64(port_offset(port) + port::COUNTERS + 8 * counter as usize)
    }
}

/// Everything.
pub(super) struct World {
    pub(super) memory: OwnedFd,
    pub(super) device: Device,
    pub(super) driver: Driver,
    /// The far end of each port's cable.
    pub(super) far: Vec<Cable>,
    /// Packets that arrived there.
    pub(super) arrived: Vec<Vec<u8>>,
    /// Vectors that were interrupted.
    pub(super) interrupts: Vec<u16>,
}

impl World {
    /// Creates a device that has started and is not taken up.
    pub(super) fn new(ports: u16) -> Self {
        Self::on(memory(), ports)
    }

    /// The same in memory that has seen others.
    pub(super) fn on(memory: OwnedFd, ports: u16) -> Self {
        let mut interrupts = Vec::new();
        let (near, far): (Vec<_>, Vec<_>) = (0..ports).map(|port| plugged(NODE_GUID, 0x200 + u64::from(port))).unzip();
        let device = start(&memory, near, &mut interrupts);
        Self { driver: Driver::new(&memory), memory, device, far, arrived: Vec::new(), interrupts }
    }

    /// A device that was taken up, with all links up.
    pub(super) fn up(ports: u16) -> Self {
        let mut world = Self::new(ports);
        world.driver.take_up();
        world.settle();
        assert!((0..ports).all(|port| world.driver.is_up(port)));
        world.interrupts.clear();
        world
    }

    /// The same, and the far ends have credit for all that is to come.
    pub(super) fn open(ports: u16) -> Self {
        let mut world = Self::up(ports);
        world.far.iter_mut().for_each(|far| far.with_end(|end| end.grant(10_000)));
        world.settle();
        world
    }

    /// The device dies without a word, and another starts in its place.
    pub(super) fn restart(&mut self) {
        let (near, far): (Vec<_>, Vec<_>) = (0..self.far.len()).map(|_| plugged(NODE_GUID, 0x200)).unzip();
        self.far = far;
        self.device = start(&self.memory, near, &mut self.interrupts);
    }

    /// The driver rings.
    pub(super) fn serve(&mut self) {
        let mut rounds = 0;
        while self.device.serve(|vector| self.interrupts.push(vector)) {
            rounds += 1;
            assert!(rounds < 100, "the device always has more to do");
        }
    }

    /// The device looks at its cables and its driver, once.
    pub(super) fn step(&mut self) {
        for port in 0..self.far.len() {
            self.device.receive(port, |vector| self.interrupts.push(vector)).unwrap();
        }
        self.serve();
    }

    /// Device and far ends talk until all is said.
    pub(super) fn settle(&mut self) {
        for _ in 0..12 {
            self.step();
            self.far_step();
        }
    }

    fn far_step(&mut self) {
        let mut buffer = [0; BUFFER];
        for far in &mut self.far {
            far.flush();
            loop {
                match far.receive(&mut buffer) {
                    Reception::Event(CableEvent::Packet(packet)) => self.arrived.push(packet.to_vec()),
                    Reception::Event(_) => {}
                    Reception::Empty => break,
                    Reception::Unplugged(_, error) => panic!("the device pulled the cable: {error:?}"),
                }
            }
        }
    }
}

/// A device on `memory` with these cables.
pub(super) fn start(memory: &OwnedFd, cables: Vec<Cable>, interrupts: &mut Vec<u16>) -> Device {
    let identity = Identity { node_guid: Guid::new(NODE_GUID), doorbell_target: DOORBELL_TARGET };
    Device::start(Bar::map(memory).unwrap(), identity, cables, |vector| interrupts.push(vector))
}

/// The two ends of a cable that is plugged in.
pub(super) fn plugged(near: u64, far: u64) -> (Cable, Cable) {
    let mut ends = (cable(near), cable(far));
    let (a, b) = pair().unwrap();
    ends.0.plug(a);
    ends.1.plug(b);
    ends
}
