//! The real driver on BAR2's memory, and the far end of a cable.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(unsafe_code)] // maps memory for the driver, which takes it by pointer

use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};
use std::time::Instant;

use cable::{self, Abilities, BUFFER, Cable, CableEnd, Hello, Reception};
use hca_driver::{Bar2, Doorbell, Event, Hca, MAX_PACKET, Port, Queue};
use iba::packet::{MadPacket, SmpPacket};
use iba::{Guid, Lid, PortNum, Sl};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use zerocopy::{FromZeros, IntoBytes};

/// The real driver, with its events.
pub struct Driver<D> {
    pub hca: Hca<D>,
    pub events: Vec<Event>,
    start: Instant,
}

impl<D: Doorbell> Driver<D> {
    /// Creates a driver of the device in `memory`, which stays mapped until the process ends.
    pub fn new(memory: impl AsFd, doorbell: D) -> Self {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the system's choice disturbs no other.
        let base = unsafe { mmap(null_mut(), hca_contract::BAR2_SIZE, access, flags, memory, 0).unwrap() };
        // SAFETY: the mapping is of BAR2's size and aligned to a page, is never unmapped, and is this driver's alone.
        let bar = unsafe { Bar2::new(NonNull::new(base.cast()).unwrap()) };
        Self { hca: Hca::new(bar, doorbell), events: Vec::new(), start: Instant::now() }
    }

    /// Takes the driver's events, and requests interrupts for the next packets.
    pub fn check(&mut self) {
        let now = self.start.elapsed();
        self.events.extend(std::iter::from_fn(|| self.hca.check(now)));
        for queue in Queue::ALL {
            self.hca.arm(Port::One, queue);
        }
    }

    /// Returns `true` if the last event of port 1's link is that it came up.
    pub fn is_up(&self) -> bool {
        let links = |event: &&Event| matches!(event, Event::LinkUp { .. } | Event::LinkDown { .. });
        matches!(self.events.iter().rfind(links), Some(Event::LinkUp { port: Port::One, .. }))
    }

    /// Returns the generation of the device while attached.
    pub fn generation(&self) -> Option<u32> {
        self.hca.identity().map(|identity| identity.generation)
    }

    /// Receives all packets in a queue of port 1.
    pub fn receive(&mut self, queue: Queue) -> Vec<Vec<u8>> {
        let mut buffer = [0; MAX_PACKET];
        let mut packets = Vec::new();
        while let Some(packet) = self.hca.receive(Port::One, queue, &mut buffer).unwrap() {
            packets.push(packet.to_vec());
        }
        packets
    }
}

/// Creates an end of a cable.
pub fn end(node: u64) -> Cable {
    Cable::new(CableEnd::new(Hello { node: Guid::new(node), port: PortNum::new(1) }, Abilities::default()), None)
}

/// Reads the far end and adds its packets to `arrived`. Returns `false` once the cable is unplugged.
pub fn drain(far: &mut Cable, arrived: &mut Vec<Vec<u8>>) -> bool {
    let mut buffer = [0; BUFFER];
    loop {
        match far.receive(&mut buffer) {
            Reception::Event(cable::CableEvent::Packet(packet)) => arrived.push(packet.to_vec()),
            Reception::Event(cable::CableEvent::Link(cable::LinkChange::Up(_))) => {
                far.with_end(|end| end.grant(100_000))
            }
            Reception::Event(_) => {}
            Reception::Empty => return true,
            Reception::Unplugged(..) => return false,
        }
    }
}

/// Returns a subnet management packet with transaction id `number`.
pub fn smp(number: u64) -> Vec<u8> {
    let mut packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), FromZeros::new_zeroed());
    packet.smp.header.transaction_id = number.into();
    packet.as_bytes().to_vec()
}

/// Returns a packet for queue pair 1 with transaction id `number`.
pub fn mad(number: u64) -> Vec<u8> {
    let mut packet = MadPacket::new(Lid::new(1), Lid::new(2), Sl::new(0), FromZeros::new_zeroed());
    packet.mad.header.transaction_id = number.into();
    packet.as_bytes().to_vec()
}
