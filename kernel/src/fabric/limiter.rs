//! Console lines at a limited rate: a misbehaving device or wire must not keep the machine busy with logging.

use core::fmt;

use log::Level;
use subnet::Time;

/// Number of lines written in one [`WINDOW`] at most.
const LINES: u32 = 20;

/// Length of a window in nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// Writes lines to the console, and counts those over the limit.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    window: u64,
    written: u32,
    suppressed: u64,
}

impl Limiter {
    /// Writes a line about normal operation.
    pub(super) fn info(&mut self, now: Time, line: fmt::Arguments<'_>) {
        self.line(now, Level::Info, line);
    }

    /// Writes a line about a fault.
    pub(super) fn warn(&mut self, now: Time, line: fmt::Arguments<'_>) {
        self.line(now, Level::Warn, line);
    }

    fn line(&mut self, now: Time, level: Level, line: fmt::Arguments<'_>) {
        if !self.admit(now) {
            return;
        }
        if self.suppressed > 0 {
            log::warn!(target: "portico", "{} lines were suppressed", self.suppressed);
            self.suppressed = 0;
        }
        log::log!(target: "portico", level, "{line}");
    }

    fn admit(&mut self, now: Time) -> bool {
        if self.window != now.0 / WINDOW {
            self.window = now.0 / WINDOW;
            self.written = 0;
        }
        let admitted = self.written < LINES;
        if admitted {
            self.written += 1;
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_suppressed_and_counted() {
        let mut limiter = Limiter::default();
        let admitted = (0..1000).filter(|i| limiter.admit(Time(i * WINDOW / 1000))).count();
        assert_eq!((admitted, limiter.suppressed), (20, 980));
        assert!(limiter.admit(Time(WINDOW)), "the limit holds for one window");
    }
}
