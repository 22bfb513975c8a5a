//! The device's side of the rings. Own indices are kept here and only published; the driver's are checked against them.

use hca_contract::{Ring, control, ring_control_offset, slot, slot_offset};

use super::bar::Bar;

/// A ring whose producer is the driver.
#[derive(Debug)]
pub(super) struct SendRing {
    port: u16,
    ring: Ring,
    /// Slots consumed so far.
    consumed: u32,
    /// What the driver was told of that.
    published: u32,
}

/// What lies in the next slot of a [`SendRing`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing yet; or the driver claims more slots than there are, which is as good as nothing.
    Empty,
    /// Garbage.
    Bad,
    /// A packet of so many bytes.
    Packet(usize),
}

impl SendRing {
    /// A ring before its first generation.
    pub(super) fn new(port: u16, ring: Ring) -> Self {
        Self { port, ring, consumed: 0, published: 0 }
    }

    /// Begins a generation.
    pub(super) fn reset(&mut self, bar: &Bar) {
        (self.consumed, self.published) = (0, 0);
        bar.store(self.control(control::CONSUMED), 0);
        bar.store(self.control(control::DATA_EVENT), 0);
    }

    fn control(&self, word: usize) -> usize {
        ring_control_offset(self.port, self.ring) + word
    }

    fn is_empty(&self, bar: &Bar) -> bool {
        let ready = bar.load(self.control(control::PRODUCED)).wrapping_sub(self.consumed);
        ready == 0 || ready > self.ring.slots()
    }

    /// Copies the next packet to the front of `into`.
    pub(super) fn peek(&self, bar: &Bar, into: &mut [u8]) -> Slot {
        if self.is_empty(bar) {
            return Slot::Empty;
        }
        let slot = slot_offset(self.port, self.ring, self.consumed);
        let length = bar.load(slot + slot::LENGTH) as usize;
        if bar.load(slot + slot::INDEX) != self.consumed || length > self.ring.max_packet().min(into.len()) {
            return Slot::Bad;
        }
        bar.read(slot + slot::PACKET, &mut into[..length]);
        Slot::Packet(length)
    }

    /// Takes the slot that was peeked at.
    pub(super) fn advance(&mut self) {
        self.consumed = self.consumed.wrapping_add(1);
    }

    /// Tells the driver what was taken. Returns the vector at which to interrupt it, if it asked for that.
    pub(super) fn publish(&mut self, bar: &Bar) -> Option<u16> {
        if self.consumed == self.published {
            return None;
        }
        let before = std::mem::replace(&mut self.published, self.consumed);
        bar.store(self.control(control::CONSUMED), self.consumed);
        bar.fence();
        let event = bar.load(self.control(control::SPACE_EVENT));
        hca_contract::notify(event, self.consumed, before).then(|| self.ring.vector(self.port))
    }

    /// Asks for the doorbell at the next packet. Returns whether there is one already.
    pub(super) fn arm(&self, bar: &Bar) -> bool {
        bar.store(self.control(control::DATA_EVENT), self.consumed);
        bar.fence();
        !self.is_empty(bar)
    }
}

/// A ring whose producer is the device.
#[derive(Debug)]
pub(super) struct ReceiveRing {
    port: u16,
    ring: Ring,
    /// Slots produced so far.
    produced: u32,
    /// What the driver was told of that.
    told: u32,
    /// Slots that the driver consumed, as far as it is believed.
    consumed: u32,
}

impl ReceiveRing {
    /// A ring before its first generation.
    pub(super) fn new(port: u16, ring: Ring) -> Self {
        Self { port, ring, produced: 0, told: 0, consumed: 0 }
    }

    /// Begins a generation.
    pub(super) fn reset(&mut self, bar: &Bar) {
        (self.produced, self.told, self.consumed) = (0, 0, 0);
        bar.store(self.control(control::PRODUCED), 0);
        // The last index there is: who does not ask with `arm_space` is not told.
        bar.store(self.control(control::SPACE_EVENT), u32::MAX);
    }

    fn control(&self, word: usize) -> usize {
        ring_control_offset(self.port, self.ring) + word
    }

    /// Free slots. What the driver consumed only ever grows, and never past what was produced: a claim that does
    /// otherwise is not believed.
    pub(super) fn free(&mut self, bar: &Bar) -> u32 {
        let claimed = bar.load(self.control(control::CONSUMED));
        if claimed.wrapping_sub(self.consumed) <= self.produced.wrapping_sub(self.consumed) {
            self.consumed = claimed;
        }
        self.ring.slots() - self.produced.wrapping_sub(self.consumed)
    }

