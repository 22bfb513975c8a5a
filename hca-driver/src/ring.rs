//! Rings, seen from the driver: its own index and the last good one of the device's are kept here, in memory that the
//! device cannot reach.
//!
//! Order of memory accesses. A producer must have its slot written before its index is seen, and a consumer must be done
//! with a slot before its own is: a release fence before the index, an acquire fence after reading the other's. On x86,
//! where stores are seen in order and loads are made in order, both cost nothing and only bind the compiler. What x86 does
//! reorder is a store with a LATER load; the event protocol stands on just that (publish my index, then read whether
//! the other side wants to be told; or ask to be told, then look once more), so there a full fence stands, an `mfence`.
//! The doorbell itself is a store to uncached memory, which x86 keeps behind the stores before it.

use core::sync::atomic::{Ordering, fence};

use hca_contract::{Ring, notify};

use crate::bar::Bar2;
use crate::fault::{Fault, SlotFault};
use crate::hca::{Port, Queue};
use crate::lrh;
use crate::registers::{ReceiveControlVolatileFieldAccess as _, SendControlVolatileFieldAccess as _};

/// What became of a packet for a send ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// It is in the ring, and the device asked to be told of it.
    Ring,
    /// It is in the ring.
    Quiet,
    /// There is no room.
    Full,
}

/// A ring that the driver fills.
#[derive(Debug, Default)]
pub(crate) struct SendRing {
    produced: u32,
    consumed: u32,
}

impl SendRing {
    /// Begins anew, in memory too.
    pub(crate) fn begin(&mut self, bar: &Bar2, port: Port, queue: Queue) {
        let control = bar.send_control(port, queue.send_ring());
        control.produced().write(0);
        control.space_event().write(0);
        *self = Self::default();
    }

