//! The processors: their stacks, tables and interrupts, and how they end the machine.

pub mod apic;
pub mod backtrace;
mod fault;
pub mod idle;
pub mod interrupts;
pub mod ioapic;
pub mod local;
mod pic;
pub mod port;
pub mod registers;
mod smp;
pub mod stack;
mod tables;

pub use local::Cpu;
pub use smp::{employ_others, online};

use crate::clock;
use crate::memory::{Caching, map_device};

/// The most processors that the kernel brings up.
pub const MAX_CPUS: usize = 8;

/// Gives this processor, the `index`th, its tables and stacks. The boot processor has index 0.
pub fn init(index: usize) {
    tables::load(index);
    local::init(index);
}

/// What every processor and the clock need: the local APICs, the I/O APIC, and the high precision event timer.
const DEVICES: [u64; 3] = [apic::BASE, ioapic::BASE, clock::HPET];

/// Starts the clock and the other processors, so that there are `expected` of them altogether.
///
/// # Panics
/// If the machine lacks what the kernel needs.
pub fn start(expected: usize) {
    for device in DEVICES {
        map_device(device, 4096, Caching::Uncached).expect("the devices' pages are not memory");
    }
    pic::silence();
    apic::init();
    clock::calibrate();
    smp::start(expected);
}
