//! The harness itself: each way in which a machine ends is told from the others.

use portico_kernel::kernel_test;

fn a_test_that_returns_passes() {}
kernel_test!(a_test_that_returns_passes);

fn a_failure_is_told() -> Result<(), &'static str> {
    Err("this is the reason")
}
kernel_test!(a_failure_is_told, ends: Fail, shows: "this is the reason");

fn a_panic_is_told() {
    panic!("this is the message");
}
kernel_test!(a_panic_is_told, ends: Panic, shows: "this is the message");

fn a_fault_is_told() {
    x86_64::instructions::interrupts::int3();
}
kernel_test!(a_fault_is_told, ends: Fault, shows: "Breakpoint exception");

fn a_hang_is_told() {
    loop {
        core::hint::spin_loop();
    }
}
kernel_test!(a_hang_is_told, ends: Hang, shows: "started");
