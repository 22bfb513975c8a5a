//! A driver on a fake device, and packets for them.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(unsafe_code)] // the driver takes its BAR by pointer

use core::time::Duration;

use hca_driver::{Bar2, Doorbell, Event, Hca};
use hca_fake::FakeHca;

/// The device, and a driver that knows it. Field order is drop order: the driver goes before its memory.
pub struct Pair<D: Doorbell> {
    pub hca: Hca<D>,
    pub fake: FakeHca,
    pub now: Duration,
}

/// A device that was not started yet, and its driver.
pub fn pair(ports: u16) -> Pair<impl Doorbell + Send> {
    let fake = FakeHca::new(ports);
    // SAFETY: the memory is aligned and of BAR2's size, is made of atomics, and lives until after the driver is dropped.
    let bar = unsafe { Bar2::new(fake.bar()) };
    let hca = Hca::new(bar, fake.doorbell());
    Pair { hca, fake, now: Duration::from_secs(1) }
}

/// A device that is taken up, with peers on all its cables and all links told to be up.
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
    /// What the driver tells now.
    pub fn events(&mut self) -> Vec<Event> {
        let now = self.now;
        // A device cannot make the driver talk for ever: bound it, so that a bug fails instead of hanging.
        let events: Vec<_> = core::iter::from_fn(|| self.hca.check(now)).take(64).collect();
        assert!(events.len() < 64, "endless events: {events:?}");
        events
    }

    /// Lets driver and device look after each other until both are content; gives what the driver told.
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

/// A packet of `length` bytes with a right LRH; the rest depends on `seed`.
pub fn packet(length: usize, seed: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|i| (i * 31 + seed * 7).to_le_bytes()[0]).collect();
    let [low, high, ..] = (length / 4 + 1).to_le_bytes();
    packet[4] = packet[4] & 0xf8 | high;
    packet[5] = low;
    packet
}
