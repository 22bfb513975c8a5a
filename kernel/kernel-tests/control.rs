//! The control channel. Where the serial port hears itself, what is said comes back as a line.
#![allow(unsafe_code)] // the serial port's own loop-back

use core::fmt::Write;

use portico_kernel::control::{Control, Output};
use portico_kernel::cpu::Vector;
use portico_kernel::cpu::{idle, local};
use portico_kernel::kernel_test;
use x86_64::instructions::port::Port;

fn lines_wake_and_come_whole() {
    let mut control = Control::open(local::cpu()).expect("a second serial port");
    // SAFETY: only the modem control register of COM2: DTR, RTS, OUT2 and loop-back.
    unsafe { Port::new(0x2fc).write(0x1b_u8) };
    for round in 0..50 {
        writeln!(control, "port {round} down\r").expect("room");
        assert_eq!(control.send(), Output::Idle, "the port takes all of it");
        let line = loop {
            idle::wait(); // for the interrupt that tells of the first byte
            if let Some(line) = control.line() {
                break line;
            }
        };
        assert_eq!(line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()), Some(round));
    }
    assert!(Vector::CONTROL.count() > 0);
}
kernel_test!(lines_wake_and_come_whole, machine: "-serial null");

fn without_a_port_there_is_no_channel() {
    assert!(Control::open(local::cpu()).is_none());
}
kernel_test!(without_a_port_there_is_no_channel);
