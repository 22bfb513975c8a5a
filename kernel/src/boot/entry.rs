//! First instructions: from 32-bit protected mode without paging to Rust in long mode.
#![allow(unsafe_code)] // runs before the machine can run Rust

use core::arch::global_asm;

use crate::cpu::stack;

pvh::xen_elfnote_phys32_entry!(entry32);

unsafe extern "C" {
    /// Entry of the kernel from a PVH loader or the boot ROM: 32-bit protected mode, no paging, flat segments,
    /// EBX = address of the PVH start info, or 0 where there is none.
    fn entry32() -> !;
}

// 1. entry32: pass the boot page tables and the boot processor's target in registers to step 2.
// 2. long_mode: turn on PAE, EFER.LME and EFER.NXE, then paging with CR0.WP; load a 64-bit code segment; jump to
//    the target.
// 3. start64: the boot processor's stack, and into Rust.
//
// The boot page tables map the first 4 GiB with 1 GiB pages; the kernel's own replace them at once.
global_asm!(
    r#"
    .section .text.boot, "ax"
    .code32
    .global entry32
entry32:
    cli
    cld
    movl $boot_pml4, %eax
    movl $start64, %esi

    .global long_mode
long_mode:                      /* EAX = page tables, ESI = 64-bit target; keeps EBX, EDI */
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             /* CR4.PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx      /* EFER */
    rdmsr
    orl $0x900, %eax            /* LME, NXE */
    wrmsr
    movl $0x80010033, %eax      /* CR0: PG, WP, NE, ET, MP, PE */
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $flat64

    .code64
flat64:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    jmpq *%rsi

start64:
    leaq {stacks} + {main_top}(%rip), %rsp
    xorl %ebp, %ebp
    movl %ebx, %edi
    callq {start}
    ud2

    .section .data.boot, "aw"
    .balign 4096
boot_pml4:
    .quad boot_pdpt + 3         /* present, writable */
    .fill 511, 8, 0
boot_pdpt:
    .quad 0x00000083            /* present, writable, 1 GiB */
    .quad 0x40000083
    .quad 0x80000083
    .quad 0xc0000083
    .fill 508, 8, 0
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00209a0000000000    /* 64-bit code */
boot_gdt_pointer:
    .word 15
    .long boot_gdt
    .text
"#,
    stacks = sym stack::STACKS,
    main_top = const stack::MAIN_TOP,
    start = sym super::start,
    options(att_syntax)
);
