//! SVM on this machine's processors, and a guest's processor on one of them.
#![allow(unsafe_code)] // turns SVM on, and enters guests

use alloc::boxed::Box;
use core::arch::asm;

use raw_cpuid::CpuId;
use spin::Mutex;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;
use zerocopy::FromZeros;

use super::asid::{Asid, Asids};
use super::enter::{FloatingPoint, GuestRegisters, enter};
use super::exit::Exit;
use super::permissions::{MsrMap, msr_map};
use super::vmcb::{CR_WRITES, EXCEPTIONS, EventInjection, Intercepts, Segment, TlbControl, VirtualInterrupt, Vmcb};
use crate::cpu::{Cpu, MAX_CPUS, local};
use crate::memory::{PAGE, allocate};

/// VM_CR: SVM is disabled (APM vol. 2, 15.30.1).
const VM_CR: u32 = 0xc001_0114;
const VM_CR_SVMDIS: u64 = 1 << 4;
/// VM_HSAVE_PA: where the processor keeps the host's state while a guest runs (15.30.4).
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// Reason for which partitions cannot run on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvmError {
    /// The processor lacks SVM with nested paging.
    #[error("cannot run partitions: the processor lacks AMD-V with nested paging; start QEMU with -cpu max")]
    Missing,
    /// The firmware turned it off.
    #[error("cannot run partitions: the firmware has turned AMD-V off; turn it on in its settings")]
    Disabled,
    /// There is no memory for the host's state.
    #[error("cannot run partitions: the host's state needs a page, and no memory is free")]
    NoMemory,
}

/// State of a processor that runs guests.
pub struct Host {
    /// The host's registers, as VMSAVE saved them.
    vmcb: Box<Vmcb>,
    asids: Asids,
}

static HOSTS: [Mutex<Option<Host>>; MAX_CPUS] = [const { Mutex::new(None) }; MAX_CPUS];

#[repr(align(4096))]
struct Aligned<T>(T);

/// All ports leave the guest; the third page stands for accesses that begin at the last ports (15.10.1).
static IO_MAP: Aligned<[u8; 0x3000]> = Aligned([0xff; 0x3000]);
static MSR_MAP: Aligned<MsrMap> = Aligned(msr_map());

fn physical<T>(object: &T) -> u64 {
    (&raw const *object).expose_provenance() as u64
}

/// Lets this processor run guests.
///
/// # Errors
/// A [`SvmError`] if it cannot.
pub fn enable() -> Result<(), SvmError> {
    let cpuid = CpuId::new();
    let has_svm = cpuid.get_extended_processor_and_feature_identifiers().is_some_and(|features| features.has_svm());
    let svm = cpuid.get_svm_info().filter(|svm| has_svm && svm.has_nested_paging()).ok_or(SvmError::Missing)?;
    // SAFETY: with SVM there is VM_CR.
    if unsafe { Msr::new(VM_CR).read() } & VM_CR_SVMDIS != 0 {
        return Err(SvmError::Disabled);
    }
    let save = allocate(PAGE, PAGE).ok_or(SvmError::NoMemory)?;
    let mut vmcb: Box<Vmcb> = Box::new(Vmcb::new_zeroed());
    // SAFETY: the page is the processor's alone from now on, and VMSAVE writes to the given VMCB only. FXSAVE is to
    // save SSE's registers too, which the kernel itself does not use.
    unsafe {
        Efer::update(|efer| efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE));
        Msr::new(VM_HSAVE_PA).write(save.start);
        Cr4::update(|cr4| cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE));
        asm!("vmsave rax", in("rax") (&raw mut *vmcb).expose_provenance(), options(nostack, preserves_flags));
    }
    let host = Host { vmcb, asids: Asids::new(svm.supported_asids().max(2)) };
    *HOSTS[local::cpu().index()].lock() = Some(host);
    Ok(())
}

/// Calls `work` with the state of this processor.
///
/// # Panics
/// The processor was not [`enable`]d, or `work` calls this function.
pub fn with_host<R>(work: impl FnOnce(&mut Host) -> R) -> R {
    let mut host = HOSTS[local::cpu().index()].try_lock().expect("this processor runs one guest at a time");
    work(host.as_mut().expect("SVM is enabled on every processor that runs guests"))
}

