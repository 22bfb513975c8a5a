//! An HCA: its memory, and the process that models it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use iba::Guid;

use super::leash::{self, Child};
use super::machine::{Event, Process};
use crate::ivshmem;

/// A model that dies sooner than this after its start died young.
const YOUNG: Duration = Duration::from_secs(10);

/// So many models of one HCA may die young in a row before that counts as hopeless.
const MAX_YOUNG_DEATHS: u32 = 5;

/// An HCA to be modelled.
pub(super) struct Model {
    /// For logs and messages.
    pub(super) name: String,
    pub(super) node_guid: Guid,
    /// Where the cable of each of its ports is plugged in.
    pub(super) cables: Vec<PathBuf>,
    pub(super) log: PathBuf,
}

/// An HCA of a machine.
pub(super) struct Adapter {
    model: Model,
    process: Option<Child>,
    memory: ivshmem::Server,
    started: Instant,
    young_deaths: u32,
}

impl Adapter {
    /// Makes its memory, which is served at the socket `path`.
    ///
    /// # Errors
    /// The socket cannot be opened, or the log not be written.
    pub(super) fn new(model: Model, path: &Path) -> Result<Self> {
        let memory = ivshmem::Server::start(path).context("cannot serve the memory of an HCA")?;
        fs::write(&model.log, "").with_context(|| format!("cannot write {}", model.log.display()))?;
        Ok(Self { model, process: None, memory, started: Instant::now(), young_deaths: 0 })
    }

    /// Where its memory is served.
    pub(super) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// Starts its model, whose end is told as that of model `index`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&mut self, index: usize, events: &Sender<Event>) -> Result<()> {
        let Model { name, node_guid, cables, log } = &self.model;
        let mut command = leash::command(std::env::current_exe()?)?;
        command.args(["model", "--name", name, "--node-guid", &node_guid.to_string(), "--ivshmem"]);
        command.arg(self.memory.path());
        for cable in cables {
            command.arg("--cable").arg(cable);
        }
        // The model adds to its log, for it may be started again.
        command.arg("--log").arg(log).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = move |status| Event::Ended(Process::Model(index), status);
        let (child, _) = Child::spawn(&mut command, events.clone(), ended)?;
        self.process = Some(child);
        self.started = Instant::now();
        Ok(())
    }

    /// Its model ended, and is to be started again.
    ///
    /// # Errors
    /// That happened too often.
    pub(super) fn ended(&mut self, status: ExitStatus) -> Result<()> {
        let Model { name, log, .. } = &self.model;
        self.young_deaths = match self.started.elapsed() {
            age if age < YOUNG => self.young_deaths + 1,
            _ => 0,
        };
        if self.young_deaths > MAX_YOUNG_DEATHS {
            bail!("the HCA model of {name} dies again and again ({status}): see {}", log.display());
        }
        eprintln!("the HCA model of {name} ended ({status}): starting it again");
        Ok(())
    }
}
