//! Rings as the driver sees them: its own index and the last valid one of the device's, in memory that the device
//! cannot reach.
//!
//! Order of memory accesses. A producer must have its slot written before its index is seen, and a consumer must be
//! done with a slot before its own is: a release fence before the index, an acquire fence after reading the other's. On
//! x86, where stores are seen in order and loads are made in order, both cost nothing and only bind the compiler. What
//! x86 does reorder is a store with a LATER load. The event protocol stands on just that: publish an index, then read
//! the other side's event index; or move an event index, then read the other side's index. There a full fence stands,
//! an `mfence`. The doorbell itself is a store to uncached memory, which x86 keeps behind the stores before it.

use core::sync::atomic::{Ordering, fence};

use hca_contract::{Ring, notify};

use crate::bar::Bar2;
use crate::fault::{Fault, SlotFault};
use crate::lrh;
use crate::port::{Port, Queue};
use crate::registers::{ReceiveControlVolatileFieldAccess as _, SendControlVolatileFieldAccess as _};

/// Outcome of putting a packet into a send ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// The packet is in the ring, and the device waits for a notification of it.
    Notify,
    /// The packet is in the ring, and the device needs no notification.
    Quiet,
    /// The ring is full.
    Full,
}

/// Ring that the driver fills.
#[derive(Debug)]
pub(crate) struct SendRing {
    port: Port,
    queue: Queue,
    produced: u32,
    consumed: u32,
}

impl SendRing {
    /// Creates a ring before the first generation.
    pub(crate) fn new(port: Port, queue: Queue) -> Self {
        Self { port, queue, produced: 0, consumed: 0 }
    }

    /// Resets the ring for a new generation, in BAR2 too.
    pub(crate) fn reset(&mut self, bar: &Bar2) {
        let control = bar.send_control(self.port, self.ring());
        control.produced().write(0);
        control.space_event().write(0);
        *self = Self::new(self.port, self.queue);
    }

    /// Returns `true` if a slot is free. If not, requests a notification for the next free slot.
    pub(crate) fn has_room(&mut self, bar: &Bar2) -> Result<bool, Fault> {
        if self.is_full() {
            self.refresh(bar)?;
        }
        if self.is_full() {
            // Request, then read again: a slot may have become free before the request.
            bar.send_control(self.port, self.ring()).space_event().write(self.consumed);
            fence(Ordering::SeqCst);
            self.refresh(bar)?;
        }
        Ok(!self.is_full())
    }

    /// Returns the number of free slots.
    pub(crate) fn free(&mut self, bar: &Bar2) -> Result<u32, Fault> {
        self.refresh(bar)?;
        Ok(self.ring().slots() - self.produced.wrapping_sub(self.consumed))
    }

    /// Puts a packet, which must fit a slot, into the ring.
    pub(crate) fn push(&mut self, bar: &Bar2, packet: &[u8]) -> Result<Push, Fault> {
        let ring = self.ring();
        let control = bar.send_control(self.port, ring);
        if !self.has_room(bar)? {
            return Ok(Push::Full);
        }
        bar.write_slot(self.port, ring, self.produced, packet);
        let before = self.produced;
        self.produced = before.wrapping_add(1);
        fence(Ordering::Release);
        control.produced().write(self.produced);
        fence(Ordering::SeqCst);
        let is_awaited = notify(control.data_event().read(), self.produced, before);
        Ok(if is_awaited { Push::Notify } else { Push::Quiet })
    }

    fn ring(&self) -> Ring {
        self.queue.send_ring()
    }

    fn is_full(&self) -> bool {
        self.produced.wrapping_sub(self.consumed) == self.ring().slots()
    }

    fn refresh(&mut self, bar: &Bar2) -> Result<(), Fault> {
        let seen = bar.send_control(self.port, self.ring()).consumed().read();
        fence(Ordering::Acquire);
        if seen.wrapping_sub(self.consumed) > self.produced.wrapping_sub(self.consumed) {
            let Self { port, queue, produced, consumed: before } = *self;
            return Err(Fault::ConsumedJumped { port, queue, before, seen, produced });
        }
        self.consumed = seen;
        Ok(())
    }
}

/// Ring that the driver empties.
#[derive(Debug)]
pub(crate) struct ReceiveRing {
    port: Port,
    queue: Queue,
    produced: u32,
    consumed: u32,
}

impl ReceiveRing {
    /// Creates a ring before the first generation.
    pub(crate) fn new(port: Port, queue: Queue) -> Self {
        Self { port, queue, produced: 0, consumed: 0 }
    }

    /// Resets the ring for a new generation, in BAR2 too.
    pub(crate) fn reset(&mut self, bar: &Bar2) {
        let control = bar.receive_control(self.port, self.ring());
        control.consumed().write(0);
        control.data_event().write(0);
        *self = Self::new(self.port, self.queue);
    }

    /// Returns `true` if a packet is in the ring.
    pub(crate) fn has_packet(&mut self, bar: &Bar2) -> Result<bool, Fault> {
        if self.produced == self.consumed {
            self.refresh(bar)?;
        }
        Ok(self.produced != self.consumed)
    }

