//! The console: the hypervisor's, which puts the partition's name before each line.

use core::fmt::Write;

use lhca_driver::{Lhca, Vmmcall};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Text that one hypercall takes.
const PIECE: usize = 256;

struct Console;

/// Lets [`log`] speak on the console.
pub(crate) fn start() {
    // An image has one start, and so one logger.
    let _ = log::set_logger(&Console);
    log::set_max_level(LevelFilter::Info);
}

impl Log for Console {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut pieces = Pieces(heapless::String::new());
        // The pieces always fit, and a failed call cannot be reported.
        let _ = match record.level() {
            Level::Error => writeln!(pieces, "error: {}", record.args()),
            Level::Warn => writeln!(pieces, "warning: {}", record.args()),
            _ => writeln!(pieces, "{}", record.args()),
        };
        pieces.say();
    }

    fn flush(&self) {}
}

/// Text on its way, gathered because each piece costs a hypercall.
struct Pieces(heapless::String<PIECE>);

impl Pieces {
    fn say(&mut self) {
        if let Ok(lhca) = Lhca::probe(Vmmcall) {
            let _ = lhca.console(&self.0);
        }
        self.0.clear();
    }
}

impl Write for Pieces {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            if self.0.push(character).is_err() {
                self.say();
                let _ = self.0.push(character);
            }
        }
        Ok(())
    }
}
