//! A program's output, line by line as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what ought to happen, before it fails. Generous: the machine may be busy with others.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// What a program says on one of its outputs, until it and all that share the output have ended.
#[derive(Debug)]
pub(crate) struct Lines {
    incoming: Receiver<String>,
    /// All that was taken so far.
    pub(crate) taken: Vec<String>,
}

/// Why a line did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Not in time.
    Late,
    /// The output ended.
    Ended,
}

impl Lines {
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

    /// Takes lines until one is `wanted`, for [`PATIENCE`] at most.
    pub(crate) fn find(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, Missing> {
        self.find_within(PATIENCE, wanted)
    }

    /// Takes lines until one is `wanted`, for `limit` at most.
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
