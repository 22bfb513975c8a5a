//! The time-stamp counter (TSC) as the clock, measured once against the high precision event timer (HPET).
#![allow(unsafe_code)] // RDTSC and the HPET's registers

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Scale;
use crate::cpu::apic;

/// Where q35's HPET is.
pub(crate) const HPET: u64 = 0xfed0_0000;
/// General capabilities: bits 63-32 are the counter's period in femtoseconds (IA-PC HPET specification 2.3.4).
const HPET_CAPABILITIES: u64 = HPET;
/// General configuration: bit 0 lets the counter run.
const HPET_CONFIGURATION: u64 = HPET + 0x10;
const HPET_COUNTER: u64 = HPET + 0xf0;
/// The longest period that the specification allows: 100 ns.
const MAX_PERIOD_FS: u64 = 100_000_000;

/// How long the clocks are compared.
const WINDOW_NS: u64 = 10_000_000;

/// By how many ticks at most a processor's TSC lags behind the boot processor's: none sees a time before boot.
const LAG: u64 = 1 << 20;

static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
static BOOT: AtomicU64 = AtomicU64::new(0);

/// How fast [`ticks`] grows, in Hz; 0 until [`calibrate`] ran.
#[must_use]
pub fn ticks_per_second() -> u64 {
    Scale::new(NS_PER_TICK.load(Ordering::Relaxed), 1 << 32).map_or(0, |per_ns| per_ns.convert(1_000_000_000))
}

/// Nanoseconds since boot; 0 until [`calibrate`] ran.
#[inline]
#[must_use]
pub fn now() -> u64 {
    let ticks = ticks().wrapping_sub(BOOT.load(Ordering::Relaxed));
    Scale::from_bits(NS_PER_TICK.load(Ordering::Relaxed)).convert_wrapping(ticks)
}

/// The time-stamp counter itself. Under QEMU's `-icount shift=0` it counts instructions.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every processor with long mode has RDTSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn hpet(register: u64) -> *mut u64 {
    with_exposed_provenance_mut(register as usize)
}

/// The three clocks at one moment.
struct Sample {
    hpet: u64,
    tsc: u64,
    apic: u32,
}

/// Reads the clocks as closely together as several tries allow.
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

/// Measures the TSC and the local APIC's timer, and starts the clock.
///
/// # Panics
/// If there is no HPET, or the clocks do not run.
pub fn calibrate() {
    BOOT.store(ticks().saturating_sub(LAG), Ordering::Relaxed);
    // SAFETY: the HPET's page is mapped; its interrupts stay off, only the counter starts.
    let period_fs = unsafe {
        hpet(HPET_CONFIGURATION).write_volatile(1);
        hpet(HPET_CAPABILITIES).read_volatile() >> 32
    };
    assert!((1..=MAX_PERIOD_FS).contains(&period_fs), "no HPET at {HPET:#x}: start QEMU's q35 with hpet=on");
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
    apic::set_timer_scale(apic_per_ns);
    log::info!("clock: TSC at {} kHz", (end.tsc - start.tsc) * 1_000_000 / ns);
}
