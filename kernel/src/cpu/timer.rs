//! Timer of this processor, in nanoseconds of the clock.

use core::sync::atomic::{AtomicU64, Ordering};

use super::apic;
use crate::clock::{self, Scale};

/// Sets the timer: it raises [`super::Vector::TIMER`] on this processor when [`clock::now`] reaches `deadline`.
///
/// A deadline beyond the timer's range (about a minute) raises it earlier; the caller then checks the clock and sets
/// the timer again. `None` stops the timer.
pub fn set(deadline: Option<u64>) {
    let ticks = deadline.map_or(0, |deadline| {
        let ns = deadline.saturating_sub(clock::now());
        let ticks = Scale::from_bits(TICKS_PER_NS.load(Ordering::Relaxed)).convert(ns).saturating_add(1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    });
    apic::start_timer(ticks);
}

/// Sets the scale from nanoseconds to ticks of the local APICs' timers.
pub(super) fn set_scale(ticks_per_ns: Scale) {
    TICKS_PER_NS.store(ticks_per_ns.to_bits(), Ordering::Relaxed);
}

static TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);