    /// Whether there is room. If there is none, the device is asked to tell of the next free slot.
    pub(crate) fn room(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<bool, Fault> {
        let ring = queue.send_ring();
        if self.full(ring) {
            self.refresh(bar, port, queue)?;
        }
        if self.full(ring) {
            // Ask, then look again: a slot may have come free before we asked.
            bar.send_control(port, ring).space_event().write(self.consumed);
            fence(Ordering::SeqCst);
            self.refresh(bar, port, queue)?;
        }
        Ok(!self.full(ring))
    }

    /// How many slots are free.
    pub(crate) fn free(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<u32, Fault> {
        self.refresh(bar, port, queue)?;
        Ok(queue.send_ring().slots() - self.produced.wrapping_sub(self.consumed))
    }

    /// Puts a packet, which must fit a slot, into the ring.
    pub(crate) fn push(&mut self, bar: &Bar2, port: Port, queue: Queue, packet: &[u8]) -> Result<Push, Fault> {
        let ring = queue.send_ring();
        let control = bar.send_control(port, ring);
        if !self.room(bar, port, queue)? {
            return Ok(Push::Full);
        }
        bar.write_slot(port, ring, self.produced, packet);
        let before = self.produced;
        self.produced = before.wrapping_add(1);
        fence(Ordering::Release);
        control.produced().write(self.produced);
        fence(Ordering::SeqCst);
        let told = notify(control.data_event().read(), self.produced, before);
        Ok(if told { Push::Ring } else { Push::Quiet })
    }

    fn full(&self, ring: Ring) -> bool {
        self.produced.wrapping_sub(self.consumed) == ring.slots()
    }

    fn refresh(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<(), Fault> {
        let seen = bar.send_control(port, queue.send_ring()).consumed().read();
        fence(Ordering::Acquire);
        if seen.wrapping_sub(self.consumed) > self.produced.wrapping_sub(self.consumed) {
            return Err(Fault::ConsumedJumped { port, queue, before: self.consumed, seen, produced: self.produced });
        }
        self.consumed = seen;
        Ok(())
    }
}

/// A ring that the driver empties.
#[derive(Debug, Default)]
pub(crate) struct ReceiveRing {
    produced: u32,
    consumed: u32,
}

impl ReceiveRing {
    /// Begins anew, in memory too.
    pub(crate) fn begin(&mut self, bar: &Bar2, port: Port, queue: Queue) {
        let control = bar.receive_control(port, queue.receive_ring());
        control.consumed().write(0);
        control.data_event().write(0);
        *self = Self::default();
    }

    /// Whether a packet is waiting.
    pub(crate) fn waiting(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<bool, Fault> {
        if self.produced == self.consumed {
            self.refresh(bar, port, queue)?;
        }
        Ok(self.produced != self.consumed)
    }

    /// How many slots are free.
    pub(crate) fn free(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<u32, Fault> {
        self.refresh(bar, port, queue)?;
        Ok(queue.receive_ring().slots() - self.produced.wrapping_sub(self.consumed))
    }

    fn refresh(&mut self, bar: &Bar2, port: Port, queue: Queue) -> Result<(), Fault> {
        let ring = queue.receive_ring();
        let seen = bar.receive_control(port, ring).produced().read();
        fence(Ordering::Acquire);
        if seen.wrapping_sub(self.produced) > ring.slots() - self.produced.wrapping_sub(self.consumed) {
            let (before, consumed) = (self.produced, self.consumed);
            return Err(Fault::ProducedJumped { port, queue, before, seen, consumed });
        }
        self.produced = seen;
        Ok(())
    }

    /// Copies the packet that is waiting to the front of `buffer`, and gives its length.
    pub(crate) fn read(&self, bar: &Bar2, port: Port, queue: Queue, buffer: &mut [u8]) -> Result<usize, SlotFault> {
        let (ring, index) = (queue.receive_ring(), self.consumed);
        let (seen, length) = bar.slot_header(port, ring, index);
        if seen != index {
            return Err(SlotFault::WrongIndex { expected: index, seen });
        }
        let bytes = length as usize;
        if bytes < lrh::BYTES || bytes > ring.max_packet().min(buffer.len()) {
            return Err(SlotFault::BadLength { index, length });
        }
        bar.read_packet(port, ring, index, &mut buffer[..bytes]);
        let lrh = lrh::packet_bytes(buffer);
        if lrh != length {
            return Err(SlotFault::LengthMismatch { index, length, lrh });
        }
        Ok(bytes)
    }

    /// Gives the slot back; says whether the device asked to be told of it.
    pub(crate) fn pop(&mut self, bar: &Bar2, port: Port, queue: Queue) -> bool {
        let control = bar.receive_control(port, queue.receive_ring());
        let before = self.consumed;
        self.consumed = before.wrapping_add(1);
        fence(Ordering::Release);
        control.consumed().write(self.consumed);
        fence(Ordering::SeqCst);
        notify(control.space_event().read(), self.consumed, before)
    }

    /// Asks to be told of the next packet. The caller looks once more afterwards: it may have come before we asked.
    pub(crate) fn arm(&self, bar: &Bar2, port: Port, queue: Queue) {
        bar.receive_control(port, queue.receive_ring()).data_event().write(self.consumed);
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)] // the rings take their BAR by pointer

    use hca_fake::FakeHca;

    use super::*;

    const START: u32 = u32::MAX - 300;

    #[test]
    fn indices_wrap_around() {
        let mut fake = FakeHca::new(1);
        // SAFETY: the memory is aligned and of BAR2's size, is made of atomics, and outlives `bar`.
        let bar = unsafe { Bar2::new(fake.bar()) };
        let (port, queue) = (Port::One, Queue::Packet);
        let mut send = SendRing { produced: START, consumed: START };
        let mut receive = ReceiveRing { produced: START, consumed: START };
        bar.receive_control(port, Ring::PacketReceive).consumed().write(START);
        // Nobody asks for room here, and an event index that never moves is met once in 2^32 packets.
        bar.send_control(port, Ring::PacketSend).space_event().write(START.wrapping_sub(1));
        fake.set_index(0, Ring::PacketSend, START);
        fake.set_index(0, Ring::PacketReceive, START);
        let packet = [0, 0, 0, 0, 0, 17, 0, 0].repeat(8);
        let mut buffer = [0; 256];
        // The device asked for START only; then it asks each 64 packets.
        for i in 0..600_u32 {
            let asked = i % 64 == 0;
            if asked {
                fake.arm(0, Ring::PacketSend);
                receive.arm(&bar, port, queue);
            }
            let pushed = send.push(&bar, port, queue, &packet);
            assert_eq!(pushed, Ok(if asked { Push::Ring } else { Push::Quiet }), "packet {i}");
            assert_eq!(fake.take(0, Ring::PacketSend).as_deref(), Some(&packet[..]));
            assert_eq!(receive.waiting(&bar, port, queue), Ok(false));
            assert!(fake.deliver(0, Ring::PacketReceive, &packet));
            assert_eq!(fake.interrupts().len(), usize::from(asked), "packet {i}");
            assert_eq!(receive.waiting(&bar, port, queue), Ok(true));
            assert_eq!(receive.read(&bar, port, queue, &mut buffer), Ok(64));
            receive.pop(&bar, port, queue);
        }
        assert!(send.produced < START && receive.consumed < START, "both wrapped");
        // Full and empty are told apart on both sides of the wrap.
        let mut send = SendRing { produced: u32::MAX - 100, consumed: u32::MAX - 100 };
        fake.set_index(0, Ring::PacketSend, u32::MAX - 100);
        for _ in 0..256 {
            assert_ne!(send.push(&bar, port, queue, &packet), Ok(Push::Full));
        }
        assert_eq!(send.push(&bar, port, queue, &packet), Ok(Push::Full));
        for _ in 0..256 {
            assert!(fake.take(0, Ring::PacketSend).is_some());
        }
        assert_eq!(fake.take(0, Ring::PacketSend), None);
        assert_ne!(send.push(&bar, port, queue, &packet), Ok(Push::Full));
    }
}
