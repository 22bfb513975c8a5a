//! Subnets for sweeps: Portico's, and the same topology by other simulators.

use std::fs;
use std::path::Path;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::interrupt::{Interrupt, Interrupted};
use crate::run::{HOST, Outcome, RunningMachine};
use crate::show::agent::Agent;
use crate::show::subnet::Subnet;
use fabric::topology::Topology;
use fabric::{self, Fabric};
use portico_qemu::launch::Plan;
use portico_qemu::launch::supervise::{self, Child};
use umad_server::Endpoint;

/// Simulator of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Simulator {
    /// Portico: a machine in QEMU, and its fabric.
    Portico,
    /// Portico's fabric alone, which also runs the logical nodes.
    Fabric,
    /// ibsim, Debian's.
    Ibsim,
}

impl Simulator {
    pub(super) const EACH: [Self; 3] = [Self::Portico, Self::Fabric, Self::Ibsim];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Portico => "Portico",
            Self::Fabric => "Portico's fabric alone",
            Self::Ibsim => "ibsim",
        }
    }
}

/// A running subnet. Dropping it ends the subnet.
pub(super) struct Site {
    socket: String,
    _parts: Parts,
}

enum Parts {
    Portico { _run: Box<RunningMachine> },
    Fabric { _fabric: Fabric },
    Ibsim { _ibsim: Ibsim },
}

/// A running ibsim. Closing its console ends it.
struct Ibsim {
    _process: Child,
    _console: ChildStdin,
    end: Receiver<ExitStatus>,
}

impl Site {
    /// Boots the machine of `plan`, and waits until all its logical nodes respond.
    ///
    /// # Errors
    /// The machine cannot be started, or exceeds the time limit.
    pub(super) fn portico(plan: Plan) -> Result<Self> {
        let socket = plan.socket.clone();
        let (sender, events) = channel();
        let mut run = RunningMachine::start(plan, sender, events)?;
        match run.wait_for_hypervisors()? {
            Outcome::Done(_) => Ok(Self { socket, _parts: Parts::Portico { _run: Box::new(run) } }),
            Outcome::Interrupted => Err(Interrupted.into()),
        }
    }

    /// Starts Portico's fabric with `topology`; `folder` is for the sockets of cables.
    ///
    /// # Errors
    /// The fabric cannot be started.
    pub(super) fn fabric(topology: &Topology, socket: String, folder: &Path) -> Result<Self> {
        let umad = Endpoint::Local(socket.clone());
        let config = fabric::Config {
            topology: topology.clone(),
            folder: folder.to_owned(),
            capture: None,
            umad,
            bridges: Vec::new(),
        };
        let fabric = Fabric::start(config).context("cannot start the fabric")?;
        Ok(Self { socket, _parts: Parts::Fabric { _fabric: fabric } })
    }

    /// Starts ibsim with `topology`; writes the netlist to `folder`.
    ///
    /// # Errors
    /// ibsim cannot be started, or exceeds the time limit.
    pub(super) fn ibsim(topology: &Topology, socket: String, folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let netlist = folder.join("netlist");
        fs::write(&netlist, topology.to_string()).with_context(|| format!("cannot write {}", netlist.display()))?;
        let mut command = supervise::command("ibsim")?;
        command
            .args(["-s", "-n"])
            .arg(netlist)
            .env("IBSIM_SOCKNAME", &socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (sender, end) = channel();
        let (process, pipes) = Child::spawn(&mut command, sender, |status| status)?;
        let console = pipes.stdin.context("cannot open the console of ibsim")?;
        let ibsim = Ibsim { _process: process, _console: console, end };
        ibsim.wait(&socket, interrupt)?;
        Ok(Self { socket, _parts: Parts::Ibsim { _ibsim: ibsim } })
    }

    /// Returns IBSIM_SOCKNAME.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// Discovers the subnet from a host.
    ///
    /// # Errors
    /// A node does not respond.
    pub(super) fn discover(&self) -> Result<Subnet> {
        let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
        Ok(Subnet::discover(&mut agent)?)
    }
}

impl Ibsim {
    /// Waits until an agent can attach: ibsim reports its start in no other way.
    fn wait(&self, socket: &str, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = Agent::attach(socket, HOST) {
            interrupt.check()?;
            if let Ok(status) = self.end.try_recv() {
                bail!("cannot start ibsim: it ended ({status})");
            }
            ensure!(start.elapsed() < TIME_LIMIT, "cannot reach ibsim after {TIME_LIMIT:?}: {error}");
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

/// Time limit of ibsim's start.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Interval between two tries to attach.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
