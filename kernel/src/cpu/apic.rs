//! The local APIC: end of interrupt, inter-processor interrupts and the timer. Its registers are model-specific ones
//! where CPUID offers x2APIC, and memory (xAPIC) elsewhere (APM vol. 2, chapter 16).
#![allow(unsafe_code)] // registers

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raw_cpuid::CpuId;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags, Msr};

use super::interrupts::Vector;
use super::local;
use crate::clock::{self, Scale};

/// Where the registers are in memory, when they are.
pub(super) const BASE: u64 = 0xfee0_0000;
/// Where they are among the model-specific registers, when they are.
const X2APIC: u32 = 0x800;

/// Offsets of registers in memory; a model-specific register's number is a sixteenth of it (APM vol. 2, 16.3.2).
#[derive(Clone, Copy)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    SpuriousVector = 0xf0,
    CommandLow = 0x300,
    CommandHigh = 0x310,
    TimerVector = 0x320,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

/// Spurious vector register: the APIC is on.
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// Timer divide configuration: by 16.
const DIVIDE_BY_16: u32 = 0b0011;
/// Interrupt command: delivery modes, level asserted, and all processors but this one.
const INIT: u32 = 0b101 << 8;
const STARTUP: u32 = 0b110 << 8;
const ASSERT: u32 = 1 << 14;
const ALL_OTHERS: u32 = 0b11 << 18;
/// Interrupt command: still being sent (xAPIC only).
const PENDING: u32 = 1 << 12;

static X2: AtomicBool = AtomicBool::new(false);
static TIMER_PER_NS: AtomicU64 = AtomicU64::new(0);

fn read(register: Register) -> u32 {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: x2APIC mode is on, so the register exists; reading it has no effect.
        unsafe { Msr::new(X2APIC + (register as u32 >> 4)).read() as u32 }
    } else {
        // SAFETY: the APIC's page is mapped; reading these registers has no effect.
        unsafe { with_exposed_provenance_mut::<u32>(BASE as usize + register as usize).read_volatile() }
    }
}

fn write(register: Register, value: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: x2APIC mode is on, so the register exists; this module writes only what lets interrupts come to
        // vectors that have handlers, or starts processors at the trampoline.
        unsafe { Msr::new(X2APIC + (register as u32 >> 4)).write(u64::from(value)) }
    } else {
        // SAFETY: the APIC's page is mapped; as above.
        unsafe { with_exposed_provenance_mut::<u32>(BASE as usize + register as usize).write_volatile(value) }
    }
}

/// Turns this processor's APIC on.
pub(super) fn init() {
    let x2 = CpuId::new().get_feature_info().is_some_and(|features| features.has_x2apic());
    X2.store(x2, Ordering::Relaxed);
    let (base, flags) = ApicBase::read();
    let mode = if x2 { ApicBaseFlags::X2APIC_ENABLE } else { ApicBaseFlags::empty() };
    // SAFETY: the base stays where it is.
    unsafe { ApicBase::write(base, flags | ApicBaseFlags::LAPIC_ENABLE | mode) };
    write(Register::TaskPriority, 0);
    write(Register::SpuriousVector, SOFTWARE_ENABLE | u32::from(Vector::SPURIOUS.number()));
    write(Register::TimerDivide, DIVIDE_BY_16);
    write(Register::TimerVector, u32::from(Vector::TIMER.number())); // one-shot, not masked
    let id = read(Register::Id);
    local::cpu().set_apic_id(if x2 { id } else { id >> 24 });
}

/// Says that the interrupt in service is done with.
pub(super) fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

fn command(destination: u32, command: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: as in `write`; the command register is one 64-bit register in x2APIC mode.
        unsafe {
            Msr::new(X2APIC + (Register::CommandLow as u32 >> 4))
                .write(u64::from(destination) << 32 | u64::from(command))
        }
    } else {
        write(Register::CommandHigh, destination << 24);
        write(Register::CommandLow, command);
        while read(Register::CommandLow) & PENDING != 0 {
            core::hint::spin_loop();
        }
    }
}

/// Wakes the processor whose local APIC has this id.
pub fn wake(apic_id: u32) {
    command(apic_id, ASSERT | u32::from(Vector::WAKE.number()));
}

/// Resets all other processors.
pub(super) fn init_others() {
    command(0, ALL_OTHERS | ASSERT | INIT);
}

/// Lets all other processors, which were reset, begin in real mode at the start of a page below 1 MiB.
pub(super) fn start_others(page: u8) {
    command(0, ALL_OTHERS | ASSERT | STARTUP | u32::from(page));
}

/// Lets the timer count down from `ticks`, and then raise [`Vector::TIMER`]; 0 stops it.
pub(crate) fn start_timer(ticks: u32) {
    write(Register::TimerInitial, ticks);
}

/// What is left of the count.
pub(crate) fn timer_count() -> u32 {
    read(Register::TimerCurrent)
}

pub(crate) fn set_timer_scale(per_ns: Scale) {
    TIMER_PER_NS.store(per_ns.to_bits(), Ordering::Relaxed);
}

/// Raises [`Vector::TIMER`] on this processor when [`clock::now`] reaches `deadline`, or earlier if that is very far
/// off (about a minute): who waits looks at the clock and asks again. `None` takes an earlier wish back.
pub fn set_timer(deadline: Option<u64>) {
    let ticks = deadline.map_or(0, |deadline| {
        let ns = deadline.saturating_sub(clock::now());
        let ticks = Scale::from_bits(TIMER_PER_NS.load(Ordering::Relaxed)).convert(ns).saturating_add(1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    });
    start_timer(ticks);
}
