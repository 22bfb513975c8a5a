//! First instructions after power-on of a flash image; [`rom_image`] has its layout.
#![allow(unsafe_code)] // runs before the machine can run Rust

use core::arch::global_asm;

use rom_image::{
    CODE, ENTRY, RESET_VECTOR, SEGMENT_FLASH, SEGMENT_FLASH_SIZE, SEGMENT_MEMORY, SEGMENT_MEMORY_SIZE, SEGMENT_SIZE,
    STUB_ADDRESS, STUB_SIZE,
};

// 1. At the reset vector, in real mode with the code segment at the image's end: jump to the code.
// 2. Load flat segments, turn on protected mode.
// 3. Copy each segment of the table from flash to memory, and fill its rest with zeros. Sizes are multiples of 4.
// 4. Jump to the PVH entry, with EBX = 0 for no start info.
//
// The section is not loaded: `rom_image::pack` takes it from the ELF file and fills in the table. It is linked at 0, so
// addresses are given as differences.
global_asm!(
    r#"
    .section .rom, "", @progbits
    .global rom_stub
rom_stub:
    .org {code}
    .code16
rom_16:
    cli
    cld
    lgdtl %cs:({address} & 0xffff) + rom_gdt_pointer - rom_stub
    movl %cr0, %eax
    orl $1, %eax                /* CR0.PE */
    movl %eax, %cr0
    ljmpl $8, ${address} + (rom_32 - rom_stub)
    .code32
rom_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl ${address}, %ebp
1:  movl {flash}(%ebp), %esi
    movl {memory}(%ebp), %edi
    movl {flash_size}(%ebp), %ecx
    movl {memory_size}(%ebp), %edx  /* 0 ends the table */
    testl %edx, %edx
    jz 2f
    subl %ecx, %edx
    shrl $2, %ecx
    rep movsl
    xorl %eax, %eax
    movl %edx, %ecx
    shrl $2, %ecx
    rep stosl
    addl ${segment}, %ebp
    jmp 1b
2:  xorl %ebx, %ebx
    movl ${address} + {entry}, %eax
    jmpl *(%eax)
    .balign 8
rom_gdt:
    .quad 0
    .quad 0x00cf9a000000ffff    /* flat 32-bit code */
    .quad 0x00cf92000000ffff    /* flat data */
rom_gdt_pointer:
    .word 23
    .long {address} + (rom_gdt - rom_stub)
    .org {reset_vector}
    .code16
    jmp rom_16
    .org {size}
    .text
    .code64
"#,
    address = const STUB_ADDRESS,
    code = const CODE,
    segment = const SEGMENT_SIZE,
    flash = const SEGMENT_FLASH,
    memory = const SEGMENT_MEMORY,
    flash_size = const SEGMENT_FLASH_SIZE,
    memory_size = const SEGMENT_MEMORY_SIZE,
    entry = const ENTRY,
    reset_vector = const RESET_VECTOR,
    size = const STUB_SIZE,
    options(att_syntax)
);
