//! A sweep of OpenSM, timed and counted by OpenSM itself.
//!
//! The log of OpenSM has the times of the start of discovery and of the subnet's being up, in microseconds; its console
//! has the number of SMPs sent.

use std::io::Write;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::interrupt::Interrupt;
use crate::run::HOST;
use portico_qemu::launch::opensm::{Console, OpenSm};

/// A first sweep of a subnet that no subnet manager has configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Time from the start of discovery until the subnet is up.
    pub(super) time: Duration,
    /// SMPs that OpenSM sent.
    pub(super) smps: u32,
}

/// An event of OpenSM.
enum Event {
    Line(String),
    Ended(ExitStatus),
}

/// Runs OpenSM for one sweep of the subnet at `socket`, through the preload library `library`, with its files in
/// `folder`.
///
/// # Errors
/// OpenSM cannot be started, ends, or exceeds the time limit.
pub(super) fn sweep(socket: &str, library: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Sweep> {
    let log = folder.join("opensm.log");
    let opensm = OpenSm { socket, host: HOST, library, folder, log: &log, console: Console::Open };
    let (sender, events) = channel();
    let (_opensm, console) = opensm.start(&sender, |line| Some(Event::Line(line.to_owned())), Event::Ended)?;
    let mut console = console.context("cannot open the console of OpenSM")?;
    let mut transcript = Transcript::default();
    let deadline = Instant::now() + TIME_LIMIT;
    let mut is_requested = false;
    loop {
        interrupt.check()?;
        match events.recv_timeout(POLL_INTERVAL) {
            Ok(Event::Line(line)) => transcript.read(line),
            Ok(Event::Ended(status)) => {
                bail!("cannot time a sweep: OpenSM ended ({status}); its output:\n{}", transcript.lines.join("\n"))
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => bail!(
                "cannot time a sweep: OpenSM is not done after {TIME_LIMIT:?}; its output:\n{}",
                transcript.lines.join("\n")
            ),
        }
        if let Some(sweep) = transcript.sweep() {
            return Ok(sweep);
        }
        if transcript.up.is_some() && !is_requested {
            console.write_all(b"status\n").context("cannot request the status of OpenSM")?;
            is_requested = true;
        }
    }
}

/// Output of OpenSM so far.
#[derive(Debug, Default)]
struct Transcript {
    started: Option<Duration>,
    up: Option<Duration>,
    smps: Option<u32>,
    lines: Vec<String>,
}

impl Transcript {
    fn read(&mut self, line: String) {
        if let Some((time, text)) = stamped(&line) {
            match text {
                "Entering DISCOVERING state" => self.started = self.started.or(Some(time)),
                "SUBNET UP" => self.up = self.up.or(Some(time)),
                _ => {}
            }
        } else if let Some(("QP0 MADs sent", number)) = line.split_once(':').map(|(name, n)| (name.trim(), n.trim())) {
            self.smps = number.parse().ok();
        }
        self.lines.push(line);
    }

    /// Returns the sweep once its times and its count are known.
    fn sweep(&self) -> Option<Sweep> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let (started, up) = (self.started?, self.up?);
        // The clock may pass midnight.
        let time = up.checked_sub(started).unwrap_or(up + DAY.saturating_sub(started));
        Some(Sweep { time, smps: self.smps? })
    }
}

/// Returns time of day and text of a line of the log: `Nov 22 15:15:46 889921 [1E7DE740] 0x80 -> text`, also behind the
/// console's prompt; `None` for any other line.
fn stamped(line: &str) -> Option<(Duration, &str)> {
    let (head, text) = line.split_once(" -> ")?;
    let (stamp, _) = head.split_once(" [")?;
    let mut words = stamp.split_whitespace().rev();
    let micros = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let time = Duration::from_secs((hours * 60 + minutes) * 60 + seconds) + Duration::from_micros(micros);
    Some((time, text.trim()))
}

/// Time limit of a sweep.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Interval between two checks for an interruption.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        lines.iter().for_each(|line| transcript.read((*line).to_owned()));
        transcript
    }

    #[test]
    fn sweep_lasts_from_discovery_to_subnet_up() {
        let mut transcript = transcript(&[
            "OpenSM 3.3.23",
            "Nov 22 15:15:46 888110 [1E7DE740] 0x02 -> osm_vendor_init: 1000 pending umads specified",
            "Nov 22 15:15:46 889921 [1E7DE740] 0x80 -> Entering DISCOVERING state",
            "OpenSM $ Nov 22 15:15:46 897893 [1B7D76C0] 0x02 -> osm_ucast_mgr_process: minhop tables configured",
            "OpenSM $ Nov 22 15:15:47 000001 [1B7D76C0] 0x02 -> SUBNET UP",
            "   QP0 MADs rcvd                  : 46",
        ]);
        assert_eq!(transcript.sweep(), None);
        transcript.read("   QP0 MADs sent                  : 47".into());
        assert_eq!(transcript.sweep(), Some(Sweep { time: Duration::from_micros(110_080), smps: 47 }));
    }

    #[test]
    fn sweep_over_midnight_has_the_right_time() {
        let transcript = transcript(&[
            "Dec 31 23:59:59 900000 [1E7DE740] 0x80 -> Entering DISCOVERING state",
            "Jan 01 00:00:00 100000 [1B7D76C0] 0x02 -> SUBNET UP",
            "   QP0 MADs sent                  : 47",
        ]);
        assert_eq!(transcript.sweep().unwrap().time, Duration::from_millis(200));
    }

    #[test]
    fn second_sweep_is_ignored() {
        let transcript = transcript(&[
            "Nov 22 10:00:00 000000 [1] 0x80 -> Entering DISCOVERING state",
            "Nov 22 10:00:01 000000 [1] 0x02 -> SUBNET UP",
            "Nov 22 10:00:09 000000 [1] 0x02 -> SUBNET UP",
            "   QP0 MADs sent : 1",
        ]);
        assert_eq!(transcript.sweep().unwrap().time, Duration::from_secs(1));
    }

    #[test]
    fn line_without_a_time_is_ignored() {
        for line in ["", " -> ", "a [b -> c", "1:2 3 [4] -> c", "OpenSM $ status"] {
            assert_eq!(stamped(line), None, "{line}");
        }
    }
}
