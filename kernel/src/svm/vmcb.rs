//! The virtual machine control block (VMCB; APM vol. 2, appendix B): controls for a guest, and its state.

use bitflags::bitflags;
use zerocopy::FromZeros;

bitflags! {
    /// Instructions and events that leave the guest, bytes 0x0c to 0x13 (APM vol. 2, table B-1, vectors 3 and 4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Intercepts: u64 {
        /// A physical interrupt.
        const INTR = 1 << 0;
        /// A non-maskable interrupt.
        const NMI = 1 << 1;
        /// A system management interrupt.
        const SMI = 1 << 2;
        /// INIT.
        const INIT = 1 << 3;
        /// A virtual interrupt, before the guest takes it.
        const VINTR = 1 << 4;
        /// RDPMC.
        const RDPMC = 1 << 15;
        /// CPUID.
        const CPUID = 1 << 18;
        /// RSM.
        const RSM = 1 << 19;
        /// INVD.
        const INVD = 1 << 22;
        /// HLT.
        const HLT = 1 << 24;
        /// INVLPGA.
        const INVLPGA = 1 << 26;
        /// IN and OUT, where the I/O permission map says so.
        const IOIO = 1 << 27;
        /// RDMSR and WRMSR, where the MSR permission map says so.
        const MSR = 1 << 28;
        /// A task switch.
        const TASK_SWITCH = 1 << 29;
        /// Freezing on a legacy floating-point error.
        const FERR_FREEZE = 1 << 30;
        /// A triple fault.
        const SHUTDOWN = 1 << 31;
        /// VMRUN; the processor refuses a guest without it.
        const VMRUN = 1 << 32;
        /// VMMCALL.
        const VMMCALL = 1 << 33;
        /// VMLOAD.
        const VMLOAD = 1 << 34;
        /// VMSAVE.
        const VMSAVE = 1 << 35;
        /// STGI.
        const STGI = 1 << 36;
        /// CLGI.
        const CLGI = 1 << 37;
        /// SKINIT.
        const SKINIT = 1 << 38;
        /// ICEBP.
        const ICEBP = 1 << 40;
        /// WBINVD.
        const WBINVD = 1 << 41;
        /// MONITOR.
        const MONITOR = 1 << 42;
        /// MWAIT.
        const MWAIT = 1 << 43;
        /// XSETBV.
        const XSETBV = 1 << 45;
        /// RDPRU.
        const RDPRU = 1 << 46;
    }
}

/// Writes of control registers that leave the guest, byte 2: CR4, because its OSXSAVE opens state that is not switched;
/// CR8, because with a virtual interrupt pending it would abort QEMU.
pub const CR_WRITES: u16 = 1 << 4 | 1 << 8;
/// Exceptions that leave the guest, bytes 8 to 11: debug and alignment check, which a guest can make nest without end.
pub const EXCEPTIONS: u32 = 1 << 1 | 1 << 17;

/// Handling of cached translations at entry (APM vol. 2, 15.16.1).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlbControl {
    /// Keep them.
    Keep = 0,
    /// Forget those of all guests.
    FlushAll = 1,
}

bitflags! {
    /// The virtual interrupt control, bytes 0x60 to 0x67, without its vector (APM vol. 2, 15.21).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct VirtualInterrupt: u64 {
        /// A virtual interrupt is pending; the processor clears it when the guest takes it.
        const PENDING = 1 << 8;
        /// Its priority is the highest.
        const PRIORITY = 0xf << 16;
        /// Whatever the guest's task priority.
        const IGNORE_TPR = 1 << 20;
        /// The guest's interrupt flag masks virtual interrupts only, the host's masks physical ones.
        const MASKING = 1 << 24;
    }
}

/// An event that the guest is given at entry, bytes 0xa8 to 0xaf (APM vol. 2, 15.20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
#[repr(transparent)]
pub struct EventInjection(pub u64);

impl EventInjection {
    /// None.
    pub const NONE: Self = Self(0);
    const VALID: u64 = 1 << 31;
    const EXCEPTION: u64 = 3 << 8;
    const HAS_ERROR: u64 = 1 << 11;

    /// An interrupt.
    #[must_use]
    pub const fn interrupt(vector: u8) -> Self {
        Self(Self::VALID | vector as u64)
    }

    /// An exception, with its error code if it has one.
    #[must_use]
    pub const fn exception(vector: u8, error: Option<u32>) -> Self {
        let error = match error {
            Some(error) => (error as u64) << 32 | Self::HAS_ERROR,
            None => 0,
        };
        Self(Self::VALID | Self::EXCEPTION | vector as u64 | error)
    }

