//! Rings as the device sees them: its own indices, which it publishes and never reads back, and checks of the driver's.

use hca_contract::{Ring, control, ring_control_offset, slot, slot_offset};

use super::bar::Bar;

/// Ring that the driver fills.
#[derive(Debug)]
pub(super) struct SendRing {
    port: u16,
    ring: Ring,
    /// Slots consumed so far.
    consumed: u32,
    /// Last value of `consumed` that the driver can see.
    published: u32,
}

/// Content of the next slot of a [`SendRing`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Not produced yet, or the driver claims more slots than the ring has.
    Empty,
    /// A slot with another index, or with an impossible length.
    Bad,
    /// A packet of this length in bytes.
    Packet(usize),
}

impl SendRing {
    /// Creates a ring before the first generation.
    pub(super) fn new(port: u16, ring: Ring) -> Self {
        Self { port, ring, consumed: 0, published: 0 }
    }

    /// Resets the ring for a new generation, in BAR2 too.
    pub(super) fn reset(&mut self, bar: &Bar) {
        (self.consumed, self.published) = (0, 0);
        bar.store(self.control(control::CONSUMED), 0);
        bar.store(self.control(control::DATA_EVENT), 0);
    }

    /// Returns the offset of a control word.
    fn control(&self, word: usize) -> usize {
        ring_control_offset(self.port, self.ring) + word
    }

    fn is_empty(&self, bar: &Bar) -> bool {
        let ready = bar.load(self.control(control::PRODUCED)).wrapping_sub(self.consumed);
        ready == 0 || ready > self.ring.slots()
    }

    /// Copies the next packet to the front of `into`, without consuming it.
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

    /// Consumes the next slot.
    pub(super) fn advance(&mut self) {
        self.consumed = self.consumed.wrapping_add(1);
    }

    /// Publishes the consumed slots. Returns the vector at which to interrupt the driver, if it waits for that.
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

    /// Requests a notification of the next packet. Returns `true` if the ring has a packet already.
    pub(super) fn arm(&self, bar: &Bar) -> bool {
        bar.store(self.control(control::DATA_EVENT), self.consumed);
        bar.fence();
        !self.is_empty(bar)
    }
}

/// Ring that the device fills.
#[derive(Debug)]
pub(super) struct ReceiveRing {
    port: u16,
    ring: Ring,
    /// Slots produced so far.
    produced: u32,
    /// Value of `produced` at the last check for a notification.
    notified: u32,
    /// Slots consumed, by the driver's last valid claim.
    consumed: u32,
}

impl ReceiveRing {
    /// Creates a ring before the first generation.
    pub(super) fn new(port: u16, ring: Ring) -> Self {
        Self { port, ring, produced: 0, notified: 0, consumed: 0 }
    }

    /// Resets the ring for a new generation, in BAR2 too.
    pub(super) fn reset(&mut self, bar: &Bar) {
        (self.produced, self.notified, self.consumed) = (0, 0, 0);
        bar.store(self.control(control::PRODUCED), 0);
        // No notifications before `arm_space`: this index is 2^32 - 1 packets away.
        bar.store(self.control(control::SPACE_EVENT), u32::MAX);
    }

    /// Returns the offset of a control word.
    fn control(&self, word: usize) -> usize {
        ring_control_offset(self.port, self.ring) + word
    }

    /// Returns the number of free slots. Ignores a claim of the driver's that goes backwards or past `produced`.
    pub(super) fn free(&mut self, bar: &Bar) -> u32 {
        let claimed = bar.load(self.control(control::CONSUMED));
        if claimed.wrapping_sub(self.consumed) <= self.produced.wrapping_sub(self.consumed) {
            self.consumed = claimed;
        }
        self.ring.slots() - self.produced.wrapping_sub(self.consumed)
    }

    /// Puts `packet`, which a slot can hold, into the next slot, where a driver that polls finds it at once. Returns
    /// `false` if the ring is full.
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

    /// Returns the vector at which to interrupt the driver, if it waits for one of the packets since the last call.
    pub(super) fn notify(&mut self, bar: &Bar) -> Option<u16> {
        if self.produced == self.notified {
            return None;
        }
        let before = std::mem::replace(&mut self.notified, self.produced);
        bar.fence();
        let event = bar.load(self.control(control::DATA_EVENT));
        hca_contract::notify(event, self.produced, before).then(|| self.ring.vector(self.port))
    }

    /// Requests a notification once `free` slots are free. Returns `true` if they are already.
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

    /// Index a little before the wrap.
    const START: u32 = u32::MAX - 300;

    #[test]
    fn send_ring_across_the_wrap_of_indices_keeps_its_order() {
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
    fn receive_ring_across_the_wrap_of_indices_keeps_its_order() {
        let bar = Bar::map(memory()).unwrap();
        let mut ring =
            ReceiveRing { port: 0, ring: Ring::PacketReceive, produced: START, notified: START, consumed: START };
        for index in (0..600).map(|step| START.wrapping_add(step)) {
            bar.store(ring.control(control::CONSUMED), index);
            bar.store(ring.control(control::DATA_EVENT), index);
            assert!(!ring.arm_space(&bar, 256 + 1));
            assert!(ring.arm_space(&bar, 256));
            assert!(ring.put(&bar, &numbered(0, index)));
            assert_eq!(ring.notify(&bar), Some(2));
            assert_eq!(ring.notify(&bar), None);
            assert_eq!(bar.load(slot_offset(0, Ring::PacketReceive, index) + slot::INDEX), index);
            assert!(!ring.arm_space(&bar, 256));
            assert_eq!(bar.load(ring.control(control::SPACE_EVENT)), index, "its consumption makes all slots free");
        }
    }

    #[test]
    fn impossible_claim_of_consumed_slots_is_ignored() {
        let bar = Bar::map(memory()).unwrap();
        let mut ring =
            ReceiveRing { port: 0, ring: Ring::PacketReceive, produced: START, notified: START, consumed: START };
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
