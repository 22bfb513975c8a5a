//! OpenSM, Debian's and unmodified, attached to the fabric by a preload library.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};

use super::find_program;
use super::leash::{self, Child};

/// Where OpenSM attaches and keeps its files.
pub struct OpenSm<'a> {
    /// IBSIM_SOCKNAME.
    pub socket: &'a str,
    /// SIM_HOST.
    pub host: &'a str,
    /// LD_PRELOAD.
    pub library: &'a Path,
    /// The run's folder. OpenSM's caches are fresh in it: LIDs of another run are none of ours.
    pub folder: &'a Path,
    /// OpenSM's log file.
    pub log: &'a Path,
    /// Whether it takes commands on standard input, and answers them in its log.
    pub console: bool,
}

impl OpenSm<'_> {
    /// Starts it. `events` gets what `line` makes of each line of its log, and at its end what `ended` makes of it. Gives
    /// its console, if it has one.
    ///
    /// # Errors
    /// It cannot be started, or its log not be written.
    pub fn start<E: Send + 'static>(
        &self,
        events: &Sender<E>,
        line: impl Fn(&str) -> Option<E> + Send + 'static,
        ended: impl FnOnce(ExitStatus) -> E + Send + 'static,
    ) -> Result<(Child, Option<ChildStdin>)> {
        let folder = self.folder.join("opensm");
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // A configuration file of our own, and empty: the one of the machine's administrator is for a real fabric.
        let config = folder.join("opensm.conf");
        let mut log = File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        File::create(&config)?;
        let program = find_program("opensm").context("there is no opensm")?;
        // The library is for OpenSM alone, so `env` sets it behind the leash.
        let mut command = leash::command("env")?;
        command
            .arg(format!("LD_PRELOAD={}", self.library.display()))
            .arg(program)
            .args(["-d2", "-f", "stdout", "-F"])
            .arg(config)
            .env("IBSIM_SOCKNAME", self.socket)
            .env("SIM_HOST", self.host)
            .env("OSM_CACHE_DIR", &folder)
            .env("OSM_TMP_DIR", &folder)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if self.console {
            command.args(["-q", "local"]).stdin(Stdio::piped());
        }
        let (child, pipes) = Child::spawn(&mut command, events.clone(), ended)?;
        let output = pipes.stdout.context("OpenSM has no output")?;
        let events = events.clone();
        thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                // A full disk must not stop the subnet manager.
                let _ = writeln!(log, "{text}");
                if let Some(event) = line(&text) {
                    let _ = events.send(event);
                }
            }
        });
        Ok((child, pipes.stdin))
    }
}
