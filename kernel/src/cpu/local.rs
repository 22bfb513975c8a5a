//! What belongs to one processor, reached through GS.
#![allow(unsafe_code)] // GS

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

use super::MAX_CPUS;

/// One processor.
#[repr(C)]
pub struct Cpu {
    /// First, where GS points.
    index: AtomicUsize,
    apic_id: AtomicU32,
    noted: AtomicBool,
}

static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

impl Cpu {
    const fn new() -> Self {
        Self { index: AtomicUsize::new(0), apic_id: AtomicU32::new(0), noted: AtomicBool::new(false) }
    }

    /// Its number: 0 for the boot processor, then in the order in which they came up.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed)
    }

    /// The id of its local APIC, to which interrupts are addressed.
    #[must_use]
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    pub(super) fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Ordering::Relaxed);
    }

    /// Marks that something happened that this processor must look at before it may halt.
    pub(super) fn note(&self) {
        self.noted.store(true, Ordering::Release);
    }

    /// Whether this processor, the one that runs this, has the mark.
    #[inline]
    pub(crate) fn is_here_noted() -> bool {
        let noted: u8;
        // SAFETY: as in `cpu`; the mark lies where it says.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg_byte) noted, const offset_of!(Self, noted), options(nostack, preserves_flags, readonly));
        }
        noted != 0
    }

    /// Takes the mark.
    pub(crate) fn take_note(&self) -> bool {
        self.noted.swap(false, Ordering::AcqRel)
    }
}

/// The `index`th processor.
///
/// # Panics
/// If `index` is not below [`MAX_CPUS`].
#[must_use]
pub fn cpu_at(index: usize) -> &'static Cpu {
    &CPUS[index]
}

/// The processor that runs this.
#[must_use]
pub fn cpu() -> &'static Cpu {
    let index: usize;
    // SAFETY: `init` let GS point at an element of `CPUS`, whose first field is its index.
    unsafe { asm!("mov {}, gs:[0]", out(reg) index, options(nostack, preserves_flags, readonly)) };
    &CPUS[index]
}

/// Makes this processor the `index`th.
pub(super) fn init(index: usize) {
    let cpu = &CPUS[index];
    cpu.index.store(index, Ordering::Relaxed);
    GsBase::write(VirtAddr::from_ptr(cpu));
}
