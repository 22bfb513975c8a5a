//! Interrupt and exception entry. A handler only notes and wakes: it counts its vector, marks its processor as having
//! something to look at, and tells the interrupt controller. Whoever waits compares the count with the one it last saw.
#![allow(unsafe_code)] // entry stubs

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};

use super::registers::Registers;
use super::{apic, fault, local};

/// An interrupt vector from 32 on, which is not an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(u8);

impl Vector {
    /// The local APIC's timer.
    pub const TIMER: Self = Self(0x30);
    /// Another processor has something for this one.
    pub const WAKE: Self = Self(0x31);
    /// The control channel's serial port.
    pub const CONTROL: Self = Self(0x32);
    /// What the local APIC raises when an interrupt went away before it was taken; it wants no end of interrupt.
    pub const SPURIOUS: Self = Self(0xff);

    const FIRST_DEVICE: u8 = 0x40;
    const DEVICES: u8 = 0xb0;

    /// The vector's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// How often it was raised since boot, wrapping.
    #[must_use]
    pub fn count(self) -> u32 {
        COUNTS[usize::from(self.0)].load(Ordering::Acquire)
    }

    /// A vector that no device has yet; `None` once all are given away.
    #[must_use]
    pub fn allocate() -> Option<Self> {
        static GIVEN: AtomicU32 = AtomicU32::new(0);
        let nth = u8::try_from(GIVEN.fetch_add(1, Ordering::Relaxed)).ok().filter(|nth| *nth < Self::DEVICES)?;
        Some(Self(Self::FIRST_DEVICE + nth))
    }
}

static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// From one vector's stub to the next.
const STUB: u64 = 16;

unsafe extern "C" {
    /// The stub of vector 0; the others follow, [`STUB`] bytes apart.
    static interrupt_stubs: u8;
}

/// The address of a vector's entry stub.
pub(super) fn stub(vector: u8) -> u64 {
    (&raw const interrupt_stubs) as u64 + u64::from(vector) * STUB
}

// 1. A vector's stub pushes a zero where the processor pushes no error code, then the vector.
// 2. interrupt_common pushes the general registers, which completes `Registers`, and calls `dispatch` with their address.
//    The processor aligned the stack to 16 bytes before it pushed; 22 words later it is aligned again.
// 3. If `dispatch` returns, everything is popped again.
global_asm!(
    r#"
    .text
    .balign {stub}
    .global interrupt_stubs
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign {stub}
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    callq {dispatch}
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq
"#,
    stub = const STUB,
    dispatch = sym dispatch,
    options(att_syntax)
);

extern "C" fn dispatch(registers: &Registers) {
    let vector = registers.vector as u8;
    if vector < 32 {
        fault::report(registers);
    }
    COUNTS[usize::from(vector)].fetch_add(1, Ordering::Release);
    local::cpu().note();
    if vector != Vector::SPURIOUS.0 {
        apic::end_of_interrupt();
    }
}
