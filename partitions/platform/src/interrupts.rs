//! Interrupts and exceptions.
#![allow(unsafe_code)] // descriptor tables are what the processor trusts

use core::arch::{asm, global_asm};

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, Segment};
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::{Entry, HandlerFunc};

use crate::end::end_with;
use crate::exit;

/// Vectors below are the processor's own exceptions (APM vol. 2, 8.2).
const EXCEPTIONS: u64 = 32;
/// Bytes between the stubs of two exceptions.
const STUB: u64 = 16;

static GDT: Once<GlobalDescriptorTable> = Once::new();
static IDT: Once<[Entry<HandlerFunc>; 256]> = Once::new();

// 1. A stub for each exception, which makes the frame the same for all: those outside of the mask push no error code,
//    and then each pushes its vector.
// 2. What all of them come to: `exception`, with the frame's address. It does not return.
// 3. What all interrupts come to. That they end a HLT is all they are for.
global_asm!(
    "
    .globl platform_exceptions
    .globl platform_interrupt
    .balign 16
    platform_exceptions:
    .set vector, 0
    .rept 32
        .balign 16
        .if ((0x60227d00 >> vector) & 1) == 0
        push 0
        .endif
        .byte 0x6a, vector
        jmp 2f
        .set vector, vector + 1
    .endr
    2:  mov rdi, rsp
        and rsp, -16
        cld
        call {exception}
        ud2
    platform_interrupt:
        iretq",
    exception = sym exception,
);

unsafe extern "C" {
    static platform_exceptions: u8;
    static platform_interrupt: u8;
}

/// Stack frame of an exception, as the stubs and the processor pushed it.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
}

/// Loads the tables.
pub(crate) fn load() {
    let mut code = None;
    let gdt = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        code = Some(gdt.append(Descriptor::kernel_code_segment()));
        gdt
    });
    gdt.load();
    if let Some(code) = code {
        // SAFETY: it is the code segment of the table that was just loaded.
        unsafe { CS::set_reg(code) };
    }
    let idt = IDT.call_once(|| {
        let mut idt = [const { Entry::missing() }; 256];
        for (vector, entry) in (0..).zip(&mut idt) {
            // SAFETY: exceptions never return; an interrupt's handler changes no register and leaves by IRETQ.
            unsafe { entry.set_handler_addr(VirtAddr::new(handler(vector))) };
        }
        idt
    });
    let pointer = DescriptorTablePointer { limit: (size_of_val(idt) - 1) as u16, base: VirtAddr::from_ptr(idt) };
    // SAFETY: the table is filled in, and lives as long as the machine.
    unsafe { lidt(&pointer) }
}

fn handler(vector: u64) -> u64 {
    let address = |symbol: *const u8| symbol.addr() as u64;
    if vector < EXCEPTIONS {
        address(&raw const platform_exceptions) + vector * STUB
    } else {
        address(&raw const platform_interrupt)
    }
}

extern "C" fn exception(frame: &Frame) -> ! {
    let Frame { vector, error, rip, rsp, .. } = frame;
    log::error!("exception {vector}, error code {error:#x}, at {rip:#x}, with the stack at {rsp:#x}");
    end_with(exit::EXCEPTION)
}

/// Sleeps until there is an interrupt. One that came since interrupts were last on ends it at once.
pub(crate) fn wait() {
    // SAFETY: every vector has a handler.
    unsafe { asm!("sti", "hlt", "cli") };
}
