//! Interrupt and exception entry.
//!
//! A handler counts its vector, sets its processor's wake flag, and signals the end of interrupt. A waiting loop
//! compares the count with the last count that it saw.
#![allow(unsafe_code)] // entry stubs

use core::arch::global_asm;

use super::registers::Registers;
use super::vector::Vector;
use super::{apic, fault, local};

/// Distance of two stubs in bytes.
const STUB: u64 = 16;

unsafe extern "C" {
    /// Stub of vector 0; the others follow, [`STUB`] bytes apart.
    static interrupt_stubs: u8;
}

/// Returns the address of a vector's entry stub.
pub(super) fn stub(vector: u8) -> u64 {
    (&raw const interrupt_stubs) as u64 + u64::from(vector) * STUB
}

// 1. A vector's stub pushes a zero where the processor pushes no error code, then the vector.
// 2. interrupt_common pushes the general registers, which completes `Registers`, and calls `dispatch` with their
//    address. The processor aligned the stack to 16 bytes before it pushed; 22 words later it is aligned again.
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
    Vector::count_one(vector);
    local::cpu().note();
    if vector != Vector::SPURIOUS.number() {
        apic::end_of_interrupt();
    }
}
