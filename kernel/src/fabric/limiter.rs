//! Lines for the console, at a limited rate: who makes the device or the wire misbehave must not keep the machine busy
//! with telling of it.

use core::fmt;

use log::Level;
use subnet::Time;

/// Lines that may be written in one [`WINDOW`].
const LINES: u32 = 20;

/// In nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// Writes lines, and counts those that it does not write.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    window: u64,
    written: u32,
    kept_back: u64,
}

impl Limiter {
    /// A line that is part of normal life.
    pub(super) fn info(&mut self, now: Time, line: fmt::Arguments<'_>) {
        self.line(now, Level::Info, line);
    }

    /// A line about something wrong.
    pub(super) fn warn(&mut self, now: Time, line: fmt::Arguments<'_>) {
        self.line(now, Level::Warn, line);
    }

    fn line(&mut self, now: Time, level: Level, line: fmt::Arguments<'_>) {
        if !self.admit(now) {
            return;
        }
        if self.kept_back > 0 {
            log::warn!(target: "portico", "{} lines were kept back", self.kept_back);
            self.kept_back = 0;
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
            self.kept_back = self.kept_back.saturating_add(1);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_kept_back_and_counted() {
        let mut limiter = Limiter::default();
        let admitted = (0..1000).filter(|i| limiter.admit(Time(i * WINDOW / 1000))).count();
        assert_eq!((admitted, limiter.kept_back), (20, 980));
        assert!(limiter.admit(Time(WINDOW)), "the next second has lines of its own");
    }
}
