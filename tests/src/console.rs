//! A hypervisor's console or a program's log, read line by line as it grows.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lines::Lines;

/// A console or log, followed as it grows.
#[derive(Debug)]
pub struct Console {
    process: Child,
    lines: Lines,
}

impl Console {
    /// Follows `file` from its beginning.
    pub(crate) fn follow(file: &Path) -> Self {
        let mut process = Command::new("tail")
            .args(["--lines=+1", "--follow"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Waits for the next line for which `wanted` returns `true`, and returns it.
    ///
    /// # Panics
    /// No such line arrives within [`PATIENCE`](crate::PATIENCE).
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.lines.find(wanted);
        found.unwrap_or_else(|missing| panic!("a line of the console: {missing:?}\n{}", self.lines.taken.join("\n")))
    }

    /// Waits for the next line for which `wanted` returns `true`, for `limit` at most.
    pub fn wait_within(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.lines.find_within(limit, wanted).ok()
    }

    /// Returns the lines up to and including the last line that a caller waited for.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.lines.taken
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
