//! A second HCA, for tests: BAR2 in memory of its own, and a device that keeps the contract step by step until the test
//! writes something wrong into it. It is written from the contract alone and shares no code with the driver or with the
//! real model, so that the three check each other.

mod memory;

use std::ptr::NonNull;
use std::sync::mpsc::{Receiver, Sender, channel};

use hca_contract::{
    COUNTERS, LinkRequest, LinkState, MAGIC, Ring, STATUS_VECTOR, VERSION, control, device, driver, port, port_offset,
    ring_control_offset, slot, slot_offset,
};

use crate::memory::Memory;

/// Target of the driver's notifications.
pub const DOORBELL_TARGET: u16 = 7;

/// Node GUID that the device claims.
pub const NODE_GUID: u64 = 0x0200_0000_0000_0100;

/// The device. It does nothing by itself: each method is one step of a device.
#[derive(Debug)]
pub struct FakeHca {
    memory: Memory,
    generation: u32,
    taken_up: bool,
    ports: u16,
    heartbeat: u32,
    links: [Link; 2],
    /// The device's own index of each ring: produced for the receive rings, consumed for the send rings.
    indices: [[u32; 4]; 2],
    interrupts: Vec<u16>,
    doorbell: Sender<Notification>,
    notifications: Receiver<Notification>,
}

/// A notification by the driver: target and vector.
pub type Notification = (u16, u16);

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    state: u8,
    rate: u32,
    epoch: u32,
    request_done: u32,
    peer: bool,
}

impl FakeHca {
    /// Creates BAR2 with a device of `ports` ports that has not started.
    #[must_use]
    pub fn new(ports: u16) -> Self {
        let (doorbell, notifications) = channel();
        Self {
            memory: Memory::new(),
            generation: 0,
            taken_up: false,
            ports,
            heartbeat: 0,
            links: Default::default(),
            indices: Default::default(),
            interrupts: Vec::new(),
            doorbell,
            notifications,
        }
    }

    /// Returns BAR2, which lives as long as the device.
    #[must_use]
    pub fn bar(&self) -> NonNull<u8> {
        self.memory.base()
    }

    /// Returns the driver's doorbell.
    pub fn doorbell(&self) -> impl FnMut(u16, u16) + Send + use<> {
        let doorbell = self.doorbell.clone();
        move |target, vector| {
            // A notification after the device's end does no harm.
            let _ = doorbell.send((target, vector));
        }
    }

    /// Takes the notifications since the last call, in order.
    pub fn notifications(&mut self) -> Vec<Notification> {
        self.notifications.try_iter().collect()
    }

    /// Waits for one notification; `None` if none comes within `timeout`.
    pub fn wait_notification(&mut self, timeout: std::time::Duration) -> Option<Notification> {
        self.notifications.recv_timeout(timeout).ok()
    }