    /// Puts `packet`, which a slot can hold, into the next slot, where a driver that polls finds it at once. Returns
    /// whether there was a free slot.
    pub(super) fn put(&mut self, bar: &Bar, packet: &[u8]) -> bool {
        if self.free(bar) == 0 {
            return false;
        }
        let length = packet.len().min(self.ring.max_packet());
        let slot = slot_offset(self.port, self.ring, self.produced);
        bar.store(slot + slot::INDEX, self.produced);
        bar.store(slot + slot::LENGTH, u32::try_from(length).unwrap_or(0));
        bar.write(slot + slot::PACKET, &packet[..length]);
        self.produced = self.produced.wrapping_add(1);
        bar.store(self.control(control::PRODUCED), self.produced);
        true
    }

    /// Returns the vector at which to interrupt the driver, if it asked for that at one of the packets that were put since
    /// the last call.
    pub(super) fn tell(&mut self, bar: &Bar) -> Option<u16> {
        if self.produced == self.told {
            return None;
        }
        let before = std::mem::replace(&mut self.told, self.produced);
        bar.fence();
        let event = bar.load(self.control(control::DATA_EVENT));
        hca_contract::notify(event, self.produced, before).then(|| self.ring.vector(self.port))
    }

    /// Asks for the doorbell when so many slots are free. Returns whether they are already.
    pub(super) fn arm_space(&mut self, bar: &Bar, free: u32) -> bool {
        let consumed = self.produced.wrapping_add(free).wrapping_sub(self.ring.slots());
        bar.store(self.control(control::SPACE_EVENT), consumed.wrapping_sub(1));
        bar.fence();
        self.free(bar) >= free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{memory, numbered};

    /// A run of packets across the point where indices wrap.
    const START: u32 = u32::MAX - 300;

    #[test]
    fn a_send_ring_passes_the_wrap_of_its_indices() {
        let bar = Bar::map(memory()).unwrap();
        let mut ring = SendRing { port: 1, ring: Ring::Qp0Send, consumed: START, published: START };
        let mut buffer = [0; hca_contract::PACKET_SLOT];
        for index in (0..600).map(|step| START.wrapping_add(step)) {
            bar.store(ring.control(control::PRODUCED), index);
            assert!(!ring.arm(&bar));
            assert_eq!(bar.load(ring.control(control::DATA_EVENT)), index);
            let slot = slot_offset(1, Ring::Qp0Send, index);
            bar.store(slot + slot::INDEX, index);
            bar.store(slot + slot::LENGTH, 64);
            bar.write(slot + slot::PACKET, &numbered(15, index));
            bar.store(ring.control(control::PRODUCED), index.wrapping_add(1));
            bar.store(ring.control(control::SPACE_EVENT), index);
            assert!(ring.arm(&bar));
            assert_eq!(ring.peek(&bar, &mut buffer), Slot::Packet(64));
            assert_eq!(buffer[..64], numbered(15, index));
            ring.advance();
            assert_eq!(ring.publish(&bar), Some(3));
            assert_eq!(ring.publish(&bar), None);
            assert_eq!(ring.peek(&bar, &mut buffer), Slot::Empty);
        }
        for claim in [ring.consumed.wrapping_sub(1), ring.consumed.wrapping_add(257)] {
            bar.store(ring.control(control::PRODUCED), claim);
            assert_eq!(ring.peek(&bar, &mut buffer), Slot::Empty);
        }
    }

    #[test]
    fn a_receive_ring_passes_the_wrap_of_its_indices() {
        let bar = Bar::map(memory()).unwrap();
        let mut ring =
            ReceiveRing { port: 0, ring: Ring::PacketReceive, produced: START, told: START, consumed: START };
        for index in (0..600).map(|step| START.wrapping_add(step)) {
            bar.store(ring.control(control::CONSUMED), index);
            bar.store(ring.control(control::DATA_EVENT), index);
            assert!(!ring.arm_space(&bar, 256 + 1));
            assert!(ring.arm_space(&bar, 256));
            assert!(ring.put(&bar, &numbered(0, index)));
            assert_eq!(ring.tell(&bar), Some(2));
            assert_eq!(ring.tell(&bar), None);
            assert_eq!(bar.load(slot_offset(0, Ring::PacketReceive, index) + slot::INDEX), index);
            assert!(!ring.arm_space(&bar, 256));
            assert_eq!(bar.load(ring.control(control::SPACE_EVENT)), index, "its consumption makes all slots free");
        }
    }

    #[test]
    fn a_driver_cannot_give_back_more_or_less_than_it_got() {
        let bar = Bar::map(memory()).unwrap();
        let mut ring =
            ReceiveRing { port: 0, ring: Ring::PacketReceive, produced: START, told: START, consumed: START };
        for number in 0..100 {
            assert!(ring.put(&bar, &numbered(0, number)));
        }
        for (claim, free) in [(START + 60, 216), (START + 59, 216), (START + 101, 216), (0, 216), (START + 100, 256)] {
            bar.store(ring.control(control::CONSUMED), claim);
            assert_eq!(ring.free(&bar), free, "{claim}");
        }
        for number in 0..256 {
            assert!(ring.put(&bar, &numbered(0, number)));
        }
        assert!(!ring.put(&bar, &numbered(0, 256)));
    }
}
