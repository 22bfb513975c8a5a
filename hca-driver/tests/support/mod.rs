//! A driver with a fake device, and packets for them.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(unsafe_code)] // the driver takes its BAR by pointer

use core::time::Duration;

use hca_driver::{Bar2, Doorbell, Event, Hca};
use hca_fake::FakeHca;

/// A device and its driver. Field order is drop order: the driver goes before its memory.
pub struct Pair<D: Doorbell> {
    pub hca: Hca<D>,
    pub fake: FakeHca,
    pub now: Duration,
}

/// Creates a device that has not started, and its driver.
pub fn pair(ports: u16) -> Pair<impl Doorbell + Send> {
    let fake = FakeHca::new(ports);
    // SAFETY: the memory is aligned, of BAR2's size and made of atomics, and outlives the driver.
    let bar = unsafe { Bar2::new(fake.bar()) };
    let hca = Hca::new(bar, fake.doorbell());
    Pair { hca, fake, now: Duration::from_secs(1) }
}

/// Creates a device that the driver has taken up, with peers on all its cables and all links reported up.
pub fn attached(ports: u16) -> Pair<impl Doorbell + Send> {
    let mut pair = pair(ports);
    pair.fake.start();
    for port in 0..ports {
        pair.fake.plug(port, true);
    }
    let events = pair.settle();
    assert_eq!(events.len(), 1 + usize::from(ports), "{events:?}");
    pair.fake.notifications();
    pair.fake.interrupts();
    pair
}

impl<D: Doorbell> Pair<D> {
    /// Returns the driver's events of this moment.
    pub fn events(&mut self) -> Vec<Event> {
        let now = self.now;
        // No device can cause endless events; the bound makes a bug fail instead of hang.
        let events: Vec<_> = core::iter::from_fn(|| self.hca.check(now)).take(64).collect();
        assert!(events.len() < 64, "endless events: {events:?}");
        events
    }

    /// Lets driver and device act in turn until both are at rest; returns the driver's events.
    pub fn settle(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        for _ in 0..8 {
            all.extend(self.events());
            self.fake.serve();
        }
        all.extend(self.events());
        all
    }
}

/// Returns a packet of `length` bytes with a valid LRH; the rest depends on `seed`.
pub fn packet(length: usize, seed: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|i| (i * 31 + seed * 7).to_le_bytes()[0]).collect();
    let [low, high, ..] = (length / 4 + 1).to_le_bytes();
    packet[4] = packet[4] & 0xf8 | high;
    packet[5] = low;
    packet
}
