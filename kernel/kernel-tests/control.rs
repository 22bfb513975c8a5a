//! Tests of the control line, with the serial port in loop-back mode.
#![allow(unsafe_code)] // writes to the serial port's registers

use core::fmt::Write;

use portico_kernel::control::{Control, Output};
use portico_kernel::cpu::Vector;
use portico_kernel::cpu::{idle, local};
use portico_kernel::kernel_test;
use x86_64::instructions::port::Port;

fn received_line_wakes_the_processor() {
    let mut control = Control::open(local::cpu()).expect("a second serial port");
    // SAFETY: only the modem control register of COM2: DTR, RTS, OUT2 and loop-back.
    unsafe { Port::new(0x2fc).write(0x1b_u8) };
    for round in 0..50 {
        writeln!(control, "port {round} down\r").expect("room");
        assert_eq!(control.send(), Output::Idle, "the port takes all of it");
        let line = loop {
            idle::wait(); // for the first byte's interrupt
            if let Some(line) = control.line() {
                break line;
            }
        };
        assert_eq!(line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()), Some(round));
    }
    assert!(Vector::CONTROL.count() > 0);
}
kernel_test!(received_line_wakes_the_processor, machine: "-serial null");

fn machine_without_a_port_has_no_control_line() {
    assert!(Control::open(local::cpu()).is_none());
}
kernel_test!(machine_without_a_port_has_no_control_line);
