//! Console on the first serial port: log lines and the last message of a failing machine.
#![allow(unsafe_code)] // claims the serial port

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550, Uart16550Tty};

use crate::clock;

/// I/O base of the first serial port (COM1).
const COM1: u16 = 0x3f8;

type Tty = Uart16550Tty<PioBackend>;

static CONSOLE: Mutex<Option<Tty>> = Mutex::new(None);

struct Console;

/// Opens the serial port and installs the console as logger. Without a serial port log lines are discarded.
pub fn init() {
    *CONSOLE.lock() = open();
    // This runs once, so that no logger is installed before.
    let _ = log::set_logger(&Console);
    log::set_max_level(LevelFilter::Info);
}

fn open() -> Option<Tty> {
    // SAFETY: COM1 has these eight ports on every PC, and only the console uses them.
    let mut port = unsafe { Uart16550::new_port(COM1) }.ok()?;
    port.init(Config::default()).ok()?;
    Some(Tty::from_inner(port))
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata())
            && let Some(console) = CONSOLE.lock().as_mut()
        {
            let target = record.target().trim_start_matches("portico_kernel::");
            // Writing to the serial port cannot fail.
            let _ = writeln!(console, "{} {:5} {target}: {}", Stamp, record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Writes the last message of a failing machine, even if the failed code holds the console's lock.
pub(crate) fn emergency(words: fmt::Arguments<'_>) {
    for _ in 0..1_000_000 {
        if let Some(mut console) = CONSOLE.try_lock() {
            if let Some(console) = console.as_mut() {
                let _ = writeln!(console, "{Stamp} {words}");
            }
            return;
        }
        core::hint::spin_loop();
    }
    if let Some(mut console) = open() {
        let _ = writeln!(console, "\n{Stamp} {words}");
    }
}

/// Display form of the time since boot, in seconds.
struct Stamp;

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = clock::now() / 1_000;
        write!(f, "[{:5}.{:06}]", micros / 1_000_000, micros % 1_000_000)
    }
}
