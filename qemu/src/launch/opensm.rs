//! Unmodified OpenSM, attached to the fabric by a preload library.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};

use super::program::find_program;
use super::supervise::{self, Child};

/// Command line and environment of OpenSM.
pub struct OpenSm<'a> {
    /// IBSIM_SOCKNAME: name of the fabric's sockets.
    pub socket: &'a str,
    /// SIM_HOST: node to attach to.
    pub host: &'a str,
    /// LD_PRELOAD: the library that connects umad programs to the fabric.
    pub library: &'a Path,
    /// Folder of the run. OpenSM's caches in it are new, so that it knows no LIDs of another run.
    pub folder: &'a Path,
    /// Log file.
    pub log: &'a Path,
    /// Console for commands.
    pub console: Console,
}

/// Console of OpenSM: commands on standard input, responses in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Standard input is empty.
    Closed,
    /// The caller writes commands.
    Open,
}

impl OpenSm<'_> {
    /// Starts OpenSM. `events` gets the value of `line` for each line of the log, and the value of `ended` at the end.
    /// Returns the process, and its console if that is open.
    ///
    /// # Errors
    /// The process cannot be started, or a file cannot be written.
    pub fn start<E: Send + 'static>(
        &self,
        events: &Sender<E>,
        line: impl Fn(&str) -> Option<E> + Send + 'static,
        ended: impl FnOnce(ExitStatus) -> E + Send + 'static,
    ) -> Result<(Child, Option<ChildStdin>)> {
        let folder = self.folder.join("opensm");
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // An empty configuration file: that of this host is for a real fabric.
        let config = folder.join("opensm.conf");
        let mut log = File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        File::create(&config)?;
        let program = find_program("opensm").context("cannot find opensm: install it, and check the PATH")?;
        // `env` sets the library after `supervise`, for OpenSM alone.
        let mut command = supervise::command("env")?;
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
        if self.console == Console::Open {
            command.args(["-q", "local"]).stdin(Stdio::piped());
        }
        let (child, pipes) = Child::spawn(&mut command, events.clone(), ended)?;
        let output = pipes.stdout.context("cannot read the output of OpenSM")?;
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
