//! What a hypervisor says on its console, or another program in its log.

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

    /// Waits for the next line that is `wanted`.
    ///
    /// # Panics
    /// There is none in time.
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.lines.find(wanted);
        found.unwrap_or_else(|missing| panic!("a line of the console: {missing:?}\n{}", self.lines.taken.join("\n")))
    }

    /// Waits for the next line that is `wanted`, for `limit` at most.
    pub fn wait_within(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.lines.find_within(limit, wanted).ok()
    }

    /// All that was said before the line that was waited for last.
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