/// A guest's processor.
#[derive(Debug)]
pub struct VirtualCpu {
    vmcb: Box<Vmcb>,
    /// Its general registers but RAX and RSP.
    pub registers: GuestRegisters,
    floating_point: FloatingPoint,
    asid: Asid,
    /// Where the guest is, if that is behind an STI: no interrupt comes before that one instruction, or it would end no
    /// HLT there. QEMU's TCG forgets this at entry (APM vol. 2, 15.21.5), so it is remembered until the guest has moved
    /// on.
    shadowed: Option<u64>,
}

/// Attributes of segments as the VMCB has them (APM vol. 2, 15.5.1): present, accessed; code is 64-bit.
const CODE: Segment = Segment { selector: 0x08, attributes: 0xa9b, limit: u32::MAX, base: 0 };
const DATA: Segment = Segment { selector: 0, attributes: 0xc93, limit: u32::MAX, base: 0 };
const TASK: Segment = Segment { selector: 0, attributes: 0x8b, limit: 0xffff, base: 0 };
const LOCAL: Segment = Segment { selector: 0, attributes: 0x82, limit: 0xffff, base: 0 };

/// The guest's EFER: long mode, no-execute, SYSCALL; and SVM, without which it could not run.
const EFER: u64 = 1 << 0 | 1 << 8 | 1 << 10 | 1 << 11 | EFER_SVME;
/// Bit of EFER that the guest does not see.
const EFER_SVME: u64 = 1 << 12;
/// Bits of EFER that the guest may change: SYSCALL and no-execute.
const EFER_OPEN: u64 = 1 << 0 | 1 << 11;
/// PG, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8001_0033;
/// PAE, PGE, OSFXSR, OSXMMEXCPT.
const CR4: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10;
/// The page attribute table after a reset (APM vol. 2, 7.8.2).
const PAT: u64 = 0x0007_0406_0007_0406;

impl VirtualCpu {
    /// Creates a processor in 64-bit mode, with interrupts off, that starts at `entry` with its stack growing down from
    /// `stack`, the guest's page tables at `cr3`, and the nested ones at `nested_cr3`.
    #[must_use]
    pub fn new(entry: u64, stack: u64, cr3: u64, nested_cr3: u64) -> Self {
        let mut vmcb: Box<Vmcb> = Box::new(Vmcb::new_zeroed());
        let control = &mut vmcb.control;
        control.set_intercepts(Intercepts::all());
        control.intercept_cr_writes = CR_WRITES;
        // A guest's debug registers 0 to 3 are not switched, so it has none.
        control.intercept_dr_reads = u16::MAX;
        control.intercept_dr_writes = u16::MAX;
        control.intercept_exceptions = EXCEPTIONS;
        control.iopm_base = physical(&IO_MAP);
        control.msrpm_base = physical(&MSR_MAP);
        control.nested_paging = 1;
        control.nested_cr3 = nested_cr3;
        control.virtual_interrupt = VirtualInterrupt::MASKING.bits();
        let save = &mut vmcb.save;
        (save.cs, save.tr, save.ldtr) = (CODE, TASK, LOCAL);
        (save.ds, save.es, save.ss, save.fs, save.gs) = (DATA, DATA, DATA, DATA, DATA);
        (save.efer, save.cr0, save.cr3, save.cr4) = (EFER, CR0, cr3, CR4);
        (save.rflags, save.rip, save.rsp) = (2, entry, stack);
        (save.dr6, save.dr7, save.g_pat) = (0xffff_0ff0, 0x400, PAT);
        let registers = GuestRegisters::default();
        Self { vmcb, registers, floating_point: FloatingPoint::RESET, asid: Asid::default(), shadowed: None }
    }

    /// Prepares to run the guest on this processor, again and again. No other guest runs here until
    /// [`Self::put`].
    pub fn load(&mut self, host: &mut Host) {
        self.vmcb.control.tlb_control = host.asids.assign(&mut self.asid, local::cpu().index()) as u8;
        self.vmcb.control.asid = self.asid.number;
        self.floating_point.load();
    }

    /// Takes from this processor what is the guest's.
    pub fn put(&mut self) {
        self.floating_point.save();
    }

