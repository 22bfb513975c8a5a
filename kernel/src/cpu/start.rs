//! Start of the clock and the other processors.

use super::{apic, ioapic, pic, smp, timer};
use crate::clock;
use crate::memory::{Caching, map_device};

/// Starts the clock and the other processors, `expected` processors in total.
///
/// # Panics
/// The machine lacks a device that the kernel needs.
pub fn start(expected: usize) {
    for device in DEVICES {
        map_device(device, 4096, Caching::Uncached).expect("the devices' pages are not memory");
    }
    pic::mask();
    apic::init();
    timer::set_scale(clock::calibrate());
    smp::start(expected);
}

/// Addresses of the local APICs, the I/O APIC and the high precision event timer, one page each.
const DEVICES: [u64; 3] = [apic::BASE, ioapic::BASE, clock::HPET];
