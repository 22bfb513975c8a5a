//! Into the guest, and out again.
#![allow(unsafe_code)] // the state of the processor itself changes

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// The guest's general registers but RAX and RSP, which the VMCB holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct GuestRegisters {
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// The guest's x87 and SSE registers in FXSAVE's form (APM vol. 2, 11.4.4).
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct FloatingPoint([u8; 512]);

impl FloatingPoint {
    /// As a reset leaves them: x87 control word 0x37f, MXCSR 0x1f80, all registers 0 and empty.
    pub(super) const RESET: Self = {
        let mut bytes = [0; 512];
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        Self(bytes)
    };

    /// Loads the registers. The kernel uses none of them, so they stay as the guest leaves them until [`Self::save`].
    pub(super) fn load(&self) {
        // SAFETY: nothing of the kernel's is in these registers, and the form is FXSAVE's. FXRSTOR leaves the last
        // instruction's address as it was; FNINIT does not, so that no guest reads another's.
        unsafe { asm!("fninit", "fxrstor64 [{}]", in(reg) &raw const self.0, options(nostack, readonly)) }
    }

    /// Saves the registers.
    pub(super) fn save(&mut self) {
        // SAFETY: the memory has FXSAVE's size and alignment.
        unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut self.0, options(nostack)) }
    }
}

/// Enters the guest of the VMCB at physical address `vmcb`, and returns when it is left. `host` is the physical address
/// of a VMCB that holds what VMSAVE saved of the host.
///
/// # Safety
/// SVM is on; the global interrupt flag is clear (CLGI); the VMCB confines the guest to memory of its own; this
/// processor's GS, FS and TR are as they were when `host` was saved.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(vmcb: u64, registers: &mut GuestRegisters, host: u64) {
    // 1. Save what the caller wants kept, and where the guest's registers are and the host's state is.
    // 2. STI: with V_INTR_MASKING the host's flag says whether a physical interrupt leaves the guest (APM vol. 2,
    //    15.21.1). The global flag keeps them away until then.
    // 3. Load the guest's general registers and what VMLOAD loads, and run it. RAX and RSP are the host's again after.
    // 4. Save all that again, and load the host's.
    // 5. STGI: an interrupt for which the guest was left comes now.
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "push rsi",
        "sti",
        "mov rax, rdi",
        "mov rbx, [rsi + {rbx}]",
        "mov rcx, [rsi + {rcx}]",
        "mov rdx, [rsi + {rdx}]",
        "mov rdi, [rsi + {rdi}]",
        "mov rbp, [rsi + {rbp}]",
        "mov r8, [rsi + {r8}]",
        "mov r9, [rsi + {r9}]",
        "mov r10, [rsi + {r10}]",
        "mov r11, [rsi + {r11}]",
        "mov r12, [rsi + {r12}]",
        "mov r13, [rsi + {r13}]",
        "mov r14, [rsi + {r14}]",
        "mov r15, [rsi + {r15}]",
        "mov rsi, [rsi + {rsi}]",
        "vmload rax",
        "vmrun rax",
        "vmsave rax",
        "xchg rsi, [rsp]", // the guest's RSI to the stack, and where its registers are
        "mov [rsi + {rbx}], rbx",
        "mov [rsi + {rcx}], rcx",
        "mov [rsi + {rdx}], rdx",
        "mov [rsi + {rdi}], rdi",
        "mov [rsi + {rbp}], rbp",
        "mov [rsi + {r8}], r8",
        "mov [rsi + {r9}], r9",
        "mov [rsi + {r10}], r10",
        "mov [rsi + {r11}], r11",
        "mov [rsi + {r12}], r12",
        "mov [rsi + {r13}], r13",
        "mov [rsi + {r14}], r14",
        "mov [rsi + {r15}], r15",
        "pop rbx",
        "mov [rsi + {rsi}], rbx",
        "pop rax",
        "vmload rax",
        "stgi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        rbx = const offset_of!(GuestRegisters, rbx),
        rcx = const offset_of!(GuestRegisters, rcx),
        rdx = const offset_of!(GuestRegisters, rdx),
        rsi = const offset_of!(GuestRegisters, rsi),
        rdi = const offset_of!(GuestRegisters, rdi),
        rbp = const offset_of!(GuestRegisters, rbp),
        r8 = const offset_of!(GuestRegisters, r8),
        r9 = const offset_of!(GuestRegisters, r9),
        r10 = const offset_of!(GuestRegisters, r10),
        r11 = const offset_of!(GuestRegisters, r11),
        r12 = const offset_of!(GuestRegisters, r12),
        r13 = const offset_of!(GuestRegisters, r13),
        r14 = const offset_of!(GuestRegisters, r14),
        r15 = const offset_of!(GuestRegisters, r15),
    )
}
