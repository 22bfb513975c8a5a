//! A sweep of OpenSM, timed and counted by OpenSM itself.
//!
//! It says in its log, to the microsecond, when it begins to discover the subnet and when the subnet is up; and at its
//! console, how many SMPs it sent.

use std::io::Write;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Interrupt;
use crate::run::HOST;
use portico_qemu::launch::opensm::OpenSm;

/// How long a sweep may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether the user wants the run to end.
const LOOK: Duration = Duration::from_millis(100);

/// A first sweep of a subnet that no manager has touched yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    /// From the begin of the discovery until the subnet is up.
    pub(super) time: Duration,
    /// SMPs that OpenSM sent.
    pub(super) smps: u32,
}

/// What OpenSM does.
enum Event {
    Said(String),
    Ended(ExitStatus),
}

/// Has OpenSM sweep the subnet at `socket` once, through the preload library `library`, and ends it. Its files go into
/// `folder`.
///
/// # Errors
/// It cannot be started, ends, or does not bring the subnet up.
pub(super) fn sweep(socket: &str, library: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Sweep> {
    let log = folder.join("opensm.log");
    let opensm = OpenSm { socket, host: HOST, library, folder, log: &log, console: true };
    let (sender, events) = channel();
    let (_opensm, console) = opensm.start(&sender, |line| Some(Event::Said(line.to_owned())), Event::Ended)?;
    let mut console = console.context("OpenSM has no console")?;
    let mut transcript = Transcript::default();
    let deadline = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        interrupt.check()?;
        match events.recv_timeout(LOOK) {
            Ok(Event::Said(line)) => transcript.read(line),
            Ok(Event::Ended(status)) => bail!("OpenSM ended ({status}), saying:\n{}", transcript.lines.join("\n")),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => bail!("OpenSM has no sweep done after {PATIENCE:?}, and says:\n{}", transcript.lines.join("\n")),
        }
        if let Some(sweep) = transcript.sweep() {
            return Ok(sweep);
        }
        if transcript.up.is_some() && !asked {
            console.write_all(b"status\n").context("cannot ask OpenSM for its status")?;
            asked = true;
        }
    }
}

/// What OpenSM has said.
#[derive(Debug, Default)]
struct Transcript {
    began: Option<Duration>,
    up: Option<Duration>,
    smps: Option<u32>,
    lines: Vec<String>,
}

impl Transcript {
    fn read(&mut self, line: String) {
        if let Some((time, text)) = stamped(&line) {
            match text {
                "Entering DISCOVERING state" => self.began = self.began.or(Some(time)),
                "SUBNET UP" => self.up = self.up.or(Some(time)),
                _ => {}
            }
        } else if let Some(("QP0 MADs sent", number)) = line.split_once(':').map(|(name, n)| (name.trim(), n.trim())) {
            self.smps = number.parse().ok();
        }
        self.lines.push(line);
    }

    /// The sweep, once all of it is known.
    fn sweep(&self) -> Option<Sweep> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let (began, up) = (self.began?, self.up?);
        // The clock may pass midnight.
        let time = up.checked_sub(began).unwrap_or(up + DAY.saturating_sub(began));
        Some(Sweep { time, smps: self.smps? })
    }
}

/// Time of day and text of a line of the log: `Nov 22 15:15:46 889921 [1E7DE740] 0x80 -> text`, perhaps behind the
/// console's prompt. `None` if it is no such line.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        lines.iter().for_each(|line| transcript.read((*line).to_owned()));
        transcript
    }

    #[test]
    fn a_sweep_lasts_from_discovery_to_subnet_up() {
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
    fn a_sweep_may_pass_midnight() {
        let transcript = transcript(&[
            "Dec 31 23:59:59 900000 [1E7DE740] 0x80 -> Entering DISCOVERING state",
            "Jan 01 00:00:00 100000 [1B7D76C0] 0x02 -> SUBNET UP",
            "   QP0 MADs sent                  : 47",
        ]);
        assert_eq!(transcript.sweep().unwrap().time, Duration::from_millis(200));
    }

    #[test]
    fn only_the_first_sweep_counts() {
        let transcript = transcript(&[
            "Nov 22 10:00:00 000000 [1] 0x80 -> Entering DISCOVERING state",
            "Nov 22 10:00:01 000000 [1] 0x02 -> SUBNET UP",
            "Nov 22 10:00:09 000000 [1] 0x02 -> SUBNET UP",
            "   QP0 MADs sent : 1",
        ]);
        assert_eq!(transcript.sweep().unwrap().time, Duration::from_secs(1));
    }

    #[test]
    fn what_has_no_stamp_is_no_line_of_the_log() {
        for line in ["", " -> ", "a [b -> c", "1:2 3 [4] -> c", "OpenSM $ status"] {
            assert_eq!(stamped(line), None, "{line}");
        }
    }
}