    /// Runs the guest, which is [settled](Self::load) here, until it is left. If something was noted for this processor
    /// since that was last looked at, it is left before it begins.
    #[inline]
    pub fn run(&mut self, host: &Host) -> Exit {
        let vmcb = (&raw mut *self.vmcb).expose_provenance() as u64;
        // SAFETY: SVM is on, as `host` shows, so there are CLGI and STGI: nothing interrupts from the look at the note
        // until the guest runs, where an interrupt leaves it. What leaves the guest and its nested page tables confine
        // it to its memory; the kernel's GS, FS and TR never change once they are set.
        unsafe {
            asm!("clgi", options(nostack, preserves_flags));
            if Cpu::is_here_noted() {
                asm!("stgi", options(nostack, preserves_flags));
                return Exit::Interrupt;
            }
            enter(vmcb, &mut self.registers, physical(&*host.vmcb));
        }
        let control = &mut self.vmcb.control;
        control.tlb_control = TlbControl::Keep as u8;
        // An event whose delivery the exit cut off is described as one to inject.
        control.event_injection = EventInjection(control.exit_int_info);
        let rip = self.vmcb.save.rip;
        if control.interrupt_shadow & 1 != 0 {
            self.shadowed = Some(rip);
        } else if self.shadowed.is_some_and(|at| at != rip) {
            self.shadowed = None;
        }
        Exit::decode(control.exit_code, control.exit_info_1, control.exit_info_2)
    }

    /// The guest's RAX.
    pub fn rax(&mut self) -> &mut u64 {
        &mut self.vmcb.save.rax
    }

    /// Where the guest is.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.vmcb.save.rip
    }

    /// The guest's stack pointer.
    #[must_use]
    pub fn rsp(&self) -> u64 {
        self.vmcb.save.rsp
    }

    /// Returns the guest's privilege level.
    #[must_use]
    pub fn privilege(&self) -> u8 {
        self.vmcb.save.cpl
    }

    /// Returns `true` if the guest's interrupt flag is set.
    #[must_use]
    pub fn interrupts_enabled(&self) -> bool {
        self.vmcb.save.rflags & 1 << 9 != 0
    }

    /// Resumes behind the instruction that caused the VM exit, which has `length` bytes where the processor does not
    /// provide the next address. (A guest that writes needless prefixes then resumes inside of it, to its own harm.)
    pub fn skip(&mut self, length: u64) {
        let next = self.vmcb.control.next_rip;
        // A processor without NRIPS leaves it 0.
        self.resume_at(if next == 0 { self.vmcb.save.rip.wrapping_add(length) } else { next });
    }

    fn resume_at(&mut self, rip: u64) {
        self.vmcb.save.rip = rip;
        self.vmcb.control.interrupt_shadow = 0;
        self.shadowed = None;
    }

    /// Injects an exception in place of the instruction that caused the VM exit.
    pub fn inject_exception(&mut self, vector: u8, error: Option<u32>) {
        self.vmcb.control.event_injection = EventInjection::exception(vector, error);
    }

    /// Returns `true` if the next entry injects an event: one whose delivery the last VM exit interrupted, or one from
    /// here.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.vmcb.control.event_injection.is_some()
    }

    /// Returns `true` if an interrupt can be injected now.
    #[must_use]
    pub fn takes_interrupts(&self) -> bool {
        self.interrupts_enabled() && !self.is_shadowed() && !self.has_event()
    }

    /// Returns `true` if the guest is in an interrupt shadow, in which no [window](Self::await_window) is awaited.
    #[must_use]
    pub fn is_shadowed(&self) -> bool {
        self.shadowed.is_some()
    }

    /// Injects an interrupt, which the guest must [accept](Self::takes_interrupts).
    pub fn inject_interrupt(&mut self, vector: u8) {
        self.vmcb.control.event_injection = EventInjection::interrupt(vector);
    }

    /// Requests a VM exit as soon as the guest accepts interrupts, or cancels the request. An interrupt shadow ends
    /// first.
    pub fn await_window(&mut self, awaited: bool) {
        self.vmcb.control.await_window(awaited && !self.is_shadowed());
    }

    /// Returns EFER as the guest sees it.
    #[must_use]
    pub fn efer(&self) -> u64 {
        self.vmcb.save.efer & !EFER_SVME
    }

    /// Changes EFER. Returns `false`, and changes nothing, if the guest may not make the change.
    pub fn set_efer(&mut self, value: u64) -> bool {
        let allowed = (value ^ self.efer()) & !EFER_OPEN == 0;
        if allowed {
            self.vmcb.save.efer = value | EFER_SVME;
        }
        allowed
    }
}
