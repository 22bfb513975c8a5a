//! BAR2 as memory: the only place where the driver touches it.
//!
//! The other side writes this memory at any time, so there is never a reference into it, only volatile accesses of
//! naturally aligned words. The compiler keeps volatile accesses in program order; the order in which they reach the
//! memory is the business of the fences in [`crate::ring`].
#![allow(unsafe_code)] // shared memory, reached through raw pointers

use core::ptr::NonNull;

use hca_contract::{BAR2_SIZE, MAX_PORTS, Ring, driver, port, port_offset, ring_control_offset, slot, slot_offset};
use volatile::VolatilePtr;
use volatile::access::ReadOnly;

use crate::port::Port;
use crate::registers::{DevicePage, DriverPage, PortPage, ReceiveControl, RequestPage, SendControl};

#[cfg(not(target_endian = "little"))]
compile_error!("BAR2 is little-endian, and this driver reads its words as they stand");

/// The HCA's BAR2, mapped.
#[derive(Debug)]
pub struct Bar2 {
    base: NonNull<u8>,
}

// SAFETY: the pointer is used for volatile accesses to shared memory only, which any thread may do; the one
// driver that owns this value is the only writer of the driver's words.
unsafe impl Send for Bar2 {}

impl Bar2 {
    /// Creates the access to BAR2, which is mapped at `base`. The mapping should be cacheable (a carrier's BAR2 is
    /// memory); others work too.
    ///
    /// # Safety
    /// For as long as the value lives, `base` must be valid for reads and writes of
    /// [`BAR2_SIZE`](hca_contract::BAR2_SIZE) bytes, be aligned to 8, and the memory must be reached by nothing else in
    /// this program but through raw pointers or atomics. No other driver may drive the same device meanwhile.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Self { base }
    }

    /// Returns the device page.
    pub(crate) fn device(&self) -> VolatilePtr<'_, DevicePage, ReadOnly> {
        self.registers(0).read_only()
    }

    /// Returns the driver page.
    pub(crate) fn driver(&self) -> VolatilePtr<'_, DriverPage> {
        self.registers(driver::GENERATION)
    }

    /// Returns link and counters of `port`.
    pub(crate) fn port(&self, port: Port) -> VolatilePtr<'_, PortPage, ReadOnly> {
        self.registers(port_offset(port as u16)).read_only()
    }

    /// Returns the link request of `port`.
    pub(crate) fn request(&self, port: Port) -> VolatilePtr<'_, RequestPage> {
        self.registers(port_offset(port as u16) + port::LINK_REQUEST)
    }

    /// Returns the control words of a ring that the driver fills.
    pub(crate) fn send_control(&self, port: Port, ring: Ring) -> VolatilePtr<'_, SendControl> {
        self.registers(ring_control_offset(port as u16, ring))
    }

    /// Returns the control words of a ring that the driver empties.
    pub(crate) fn receive_control(&self, port: Port, ring: Ring) -> VolatilePtr<'_, ReceiveControl> {
        self.registers(ring_control_offset(port as u16, ring))
    }

    /// Writes a slot: `packet`, cut to what the slot takes, and its header.
    pub(crate) fn write_slot(&self, port: Port, ring: Ring, index: u32, packet: &[u8]) {
        let offset = slot_offset(port as u16, ring, index);
        let packet = &packet[..packet.len().min(ring.max_packet())];
        let (words, rest) = packet.as_chunks::<8>();
        let mut at = offset + slot::PACKET;
        for word in words {
            self.write(at, u64::from_le_bytes(*word));
            at += 8;
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.write(at, u64::from_le_bytes(last));
        }
        #[expect(clippy::cast_possible_truncation, reason = "cut to a slot's size above")]
        self.write(offset + slot::LENGTH, packet.len() as u32);
        self.write(offset + slot::INDEX, index);
    }

    /// Reads a slot's header, unchecked: its index, and its packet's length in bytes.
    pub(crate) fn slot_header(&self, port: Port, ring: Ring, index: u32) -> (u32, u32) {
        let offset = slot_offset(port as u16, ring, index);
        (self.read(offset + slot::INDEX), self.read(offset + slot::LENGTH))
    }

    /// Copies the slot's first bytes to `packet`, no more than a slot has.
    pub(crate) fn read_packet(&self, port: Port, ring: Ring, index: u32, packet: &mut [u8]) {
        let length = packet.len().min(ring.max_packet());
        let (words, rest) = packet[..length].as_chunks_mut::<8>();
        let mut at = slot_offset(port as u16, ring, index) + slot::PACKET;
        for word in words {
            *word = self.read::<u64>(at).to_le_bytes();
            at += 8;
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&self.read::<u64>(at).to_le_bytes()[..rest.len()]);
        }
    }

    /// Returns the registers at `offset`, one of the contract's.
    fn registers<T>(&self, offset: usize) -> VolatilePtr<'_, T> {
        // SAFETY: `pointer` is in bounds and aligned; the registers are made of integers, so any bytes are valid; and
        // the lifetime is that of the borrow of `self`, as long as the mapping.
        unsafe { VolatilePtr::new(self.pointer(offset)) }
    }

    fn read<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: as in `registers`; `T` is u32 or u64 here.
        unsafe { self.pointer(offset).read_volatile() }
    }

    fn write<T: Copy>(&self, offset: usize, value: T) {
        // SAFETY: as in `registers`.
        unsafe { self.pointer(offset).write_volatile(value) }
    }

    fn pointer<T>(&self, offset: usize) -> NonNull<T> {
        debug_assert!(offset + size_of::<T>() <= BAR2_SIZE && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: every offset comes from the contract's functions with a port below MAX_PORTS (asserted below), and
        // the contract asserts that everything of such a port lies in BAR2. So the sum stays in the mapping.
        unsafe { self.base.add(offset) }.cast()
    }
}

const _: () = {
    assert!(Port::ALL.len() == MAX_PORTS as usize);
    // The last word of the longest packet is a whole one, and all words are aligned.
    assert!(Ring::Qp0Send.max_packet().is_multiple_of(8) && Ring::PacketSend.max_packet().is_multiple_of(8));
    assert!(slot::PACKET.is_multiple_of(8) && slot::INDEX.is_multiple_of(4) && slot::LENGTH.is_multiple_of(4));
};
