//! Tests of heap, frames and page rights.
#![allow(unsafe_code)] // accesses memory against its rights

use alloc::vec::Vec;

use portico_kernel::kernel_test;
use portico_kernel::memory::{self, PAGE};

fn heap_reuses_freed_memory() {
    let before = memory::available();
    for round in 0..100_u64 {
        let numbers: Vec<u64> = (0..10_000).map(|n| n * round).collect();
        assert_eq!(numbers.iter().sum::<u64>(), 9_999 * 5_000 * round);
    }
    assert_eq!(memory::available(), before, "the heap has its own memory");
}
kernel_test!(heap_reuses_freed_memory);

fn frame_is_zero_and_can_be_freed_once() {
    let before = memory::available();
    let range = memory::allocate(3 * PAGE, 0x20_0000).expect("memory");
    assert!(range.start.is_multiple_of(0x20_0000));
    for address in range.start..range.end {
        let byte = address as *mut u8;
        // SAFETY: this test has allocated the range.
        unsafe {
            assert_eq!(byte.read_volatile(), 0);
            byte.write_volatile(0xff);
        }
    }
    memory::free(range).expect("it is allocated");
    assert!(memory::free(range).is_err());
    assert_eq!(memory::available(), before);
}
kernel_test!(frame_is_zero_and_can_be_freed_once);

fn write_to_text_faults() {
    // SAFETY: none, the machine ends here.
    unsafe { (frame_is_zero_and_can_be_freed_once as *mut u8).write_volatile(0x90) };
}
kernel_test!(write_to_text_faults, ends: Fault, shows: "page fault, write of forbidden address");

fn write_to_constants_faults() {
    static CONSTANT: [u8; 16] = [1; 16];
    // SAFETY: none, the machine ends here.
    unsafe { CONSTANT.as_ptr().cast_mut().write_volatile(2) };
}
kernel_test!(write_to_constants_faults, ends: Fault, shows: "page fault, write of forbidden address");

fn execution_of_data_faults() {
    let code = Vec::from([0xc3_u8]); // RET
    // SAFETY: none, the machine ends here.
    unsafe { core::mem::transmute::<*const u8, fn()>(code.as_ptr())() };
}
kernel_test!(execution_of_data_faults, ends: Fault, shows: "page fault, execution of forbidden address");

fn read_near_null_faults() {
    // SAFETY: none, the machine ends here.
    unsafe { core::ptr::without_provenance::<u8>(8).read_volatile() };
}
kernel_test!(read_near_null_faults, ends: Fault, shows: "page fault, read of unmapped address 0x8");

#[expect(unconditional_recursion, reason = "until the stack overflows")]
fn overflow() -> u64 {
    core::hint::black_box(overflow()) + 1
}

fn stack_overflow_hits_the_guard_page() {
    overflow();
}
kernel_test!(stack_overflow_hits_the_guard_page, ends: Fault, shows: "page fault, write of unmapped address");
