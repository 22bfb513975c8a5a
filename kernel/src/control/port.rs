//! The control channel's serial port, driven by its interrupt.
#![allow(unsafe_code)] // claims the serial port

use alloc::collections::VecDeque;
use core::fmt::{self, Write};

use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{Config, Uart16550};

use super::{Line, LineBuffer};
use crate::cpu::interrupts::Vector;
use crate::cpu::{Cpu, ioapic};

/// The second serial port (COM2), and its interrupt line.
const COM2: u16 = 0x2f8;
const IRQ: u8 = 3;

/// Bytes that may wait for the host to read them: what there is to tell of 253 LHCAs with two ports each.
const QUEUE: usize = 128 << 10;

/// Bytes that are sent in one turn. Each of them leaves the virtual machine, and the fabric waits meanwhile.
const BURST: usize = 256;

/// The control channel. [`Vector::CONTROL`] is raised when there is something to do for it.
#[derive(Debug)]
pub struct Control {
    port: Uart16550<PioBackend>,
    input: LineBuffer,
    output: VecDeque<u8>,
}

impl Control {
    /// Takes the serial port, where there is one, and lets its interrupts come to `cpu`.
    #[must_use]
    pub fn open(cpu: &Cpu) -> Option<Self> {
        // SAFETY: COM2 has these eight ports on every PC, and only the control channel uses them.
        let mut port = unsafe { Uart16550::new_port(COM2) }.ok()?;
        port.init(Config { fifo_trigger_level: Some(FifoTriggerLevel::One), ..Config::default() }).ok()?;
        ioapic::route(IRQ, Vector::CONTROL, cpu);
        port.enable_interrupts(IER::DATA_READY);
        Some(Self { port, input: LineBuffer::default(), output: VecDeque::with_capacity(QUEUE) })
    }

    /// The next line that came, if one is whole; never waits. To be called until it gives none, after each interrupt.
    pub fn line(&mut self) -> Option<Line> {
        // The interrupt is told by a rising edge, so that nothing may be left for which it was raised.
        while let Ok(byte) = self.port.try_receive_byte() {
            if let Some(line) = self.input.push(byte) {
                return Some(line);
            }
        }
        None
    }

    /// Sends some of what was said; never waits. Whether there is more that the port would take at once: if not, an interrupt
    /// tells when it does.
    pub fn send(&mut self) -> bool {
        let mut left = BURST;
        while !self.output.is_empty() {
            let waiting = self.output.as_slices().0;
            let sent = self.port.send_bytes(&waiting[..waiting.len().min(left)]);
            self.output.drain(..sent);
            left -= sent;
            if left == 0 {
                return !self.output.is_empty();
            }
            if sent == 0 {
                self.port.enable_interrupts(IER::THR_EMPTY);
                return false;
            }
        }
        self.port.disable_interrupts(IER::THR_EMPTY);
        false
    }
}

/// Says something to the host, which [`Control::send`] sends; never waits. What finds no room, because the host does not read, is an error.
impl Write for Control {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.output.len() + text.len() > QUEUE {
            return Err(fmt::Error);
        }
        self.output.extend(text.as_bytes());
        Ok(())
    }
}
