//! One kernel's control line.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use control_protocol::Ending;

/// Control line of one kernel. A request waits for its answer.
#[derive(Debug)]
pub(super) struct Line {
    kernel: BufReader<UnixStream>,
    /// Answers still to come to those that gave up waiting.
    owed: u32,
    /// Part of a line that arrived before a request timed out.
    begun: Vec<u8>,
}

impl Line {
    pub(super) fn new(kernel: UnixStream, patience: Duration) -> io::Result<Self> {
        kernel.set_read_timeout(Some(patience))?;
        Ok(Self { kernel: BufReader::new(kernel), owed: 0, begun: Vec::new() })
    }

    /// Asks for `what`; the answer, its last line included.
    ///
    /// # Errors
    /// The kernel does not answer in time, or has hung up.
    pub(super) fn ask(&mut self, what: &str) -> io::Result<String> {
        while self.owed > 0 {
            self.answer()?;
            self.owed -= 1;
        }
        writeln!(self.kernel.get_mut(), "{what}")?;
        self.owed += 1;
        let answer = self.answer()?;
        self.owed -= 1;
        Ok(answer)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut answer = String::new();
        loop {
            if self.kernel.read_until(b'\n', &mut self.begun)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = std::mem::take(&mut self.begun);
            let line = String::from_utf8_lossy(&line);
            answer += &line;
            if Ending::parse(line.trim_end()).is_some() {
                return Ok(answer);
            }
        }
    }
}
