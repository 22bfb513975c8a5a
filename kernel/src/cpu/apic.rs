//! Local APIC: end of interrupt, inter-processor interrupts and the timer (APM vol. 2, chapter 16). Its registers are
//! model-specific registers (MSRs) if CPUID offers x2APIC, and else memory (xAPIC).
#![allow(unsafe_code)] // registers

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use raw_cpuid::CpuId;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags, Msr};

use super::local;
use super::vector::Vector;

/// Address of the registers in xAPIC mode.
pub(super) const BASE: u64 = 0xfee0_0000;
/// First MSR of the registers in x2APIC mode.
const X2APIC: u32 = 0x800;

/// Offset of a register in memory; its MSR is [`X2APIC`] and a sixteenth of the offset (APM vol. 2, 16.3.2).
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

/// Enables this processor's APIC.
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

/// Signals the end of the interrupt in service.
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

/// Starts all other processors after their reset: in real mode, at the start of a page below 1 MiB.
pub(super) fn start_others(page: u8) {
    command(0, ALL_OTHERS | ASSERT | STARTUP | u32::from(page));
}

/// Starts the timer: after `ticks` it raises [`Vector::TIMER`]. 0 stops it.
pub(crate) fn start_timer(ticks: u32) {
    write(Register::TimerInitial, ticks);
}

/// Returns the ticks that are left.
pub(crate) fn timer_count() -> u32 {
    read(Register::TimerCurrent)
}
