//! Tests of the harness: it distinguishes each end of a machine.

use portico_kernel::kernel_test;

fn test_that_returns_passes() {}
kernel_test!(test_that_returns_passes);

fn error_is_a_failure() -> Result<(), &'static str> {
    Err("this is the reason")
}
kernel_test!(error_is_a_failure, ends: Fail, shows: "this is the reason");

fn panic_is_reported() {
    panic!("this is the message");
}
kernel_test!(panic_is_reported, ends: Panic, shows: "this is the message");

fn fault_is_reported() {
    x86_64::instructions::interrupts::int3();
}
kernel_test!(fault_is_reported, ends: Fault, shows: "Breakpoint exception");

fn hang_is_detected() {
    loop {
        core::hint::spin_loop();
    }
}
kernel_test!(hang_is_detected, ends: Hang, shows: "started");
