//! An emulated HCA: its memory, and the process that models it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use iba::Guid;

use super::event::{Event, Process};
use super::supervise::{self, Child};
use crate::ivshmem;

/// Configuration of an HCA's model.
pub(super) struct Model {
    /// Name in logs and messages.
    pub(super) name: String,
    pub(super) node_guid: Guid,
    /// Socket of the cable of each port.
    pub(super) cables: Vec<PathBuf>,
    /// File that the model appends its log to.
    pub(super) log: PathBuf,
}

/// An emulated HCA of a machine.
pub(super) struct Hca {
    model: Model,
    process: Option<Child>,
    memory: ivshmem::Server,
    started: Instant,
    /// Ends in a row within [`SHORT_RUN`] of the start.
    short_runs: u32,
}

impl Hca {
    /// Creates the memory, and serves it at the socket `path`.
    ///
    /// # Errors
    /// The socket cannot be opened, or the log cannot be written.
    pub(super) fn new(model: Model, path: &Path) -> Result<Self> {
        let memory = ivshmem::Server::start(path).context("cannot serve the memory of an HCA")?;
        fs::write(&model.log, "").with_context(|| format!("cannot write {}", model.log.display()))?;
        Ok(Self { model, process: None, memory, started: Instant::now(), short_runs: 0 })
    }

    /// Returns the socket that serves the memory.
    pub(super) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// Starts the model; `events` gets its end as that of [`Process::Model`] `index`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(super) fn start(&mut self, index: usize, events: &Sender<Event>) -> Result<()> {
        let Model { name, node_guid, cables, log } = &self.model;
        let mut command = supervise::command(std::env::current_exe()?)?;
        command.args(["model", "--name", name, "--node-guid", &node_guid.to_string(), "--ivshmem"]);
        command.arg(self.memory.path());
        for cable in cables {
            command.arg("--cable").arg(cable);
        }
        // A restarted model appends to its log.
        command.arg("--log").arg(log).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = move |status| Event::Ended(Process::Model(index), status);
        let (child, _) = Child::spawn(&mut command, events.clone(), ended)?;
        self.process = Some(child);
        self.started = Instant::now();
        Ok(())
    }

    /// Notes the end of the model, before the caller starts it again.
    ///
    /// # Errors
    /// The model ended too often soon after its start.
    pub(super) fn handle_end(&mut self, status: ExitStatus) -> Result<()> {
        let Model { name, log, .. } = &self.model;
        self.short_runs = match self.started.elapsed() {
            age if age < SHORT_RUN => self.short_runs + 1,
            _ => 0,
        };
        if self.short_runs > MAX_SHORT_RUNS {
            bail!("cannot keep the HCA model of {name} running ({status}): see {}", log.display());
        }
        eprintln!("the HCA model of {name} ended ({status}): starting it again");
        Ok(())
    }
}

/// A model that ends within this time of its start had a short run.
const SHORT_RUN: Duration = Duration::from_secs(10);

/// Short runs in a row after which the model is not started again.
const MAX_SHORT_RUNS: u32 = 5;
