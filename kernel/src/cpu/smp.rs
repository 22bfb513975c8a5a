//! Start of the other processors.
#![allow(unsafe_code)] // code that begins in real mode, copied to where it begins

use core::arch::global_asm;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use spin::Once;

use super::init::init;
use super::local::MAX_CPUS;
use super::stack::{MAIN_TOP, STACKS, STRIDE};
use super::{apic, idle, local};
use crate::{clock, memory};

/// Address of the other processors' first instruction: a page below 1 MiB. The startup interrupt carries its number.
const TRAMPOLINE: u64 = 0x8000;

/// Time between reset and start of a processor, in nanoseconds.
const RESET_NS: u64 = 10_000_000;
/// Time limit for the start of all processors, in nanoseconds.
const START_NS: u64 = 5_000_000_000;

/// Number of running processors, and their job once it is set.
static ONLINE: AtomicUsize = AtomicUsize::new(1);
static JOB: Once<fn() -> !> = Once::new();

/// Input of a starting processor: its page tables and its index.
static AP_PAGE_TABLES: AtomicU32 = AtomicU32::new(0);
static AP_NEXT: AtomicU32 = AtomicU32::new(1);

unsafe extern "C" {
    static trampoline: u8;
    static trampoline_end: u8;
}

// 1. trampoline: in real mode, copied to `TRAMPOLINE`: load flat segments, turn on protected mode.
// 2. ap32: in the kernel's own text: on to long mode with the kernel's page tables, as the boot processor did.
// 3. ap64: take a number, and with it a stack; then into Rust. A processor too many halts for good.
global_asm!(
    r#"
    .section .rodata.trampoline, "a"
    .code16
trampoline:
    cli
    cld
    lgdtl %cs:trampoline_gdt_pointer - trampoline
    movl %cr0, %eax
    orl $1, %eax                /* CR0.PE */
    movl %eax, %cr0
    ljmpl $8, $ap32
    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00cf9a000000ffff    /* flat 32-bit code */
    .quad 0x00cf92000000ffff    /* flat data */
trampoline_gdt_pointer:
    .word 23
    .long {trampoline_page} + trampoline_gdt - trampoline
trampoline_end:

    .section .text.boot, "ax"
    .code32
ap32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl {page_tables}, %eax
    movl $ap64, %esi
    jmp long_mode

    .code64
ap64:
    movl $1, %eax
    lock xaddl %eax, {next}(%rip)
    cmpl ${max_cpus}, %eax
    jae 1f
    imulq ${stride}, %rax, %rcx
    leaq {stacks} + {main_top}(%rip), %rsp
    addq %rcx, %rsp
    xorl %ebp, %ebp
    movl %eax, %edi
    callq {start}
1:  cli
    hlt
    jmp 1b
    .text
"#,
    trampoline_page = const TRAMPOLINE,
    page_tables = sym AP_PAGE_TABLES,
    next = sym AP_NEXT,
    max_cpus = const MAX_CPUS,
    stride = const STRIDE,
    stacks = sym STACKS,
    main_top = const MAIN_TOP,
    start = sym ap_start,
    options(att_syntax)
);

/// Starts the other processors: `expected` in total, or [`MAX_CPUS`] if that is less.
pub(super) fn start(expected: usize) {
    let expected = expected.min(MAX_CPUS);
    if expected > 1 {
        prepare();
        apic::init_others();
        wait_until(|| false, RESET_NS);
        apic::start_others((TRAMPOLINE >> 12) as u8);
        wait_until(|| online() >= expected, START_NS);
    }
    if online() < expected {
        log::error!("cannot start all processors: {} of {expected} are up", online());
    }
    log::info!("{} processors", online());
}

fn prepare() {
    let root = memory::root();
    AP_PAGE_TABLES.store(u32::try_from(root).expect("page tables are below 4 GiB"), Ordering::Release);
    let code = &raw const trampoline;
    // SAFETY: the symbols frame the code, and its page is below 1 MiB, of which nothing is given out.
    unsafe {
        let length = (&raw const trampoline_end).offset_from_unsigned(code);
        with_exposed_provenance_mut::<u8>(TRAMPOLINE as usize).copy_from_nonoverlapping(code, length);
    }
}

fn wait_until(done: impl Fn() -> bool, limit: u64) {
    let deadline = clock::now() + limit;
    while !done() && clock::now() < deadline {
        core::hint::spin_loop();
    }
}

extern "C" fn ap_start(index: u32) -> ! {
    init(index as usize);
    apic::init();
    ONLINE.fetch_add(1, Ordering::AcqRel);
    loop {
        if let Some(job) = JOB.get() {
            job();
        }
        idle::wait();
    }
}

/// Returns the number of running processors.
#[must_use]
pub fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// Sets the job of all other processors. Calls after the first have no effect.
pub fn employ_others(job: fn() -> !) {
    JOB.call_once(|| job);
    for index in 1..online() {
        apic::wake(local::cpu_at(index).apic_id());
    }
}