    /// Takes the interrupts since the last call, in order.
    pub fn interrupts(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.interrupts)
    }

    /// Starts, for the first time or again: begins a new generation.
    pub fn start(&mut self) {
        self.memory.write32(device::GENERATION, 0);
        self.taken_up = false;
        self.indices = Default::default();
        for number in 0..2 {
            let link = &mut self.links[usize::from(number)];
            *link = Link { state: LinkState::Disabled as u8, peer: link.peer, ..Link::default() };
            self.show_link(number);
            for counter in 0..COUNTERS {
                self.memory.write64(port_offset(number) + port::COUNTERS + 8 * counter, 0);
            }
            for ring in Ring::ALL {
                let (index, event) = own_words(number, ring);
                self.memory.write32(index, 0);
                self.memory.write32(event, 0);
            }
        }
        self.memory.write32(device::MAGIC, MAGIC);
        self.memory.write32(device::VERSION, VERSION);
        self.memory.write32(device::PORTS, u32::from(self.ports));
        self.memory.write32(device::DOORBELL_TARGET, u32::from(DOORBELL_TARGET));
        self.memory.write64(device::NODE_GUID, NODE_GUID);
        self.memory.write64(device::SYSTEM_IMAGE_GUID, NODE_GUID);
        self.memory.write32(device::VENDOR_ID, 0x00_1234);
        self.memory.write32(device::DEVICE_ID, 0x0002_0001);
        let known = [0, self.memory.read32(driver::GENERATION), self.memory.read32(driver::RELEASED)];
        self.generation = self.generation.wrapping_add(1);
        while known.contains(&self.generation) {
            self.generation = self.generation.wrapping_add(1);
        }
        self.memory.write32(device::GENERATION, self.generation);
        self.interrupts.push(STATUS_VECTOR);
    }

    /// Moves the heartbeat by one.
    pub fn beat(&mut self) {
        self.heartbeat = self.heartbeat.wrapping_add(1);
        self.memory.write32(device::HEARTBEAT, self.heartbeat);
    }

    /// Serves the status vector: the driver's generations, and the link requests.
    pub fn serve(&mut self) {
        let taken_up = self.memory.read32(driver::GENERATION) == self.generation;
        let is_released = self.memory.read32(driver::RELEASED) == self.generation;
        if self.generation != 0 && is_released || self.taken_up && !taken_up {
            return self.start();
        }
        if taken_up && !self.taken_up {
            self.taken_up = true;
            for number in 0..self.ports {
                self.set_link(number, LinkState::Polling as u8, 0);
            }
        }
        if taken_up {
            for number in 0..self.ports {
                self.serve_request(number);
                self.train(number);
            }
        }
    }

    /// Returns `true` if the driver had taken up this generation when the device last served the status vector.
    #[must_use]
    pub fn taken_up(&self) -> bool {
        self.taken_up
    }

    /// Plugs or unplugs a peer at the other end of a port's cable (0-based).
    pub fn plug(&mut self, number: u16, peer: bool) {
        self.links[usize::from(number)].peer = peer;
        if self.taken_up {
            if !peer && self.links[usize::from(number)].state == LinkState::Up as u8 {
                self.set_link(number, LinkState::Polling as u8, 0);
            }
            self.train(number);
        }
    }

    /// Puts `packet` into a receive ring. Returns `false` if the ring is full.
    ///
    /// # Panics
    /// If the packet is longer than a slot.
    pub fn deliver(&mut self, number: u16, ring: Ring, packet: &[u8]) -> bool {
        let index = self.indices[usize::from(number)][ring as usize];
        let consumed = self.memory.read32(ring_control_offset(number, ring) + control::CONSUMED);
        if index.wrapping_sub(consumed) >= ring.slots() {
            return false;
        }
        assert!(packet.len() <= ring.max_packet(), "a packet of {} bytes does not fit a slot", packet.len());
        let at = slot_offset(number, ring, index);
        self.memory.write32(at + slot::INDEX, index);
        self.memory.write32(at + slot::LENGTH, u32::try_from(packet.len()).unwrap_or(u32::MAX));
        self.memory.write(at + slot::PACKET, packet);
        self.advance(number, ring);
        true
    }

    /// Takes the next packet from a send ring; `None` if the ring is empty.
    ///
    /// # Panics
    /// If the driver's slot or index breaks the contract.
    pub fn take(&mut self, number: u16, ring: Ring) -> Option<Vec<u8>> {
        let index = self.indices[usize::from(number)][ring as usize];
        let produced = self.memory.read32(ring_control_offset(number, ring) + control::PRODUCED);
        if produced == index {
            return None;
        }
        assert!(produced.wrapping_sub(index) <= ring.slots(), "the driver overran the ring: {produced} after {index}");
        let at = slot_offset(number, ring, index);
        assert_eq!(self.memory.read32(at + slot::INDEX), index, "the driver's slot index");
        let length = self.memory.read32(at + slot::LENGTH) as usize;
        assert!(length <= ring.max_packet(), "the driver's packet of {length} bytes");
        let packet = self.memory.read(at + slot::PACKET, length);
        self.advance(number, ring);
        Some(packet)
    }

    /// Requests a notification for the next packet of a send ring, or for the next free slot of a receive ring.
    pub fn arm(&mut self, number: u16, ring: Ring) {
        let (_, event) = own_words(number, ring);
        self.memory.write32(event, self.indices[usize::from(number)][ring as usize]);
    }

    /// Moves the device's own index of a ring, as if `index` packets had passed.
    pub fn set_index(&mut self, number: u16, ring: Ring, index: u32) {
        self.indices[usize::from(number)][ring as usize] = index;
        let (own, event) = own_words(number, ring);
        self.memory.write32(own, index);
        self.memory.write32(event, index);
    }

    /// Reads the word at `offset` of BAR2.
    #[must_use]
    pub fn peek(&self, offset: usize) -> u32 {
        self.memory.read32(offset)
    }

    /// Writes a word at `offset` of BAR2, right or wrong.
    pub fn poke(&self, offset: usize, value: u32) {
        self.memory.write32(offset, value);
    }

    /// Writes a double word at `offset` of BAR2, right or wrong.
    pub fn poke64(&self, offset: usize, value: u64) {
        self.memory.write64(offset, value);
    }

    /// Raises an interrupt.
    pub fn interrupt(&mut self, vector: u16) {
        self.interrupts.push(vector);
    }

    fn serve_request(&mut self, number: u16) {
        let word = self.memory.read64(port_offset(number) + port::LINK_REQUEST);
        let (request, sequence) = (word & 0xffff_ffff, u32::try_from(word >> 32).unwrap_or(u32::MAX));
        let link = self.links[usize::from(number)];
        if sequence == link.request_done {
            return;
        }
        self.links[usize::from(number)].request_done = sequence;
        let state = link.state;
        if request == LinkRequest::Disable as u64 {
            self.set_link(number, LinkState::Disabled as u8, 0);
        } else if request == LinkRequest::Retrain as u64
            || (request == LinkRequest::Enable as u64 && state == LinkState::Disabled as u8)
        {
            self.set_link(number, LinkState::Polling as u8, 0);
        }
        self.show_link(number);
        self.interrupts.push(STATUS_VECTOR);
    }

    fn train(&mut self, number: u16) {
        let link = self.links[usize::from(number)];
        if link.peer && link.state == LinkState::Polling as u8 {
            // 4X at 10 Gb/s a lane.
            self.set_link(number, LinkState::Up as u8, 0x0402);
        }
    }

    fn set_link(&mut self, number: u16, state: u8, rate: u32) {
        let link = &mut self.links[usize::from(number)];
        if link.state != state {
            (link.state, link.rate, link.epoch) = (state, rate, link.epoch.wrapping_add(1));
            self.show_link(number);
            self.interrupts.push(STATUS_VECTOR);
        }
    }

    fn show_link(&mut self, number: u16) {
        let link = self.links[usize::from(number)];
        let word = u64::from(link.state) | u64::from(link.rate) << 8 | u64::from(link.epoch) << 32;
        self.memory.write64(port_offset(number) + port::LINK, word);
        self.memory.write32(port_offset(number) + port::LINK_REQUEST_DONE, link.request_done);
    }

    /// Publishes one more slot, and raises an interrupt if the driver's event index is just this one.
    fn advance(&mut self, number: u16, ring: Ring) {
        let index = &mut self.indices[usize::from(number)][ring as usize];
        let before = *index;
        *index = index.wrapping_add(1);
        let (own, _) = own_words(number, ring);
        self.memory.write32(own, *index);
        let event = ring_control_offset(number, ring)
            + if is_receive(ring) { control::DATA_EVENT } else { control::SPACE_EVENT };
        if self.memory.read32(event) == before {
            self.interrupts.push(ring.vector(number));
        }
    }
}

/// Returns the offsets of the device's own index and event index of a ring.
fn own_words(number: u16, ring: Ring) -> (usize, usize) {
    let at = ring_control_offset(number, ring);
    if is_receive(ring) {
        (at + control::PRODUCED, at + control::SPACE_EVENT)
    } else {
        (at + control::CONSUMED, at + control::DATA_EVENT)
    }
}

fn is_receive(ring: Ring) -> bool {
    matches!(ring, Ring::Qp0Receive | Ring::PacketReceive)
}
