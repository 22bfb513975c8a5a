//! Clock on the time-stamp counter (TSC), calibrated once against the high precision event timer (HPET).
#![allow(unsafe_code)] // RDTSC and the HPET's registers

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Scale;
use crate::cpu::apic;

/// Address of q35's HPET.
pub(crate) const HPET: u64 = 0xfed0_0000;
/// General capabilities: bits 63-32 are the counter's period in femtoseconds (IA-PC HPET specification 2.3.4).
const HPET_CAPABILITIES: u64 = HPET;
/// General configuration: bit 0 lets the counter run.
const HPET_CONFIGURATION: u64 = HPET + 0x10;
const HPET_COUNTER: u64 = HPET + 0xf0;
/// Longest period of the specification: 100 ns, in femtoseconds.
const MAX_PERIOD_FS: u64 = 100_000_000;

/// Length of the calibration in nanoseconds.
const WINDOW_NS: u64 = 10_000_000;

/// Largest lag of a processor's TSC behind the boot processor's, in ticks: no processor sees a time before boot.
const LAG: u64 = 1 << 20;

static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
static BOOT: AtomicU64 = AtomicU64::new(0);

/// Returns the frequency of [`ticks`] in Hz; 0 before [`calibrate`].
#[must_use]
pub fn ticks_per_second() -> u64 {
    Scale::new(NS_PER_TICK.load(Ordering::Relaxed), 1 << 32).map_or(0, |per_ns| per_ns.convert(1_000_000_000))
}

/// Returns the nanoseconds since boot; 0 before [`calibrate`].
#[inline]
#[must_use]
pub fn now() -> u64 {
    let ticks = ticks().wrapping_sub(BOOT.load(Ordering::Relaxed));
    Scale::from_bits(NS_PER_TICK.load(Ordering::Relaxed)).convert_wrapping(ticks)
}

/// Returns the time-stamp counter. Under QEMU's `-icount shift=0` it counts instructions.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every processor with long mode has RDTSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn hpet(register: u64) -> *mut u64 {
    with_exposed_provenance_mut(register as usize)
}

/// Three clocks at one moment.
struct Sample {
    hpet: u64,
    tsc: u64,
    apic: u32,
}

/// Reads the clocks within the shortest time of several tries.
fn sample() -> Sample {
    let mut best = None;
    for _ in 0..8 {
        let before = ticks();
        // SAFETY: the HPET's page is mapped, and reading its counter has no effect.
        let hpet = unsafe { hpet(HPET_COUNTER).read_volatile() };
        let apic = apic::timer_count();
        let spread = ticks() - before;
        if best.as_ref().is_none_or(|(least, _)| spread < *least) {
            best = Some((spread, Sample { hpet, tsc: before + spread / 2, apic }));
        }
    }
    best.map_or(Sample { hpet: 0, tsc: 0, apic: 0 }, |(_, sample)| sample)
}

/// Measures the TSC and the local APIC's timer, starts the clock, and returns the timer's ticks per nanosecond.
///
/// # Panics
/// The machine has no HPET, or a clock stands still.
pub fn calibrate() -> Scale {
    BOOT.store(ticks().saturating_sub(LAG), Ordering::Relaxed);
    // SAFETY: the HPET's page is mapped; its interrupts stay off, only the counter starts.
    let period_fs = unsafe {
        hpet(HPET_CONFIGURATION).write_volatile(1);
        hpet(HPET_CAPABILITIES).read_volatile() >> 32
    };
    assert!(
        (1..=MAX_PERIOD_FS).contains(&period_fs),
        "cannot find an HPET at {HPET:#x}: start QEMU's q35 with hpet=on"
    );
    let window = WINDOW_NS * 1_000_000 / period_fs;

    apic::start_timer(u32::MAX);
    let start = sample();
    // SAFETY: as above.
    while unsafe { hpet(HPET_COUNTER).read_volatile() }.wrapping_sub(start.hpet) < window {
        core::hint::spin_loop();
    }
    let end = sample();
    apic::start_timer(0);

    let ns = u64::try_from(u128::from(end.hpet - start.hpet) * u128::from(period_fs) / 1_000_000).unwrap_or(u64::MAX);
    let ns_per_tick = Scale::new(end.tsc - start.tsc, ns).expect("the time-stamp counter runs");
    let apic_per_ns = Scale::new(ns, u64::from(start.apic - end.apic)).expect("the local APIC's timer runs");
    NS_PER_TICK.store(ns_per_tick.to_bits(), Ordering::Relaxed);
    log::info!("clock: TSC at {} kHz", (end.tsc - start.tsc) * 1_000_000 / ns);
    apic_per_ns
}