    /// Returns the number of free slots.
    pub(crate) fn free(&mut self, bar: &Bar2) -> Result<u32, Fault> {
        self.refresh(bar)?;
        Ok(self.ring().slots() - self.produced.wrapping_sub(self.consumed))
    }

    /// Copies the next packet, which must be there, to the front of `buffer`, and returns its length in bytes.
    pub(crate) fn read(&self, bar: &Bar2, buffer: &mut [u8]) -> Result<usize, SlotFault> {
        let (ring, index) = (self.ring(), self.consumed);
        let (seen, length) = bar.slot_header(self.port, ring, index);
        if seen != index {
            return Err(SlotFault::WrongIndex { expected: index, seen });
        }
        let bytes = length as usize;
        if bytes < lrh::BYTES || bytes > ring.max_packet().min(buffer.len()) {
            return Err(SlotFault::BadLength { index, length });
        }
        bar.read_packet(self.port, ring, index, &mut buffer[..bytes]);
        let lrh = lrh::packet_bytes(buffer);
        if lrh != length {
            return Err(SlotFault::LengthMismatch { index, length, lrh });
        }
        Ok(bytes)
    }

    /// Returns the next slot to the device. Returns `true` if the device waits for a notification of that.
    pub(crate) fn pop(&mut self, bar: &Bar2) -> bool {
        let control = bar.receive_control(self.port, self.ring());
        let before = self.consumed;
        self.consumed = before.wrapping_add(1);
        fence(Ordering::Release);
        control.consumed().write(self.consumed);
        fence(Ordering::SeqCst);
        notify(control.space_event().read(), self.consumed, before)
    }

    /// Requests a notification of the next packet. The caller then reads the ring again: a packet may have come before
    /// the request.
    pub(crate) fn arm(&self, bar: &Bar2) {
        bar.receive_control(self.port, self.ring()).data_event().write(self.consumed);
        fence(Ordering::SeqCst);
    }

    fn ring(&self) -> Ring {
        self.queue.receive_ring()
    }

    fn refresh(&mut self, bar: &Bar2) -> Result<(), Fault> {
        let ring = self.ring();
        let seen = bar.receive_control(self.port, ring).produced().read();
        fence(Ordering::Acquire);
        if seen.wrapping_sub(self.produced) > ring.slots() - self.produced.wrapping_sub(self.consumed) {
            let Self { port, queue, produced: before, consumed } = *self;
            return Err(Fault::ProducedJumped { port, queue, before, seen, consumed });
        }
        self.produced = seen;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)] // the rings take their BAR by pointer

    use hca_fake::FakeHca;

    use super::*;

    const START: u32 = u32::MAX - 300;

    #[test]
    fn rings_across_the_wrap_of_indices_keep_their_order() {
        let mut fake = FakeHca::new(1);
        // SAFETY: the memory is aligned and of BAR2's size, is made of atomics, and outlives `bar`.
        let bar = unsafe { Bar2::new(fake.bar()) };
        let (port, queue) = (Port::One, Queue::Packet);
        let mut send = SendRing { port, queue, produced: START, consumed: START };
        let mut receive = ReceiveRing { port, queue, produced: START, consumed: START };
        bar.receive_control(port, Ring::PacketReceive).consumed().write(START);
        // This test requests no notification of room; an event index that never moves is met once in 2^32 packets.
        bar.send_control(port, Ring::PacketSend).space_event().write(START.wrapping_sub(1));
        fake.set_index(0, Ring::PacketSend, START);
        fake.set_index(0, Ring::PacketReceive, START);
        let packet = [0, 0, 0, 0, 0, 17, 0, 0].repeat(8);
        let mut buffer = [0; 256];
        // The device requested a notification at START only; later it requests one every 64 packets.
        for i in 0..600_u32 {
            let armed = i % 64 == 0;
            if armed {
                fake.arm(0, Ring::PacketSend);
                receive.arm(&bar);
            }
            let pushed = send.push(&bar, &packet);
            assert_eq!(pushed, Ok(if armed { Push::Notify } else { Push::Quiet }), "packet {i}");
            assert_eq!(fake.take(0, Ring::PacketSend).as_deref(), Some(&packet[..]));
            assert_eq!(receive.has_packet(&bar), Ok(false));
            assert!(fake.deliver(0, Ring::PacketReceive, &packet));
            assert_eq!(fake.interrupts().len(), usize::from(armed), "packet {i}");
            assert_eq!(receive.has_packet(&bar), Ok(true));
            assert_eq!(receive.read(&bar, &mut buffer), Ok(64));
            receive.pop(&bar);
        }
        assert!(send.produced < START && receive.consumed < START, "both wrapped");
        // Full and empty differ on both sides of the wrap.
        let mut send = SendRing { port, queue, produced: u32::MAX - 100, consumed: u32::MAX - 100 };
        fake.set_index(0, Ring::PacketSend, u32::MAX - 100);
        for _ in 0..256 {
            assert_ne!(send.push(&bar, &packet), Ok(Push::Full));
        }
        assert_eq!(send.push(&bar, &packet), Ok(Push::Full));
        for _ in 0..256 {
            assert!(fake.take(0, Ring::PacketSend).is_some());
        }
        assert_eq!(fake.take(0, Ring::PacketSend), None);
        assert_ne!(send.push(&bar, &packet), Ok(Push::Full));
    }
}