    /// Returns `true` if there is an event: bit 31 alone is decisive.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 & Self::VALID != 0
    }
}

/// The control area.
#[repr(C)]
#[derive(Debug, FromZeros)]
#[expect(missing_docs, reason = "the manual's own names")]
pub struct Control {
    pub intercept_cr_reads: u16,
    pub intercept_cr_writes: u16,
    pub intercept_dr_reads: u16,
    pub intercept_dr_writes: u16,
    pub intercept_exceptions: u32,
    intercepts: [u32; 2],
    reserved_1: [u32; 11],
    pub iopm_base: u64,
    pub msrpm_base: u64,
    pub tsc_offset: u64,
    pub asid: u32,
    pub tlb_control: u8,
    reserved_2: [u8; 3],
    pub virtual_interrupt: u64,
    pub interrupt_shadow: u64,
    pub exit_code: u64,
    pub exit_info_1: u64,
    pub exit_info_2: u64,
    pub exit_int_info: u64,
    pub nested_paging: u64,
    reserved_3: [u64; 2],
    pub event_injection: EventInjection,
    pub nested_cr3: u64,
    reserved_4: u64,
    pub clean: u64,
    pub next_rip: u64,
    reserved_5: [u8; 0x400 - 0xd0],
}

impl Control {
    /// Sets what leaves the guest.
    pub fn set_intercepts(&mut self, intercepts: Intercepts) {
        self.intercepts = [intercepts.bits() as u32, (intercepts.bits() >> 32) as u32];
    }

    /// Has the guest left as soon as it takes interrupts, or not.
    pub fn await_window(&mut self, awaited: bool) {
        let masking = VirtualInterrupt::MASKING;
        self.virtual_interrupt = if awaited { VirtualInterrupt::all() } else { masking }.bits();
    }
}

/// A segment register.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[expect(missing_docs, reason = "the manual's own names")]
pub struct Segment {
    pub selector: u16,
    pub attributes: u16,
    pub limit: u32,
    pub base: u64,
}

/// The state save area.
#[repr(C)]
#[derive(Debug, FromZeros)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Save {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    reserved_1: [u8; 0x4cb - 0x4a0],
    pub cpl: u8,
    reserved_2: u32,
    pub efer: u64,
    reserved_3: [u8; 0x548 - 0x4d8],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    reserved_4: [u8; 0x5d8 - 0x580],
    pub rsp: u64,
    reserved_5: [u8; 0x5f8 - 0x5e0],
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    reserved_6: [u8; 0x668 - 0x648],
    pub g_pat: u64,
    reserved_7: [u8; 0x1000 - 0x670],
}

/// A VMCB.
#[repr(C, align(4096))]
#[derive(Debug, FromZeros)]
pub struct Vmcb {
    /// Controls, and the reason of the last VM exit.
    pub control: Control,
    /// The guest's registers, but for those that the host switches.
    pub save: Save,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Vmcb>() == 4096);
    assert!(offset_of!(Control, intercepts) == 0x0c && offset_of!(Control, iopm_base) == 0x40);
    assert!(offset_of!(Control, asid) == 0x58 && offset_of!(Control, virtual_interrupt) == 0x60);
    assert!(offset_of!(Control, exit_code) == 0x70 && offset_of!(Control, nested_paging) == 0x90);
    assert!(offset_of!(Control, event_injection) == 0xa8 && offset_of!(Control, nested_cr3) == 0xb0);
    assert!(offset_of!(Control, next_rip) == 0xc8 && size_of::<Control>() == 0x400);
    assert!(offset_of!(Vmcb, save.cpl) == 0x4cb && offset_of!(Vmcb, save.efer) == 0x4d0);
    assert!(offset_of!(Vmcb, save.cr4) == 0x548 && offset_of!(Vmcb, save.rip) == 0x578);
    assert!(offset_of!(Vmcb, save.rsp) == 0x5d8 && offset_of!(Vmcb, save.rax) == 0x5f8);
    assert!(offset_of!(Vmcb, save.cr2) == 0x640 && offset_of!(Vmcb, save.g_pat) == 0x668);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_manuals_form() {
        assert_eq!(EventInjection::exception(6, None).0, 0x8000_0306);
        assert_eq!(EventInjection::exception(13, Some(0x18)).0, 0x18_8000_0b0d);
        assert!(!EventInjection(0x18_0000_0b0d).is_some(), "only bit 31 counts");
        assert!(EventInjection(0x8000_0020).is_some());
    }
}
