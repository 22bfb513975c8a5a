//! Interrupt-driven serial port of the control line.
#![allow(unsafe_code)] // claims the serial port

use alloc::collections::VecDeque;
use core::fmt::{self, Write};

use control_protocol::{Line, LineBuffer};
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{Config, Uart16550};

use crate::cpu::Vector;
use crate::cpu::{Cpu, ioapic};

/// The second serial port (COM2), and its interrupt line.
const COM2: u16 = 0x2f8;
const IRQ: u8 = 3;

/// Capacity of the output queue in bytes: the answer to `list` for 253 LHCAs with two ports each.
const QUEUE: usize = 128 << 10;

/// Number of bytes sent in one turn of the event loop. Each byte costs a VM exit, and the fabric waits meanwhile.
const BURST: usize = 256;

/// Driver of the control line's serial port. The port raises [`Vector::CONTROL`] when it needs service.
#[derive(Debug)]
pub struct Control {
    port: Uart16550<PioBackend>,
    input: LineBuffer,
    output: VecDeque<u8>,
}

impl Control {
    /// Opens the serial port and routes its interrupts to `cpu`. Returns `None` if the machine has no second port.
    #[must_use]
    pub fn open(cpu: &Cpu) -> Option<Self> {
        // SAFETY: COM2 has these eight ports on every PC, and only the control line uses them.
        let mut port = unsafe { Uart16550::new_port(COM2) }.ok()?;
        port.init(Config { fifo_trigger_level: Some(FifoTriggerLevel::One), ..Config::default() }).ok()?;
        ioapic::route(IRQ, Vector::CONTROL, cpu);
        port.enable_interrupts(IER::DATA_READY);
        Some(Self { port, input: LineBuffer::default(), output: VecDeque::with_capacity(QUEUE) })
    }

    /// Returns the next complete line; never waits. After an interrupt the caller repeats this until it returns `None`.
    pub fn line(&mut self) -> Option<Line> {
        // The interrupt is edge-triggered: bytes left in the port would not raise it again.
        while let Ok(byte) = self.port.try_receive_byte() {
            if let Some(line) = self.input.push(byte) {
                return Some(line);
            }
        }
        None
    }

    /// Sends some queued output; never waits.
    pub fn send(&mut self) -> Output {
        let mut left = BURST;
        while !self.output.is_empty() {
            let waiting = self.output.as_slices().0;
            let sent = self.port.send_bytes(&waiting[..waiting.len().min(left)]);
            self.output.drain(..sent);
            left -= sent;
            if left == 0 {
                return if self.output.is_empty() { Output::Idle } else { Output::Pending };
            }
            if sent == 0 {
                self.port.enable_interrupts(IER::THR_EMPTY);
                return Output::Idle;
            }
        }
        self.port.disable_interrupts(IER::THR_EMPTY);
        Output::Idle
    }
}

/// State of the output after [`Control::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The port takes more at once; call again.
    Pending,
    /// The queue is empty, or an interrupt follows when the port takes more.
    Idle,
}

/// Queues output for [`Control::send`]; never waits. Fails if the queue is full because the host does not read.
impl Write for Control {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.output.len() + text.len() > QUEUE {
            return Err(fmt::Error);
        }
        self.output.extend(text.as_bytes());
        Ok(())
    }
}
