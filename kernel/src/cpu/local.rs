//! Data of one processor, reached through GS.
#![allow(unsafe_code)] // GS

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

/// Number of processors that the kernel starts at most.
pub const MAX_CPUS: usize = 8;

/// Processor.
#[repr(C)]
pub struct Cpu {
    /// First field: `cpu` reads it through GS.
    index: AtomicUsize,
    apic_id: AtomicU32,
    noted: AtomicBool,
}

static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

impl Cpu {
    const fn new() -> Self {
        Self { index: AtomicUsize::new(0), apic_id: AtomicU32::new(0), noted: AtomicBool::new(false) }
    }

    /// Returns its index: 0 for the boot processor, then in the order of start.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed)
    }

    /// Returns the id of its local APIC.
    #[must_use]
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    pub(super) fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Ordering::Relaxed);
    }

    /// Sets its wake flag: the processor checks for work before it halts.
    pub(super) fn note(&self) {
        self.noted.store(true, Ordering::Release);
    }

    /// Returns `true` if the calling processor's wake flag is set.
    #[inline]
    pub(crate) fn is_here_noted() -> bool {
        let noted: u8;
        // SAFETY: as in `cpu`; the offset is that of the flag.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg_byte) noted, const offset_of!(Self, noted), options(nostack, preserves_flags, readonly));
        }
        noted != 0
    }

    /// Clears the wake flag, and returns `true` if it was set.
    pub(crate) fn take_note(&self) -> bool {
        self.noted.swap(false, Ordering::AcqRel)
    }
}

/// Returns the `index`th processor.
///
/// # Panics
/// `index` is not below [`MAX_CPUS`].
#[must_use]
pub fn cpu_at(index: usize) -> &'static Cpu {
    &CPUS[index]
}

/// Returns the calling processor.
#[must_use]
pub fn cpu() -> &'static Cpu {
    let index: usize;
    // SAFETY: `init` pointed GS at an element of `CPUS`, whose first field is its index.
    unsafe { asm!("mov {}, gs:[0]", out(reg) index, options(nostack, preserves_flags, readonly)) };
    &CPUS[index]
}

/// Makes the calling processor the `index`th.
pub(super) fn init(index: usize) {
    let cpu = &CPUS[index];
    cpu.index.store(index, Ordering::Relaxed);
    GsBase::write(VirtAddr::from_ptr(cpu));
}
