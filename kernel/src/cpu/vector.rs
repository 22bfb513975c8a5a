//! Interrupt vectors and their counters.

use core::sync::atomic::{AtomicU32, Ordering};

/// Interrupt vector from 32 on; vectors below are exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(u8);

impl Vector {
    /// Timer of the local APIC.
    pub const TIMER: Self = Self(0x30);
    /// Wake-up by another processor.
    pub const WAKE: Self = Self(0x31);
    /// Serial port of the control line.
    pub const CONTROL: Self = Self(0x32);
    /// Spurious interrupt of the local APIC. It takes no end of interrupt (APM vol. 2, 16.4.7).
    pub const SPURIOUS: Self = Self(0xff);

    const FIRST_DEVICE: u8 = 0x40;
    const DEVICES: u8 = 0xb0;

    /// Returns the vector's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns the number of times the vector was raised since boot; wrapping.
    #[must_use]
    pub fn count(self) -> u32 {
        COUNTS[usize::from(self.0)].load(Ordering::Acquire)
    }

    /// Allocates a vector for a device. Returns `None` if all are allocated.
    #[must_use]
    pub fn allocate() -> Option<Self> {
        static ALLOCATED: AtomicU32 = AtomicU32::new(0);
        let index = ALLOCATED.fetch_add(1, Ordering::Relaxed);
        let index = u8::try_from(index).ok().filter(|index| *index < Self::DEVICES)?;
        Some(Self(Self::FIRST_DEVICE + index))
    }

    /// Counts one interrupt with the vector of this number.
    pub(super) fn count_one(number: u8) {
        COUNTS[usize::from(number)].fetch_add(1, Ordering::Release);
    }
}

static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
