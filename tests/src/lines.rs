//! A program's output, line by line as it arrives.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Time that a test waits for an expected event before it fails. Generous: other tests may load the host.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Lines of one output stream, until every process that holds it has ended.
#[derive(Debug)]
pub(crate) struct Lines {
    incoming: Receiver<String>,
    /// Lines taken so far.
    pub(crate) taken: Vec<String>,
}

/// Reason for which a line is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The time limit has passed.
    Late,
    /// The output has ended.
    Ended,
}

impl Lines {
    /// Reads lines from `output` in a thread.
    pub(crate) fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, incoming) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { incoming, taken: Vec::new() }
    }

    /// Takes lines until `wanted` returns `true` for one, for [`PATIENCE`] at most.
    pub(crate) fn find(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, Missing> {
        self.find_within(PATIENCE, wanted)
    }

    /// Takes lines until `wanted` returns `true` for one, for `limit` at most.
    pub(crate) fn find_within(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String, Missing> {
        let deadline = Instant::now() + limit;
        loop {
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.taken.push(line.clone());
                    if wanted(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(Missing::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Missing::Ended),
            }
        }
    }
}
