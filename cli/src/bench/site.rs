//! The subnets that are swept: Portico's, and the same one as others make it.

use std::fs;
use std::path::Path;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Interrupt, Interrupted};
use crate::run::{HOST, Outcome, Run};
use crate::show::agent::Agent;
use crate::show::subnet::Subnet;
use fabric::topology::Topology;
use fabric::{self, Fabric};
use portico_qemu::launch::leash::{self, Child};
use portico_qemu::launch::machine::Plan;
use umad_server::Endpoint;

/// How long ibsim may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(20);

/// Who makes the subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// The whole of Portico: a machine in QEMU, and the fabric around it.
    Portico,
    /// Portico's fabric alone, the logical nodes run by it too.
    Native,
    /// ibsim.
    Ibsim,
}

impl Maker {
    pub(super) const ALL: [Self; 3] = [Self::Portico, Self::Native, Self::Ibsim];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Portico => "Portico",
            Self::Native => "Portico's fabric alone",
            Self::Ibsim => "ibsim",
        }
    }
}

/// A subnet that is there as long as this value.
pub(super) struct Site {
    socket: String,
    /// Ends with it.
    _parts: Parts,
}

enum Parts {
    Portico { _run: Box<Run> },
    Native { _fabric: Fabric },
    Ibsim { _ibsim: Ibsim },
}

/// A running ibsim. It ends with its console.
struct Ibsim {
    _process: Child,
    _console: ChildStdin,
    end: Receiver<ExitStatus>,
}

impl Site {
    /// Boots the machine that `plan` describes, and waits until all its logical nodes answer.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub(super) fn portico(plan: Plan) -> Result<Self> {
        let socket = plan.socket.clone();
        let (sender, events) = channel();
        let mut run = Run::start(plan, sender, events)?;
        match run.wait_for_hypervisors()? {
            Outcome::Done(_) => Ok(Self { socket, _parts: Parts::Portico { _run: Box::new(run) } }),
            Outcome::Interrupted => Err(Interrupted.into()),
        }
    }

    /// Makes `topology` by Portico's fabric; `folder` is for its sockets, of which it has none here.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn native(topology: &Topology, socket: String, folder: &Path) -> Result<Self> {
        let umad = Endpoint::Local(socket.clone());
        let config = fabric::Config {
            topology: topology.clone(),
            folder: folder.to_owned(),
            capture: None,
            umad,
            lent: Vec::new(),
        };
        let fabric = Fabric::start(config).context("cannot start the fabric")?;
        Ok(Self { socket, _parts: Parts::Native { _fabric: fabric } })
    }

    /// Makes `topology` by ibsim; its netlist goes into `folder`.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub(super) fn ibsim(topology: &Topology, socket: String, folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let netlist = folder.join("netlist");
        fs::write(&netlist, topology.to_string()).with_context(|| format!("cannot write {}", netlist.display()))?;
        let mut command = leash::command("ibsim")?;
        command
            .args(["-s", "-n"])
            .arg(netlist)
            .env("IBSIM_SOCKNAME", &socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (sender, end) = channel();
        let (process, pipes) = Child::spawn(&mut command, sender, |status| status)?;
        let console = pipes.stdin.context("ibsim has no console")?;
        let ibsim = Ibsim { _process: process, _console: console, end };
        ibsim.wait(&socket, interrupt)?;
        Ok(Self { socket, _parts: Parts::Ibsim { _ibsim: ibsim } })
    }

    /// IBSIM_SOCKNAME.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// What a host sees of it.
    ///
    /// # Errors
    /// A node does not answer.
    pub(super) fn look(&self) -> Result<Subnet> {
        let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
        Ok(Subnet::look(&mut agent)?)
    }
}

impl Ibsim {
    /// Waits until somebody can attach: nothing else tells that it is up.
    fn wait(&self, socket: &str, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = Agent::attach(socket, HOST) {
            interrupt.check()?;
            if let Ok(status) = self.end.try_recv() {
                bail!("ibsim ended ({status})");
            }
            ensure!(start.elapsed() < PATIENCE, "ibsim does not answer after {PATIENCE:?}: {error}");
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
