//! The machine: the fabric, and for each hypervisor its HCA's memory, its HCA model and its QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use iba::{Guid, PortNum};
use partition_table::ImageName;

use super::folder::Folder;
use super::leash::{self, Child};
use super::opensm::OpenSm;
use super::{qemu, table};
use crate::config::Config;
use crate::fabric::{self, Fabric};
use crate::topology::{Kind, Node, Topology};
use crate::umad::Endpoint;
use crate::{cable, control, ivshmem};

/// A model that dies sooner than this after its start died young.
const YOUNG: Duration = Duration::from_secs(10);

/// So many models of one hypervisor may die young in a row before that counts as hopeless.
const MAX_YOUNG_DEATHS: u32 = 5;

/// What a machine is made from.
pub(crate) struct Plan {
    /// The physical fabric, its hypervisors marked.
    pub(crate) topology: Topology,
    /// What the hypervisors lend.
    pub(crate) config: Config,
    pub(crate) cpus: u8,
    /// As QEMU takes it.
    pub(crate) memory: String,
    /// IBSIM_SOCKNAME.
    pub(crate) socket: String,
    pub(crate) capture: Option<PathBuf>,
    pub(crate) logs: PathBuf,
    pub(crate) kernel: PathBuf,
    /// The images that the hypervisors are given.
    pub(crate) images: Vec<(ImageName, PathBuf)>,
}

/// What happens to a machine.
#[derive(Debug)]
pub(crate) enum Event {
    /// The user wants it to end.
    Interrupted,
    /// A process of it ended.
    Ended(Process, ExitStatus),
    /// OpenSM says that the subnet is up.
    SubnetUp,
}

/// A process of a machine; a number is an index of its hypervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Model(usize),
    Qemu(usize),
    OpenSm,
}

/// A running machine. Dropped, it ends with all its processes and files but the logs.
pub(crate) struct Machine {
    // Dropped from top to bottom: who uses something goes before it.
    opensm: Option<Child>,
    hypervisors: Vec<Hypervisor>,
    fabric: Fabric,
    folder: Folder,
    plan: Plan,
    events: Sender<Event>,
}

struct Hypervisor {
    node: Node,
    /// Nodes that a subnet manager is to find behind its port.
    guids: Vec<Guid>,
    qemu: Option<Child>,
    model: Option<Child>,
    memory: ivshmem::Server,
    control: control::Server,
    started: Instant,
    young_deaths: u32,
}

impl Machine {
    /// Starts all of it but the subnet manager. `events` is told of what happens.
    ///
    /// Call it on the main thread only: the processes end with the thread that started them.
    ///
    /// # Errors
    /// A part cannot be started.
    pub(crate) fn start(plan: Plan, events: Sender<Event>) -> Result<Self> {
        fs::create_dir_all(&plan.logs).with_context(|| format!("cannot make the folder {}", plan.logs.display()))?;
        let tables = table::of_hypervisors(&plan.topology, &plan.config)?;
        let folder = Folder::new()?;
        let config = fabric::Config {
            topology: plan.topology.clone(),
            folder: folder.path().to_owned(),
            capture: plan.capture.clone(),
            umad: Endpoint::Local(plan.socket.clone()),
            lent: Vec::new(),
        };
        let fabric = Fabric::start(config).context("cannot start the fabric")?;
        let nodes = plan.topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor);
        let mut hypervisors = Vec::new();
        for (node, table) in nodes.zip(&tables) {
            let path = folder.path().join(format!("hca-{}", hypervisors.len()));
            let memory = ivshmem::Server::start(&path).context("cannot serve the memory of an HCA")?;
            let place = control::Place { socket: plan.socket.clone(), hypervisor: node.id.clone() };
            let control = control::Server::start(folder.path().join(format!("control-{}", hypervisors.len())), &place)?;
            let log = plan.logs.join(format!("{}.model.log", node.id));
            fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
            hypervisors.push(Hypervisor {
                node: node.clone(),
                guids: table.guids.clone(),
                qemu: None,
                model: None,
                memory,
                control,
                started: Instant::now(),
                young_deaths: 0,
            });
        }
        let mut machine = Self { opensm: None, hypervisors, fabric, folder, plan, events };
        for (index, table) in tables.iter().enumerate() {
            machine.start_model(index)?;
            machine.start_qemu(index, &table.packed)?;
        }
        Ok(machine)
    }

    fn start_model(&mut self, index: usize) -> Result<()> {
        let hypervisor = &mut self.hypervisors[index];
        let node = &hypervisor.node;
        let mut command = leash::command(std::env::current_exe()?)?;
        command.args(["model", "--name", &node.id, "--node-guid", &node.guid.to_string(), "--ivshmem"]);
        command.arg(hypervisor.memory.path());
        for port in (1..).map(PortNum::new).take(node.ports.len()) {
            command.arg("--cable").arg(cable::path(self.folder.path(), &node.id, port));
        }
        // The model adds to its log, for it may be started again.
        let log = self.plan.logs.join(format!("{}.model.log", node.id));
        command.arg("--log").arg(log).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = move |status| Event::Ended(Process::Model(index), status);
        let (child, _) = Child::spawn(&mut command, self.events.clone(), ended)?;
        hypervisor.model = Some(child);
        hypervisor.started = Instant::now();
        Ok(())
    }

    fn start_qemu(&mut self, index: usize, table: &[u8]) -> Result<()> {
        let id = &self.hypervisors[index].node.id;
        let file = self.folder.path().join(format!("table-{index}"));
        fs::write(&file, table).with_context(|| format!("cannot write {}", file.display()))?;
        let command = qemu::Machine {
            kernel: &self.plan.kernel,
            cpus: self.plan.cpus,
            memory: &self.plan.memory,
            table: &file,
            images: &self.plan.images,
            hca: self.hypervisors[index].memory.path(),
            control: self.hypervisors[index].control.path(),
            console: &self.console(index),
            log: &self.plan.logs.join(format!("{id}.qemu.log")),
        };
        let ended = move |status| Event::Ended(Process::Qemu(index), status);
        let (child, _) = Child::spawn(&mut command.command()?, self.events.clone(), ended)?;
        self.hypervisors[index].qemu = Some(child);
        Ok(())
    }

    /// Starts OpenSM at `host`, through the preload library `library`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_opensm(&mut self, host: &str, library: &Path) -> Result<()> {
        let opensm = OpenSm {
            socket: &self.plan.socket,
            host,
            library,
            folder: self.folder.path(),
            log: &self.plan.logs.join("opensm.log"),
            console: false,
        };
        let up = |line: &str| line.contains("SUBNET UP").then_some(Event::SubnetUp);
        let ended = |status| Event::Ended(Process::OpenSm, status);
        self.opensm = Some(opensm.start(&self.events, up, ended)?.0);
        Ok(())
    }

    /// Does what a process's end calls for: a model is started again, anything else ends the run.
    ///
    /// # Errors
    /// The run cannot go on: what ended, how, and where to look.
    pub(crate) fn ended(&mut self, process: Process, status: ExitStatus) -> Result<()> {
        let logs = self.plan.logs.display();
        match process {
            Process::Model(index) => {
                let hypervisor = &mut self.hypervisors[index];
                let id = hypervisor.node.id.clone();
                hypervisor.young_deaths = match hypervisor.started.elapsed() {
                    age if age < YOUNG => hypervisor.young_deaths + 1,
                    _ => 0,
                };
                if hypervisor.young_deaths > MAX_YOUNG_DEATHS {
                    bail!("the HCA model of {id} dies again and again ({status}): see {logs}/{id}.model.log");
                }
                eprintln!("the HCA model of {id} ended ({status}): starting it again");
                self.start_model(index)
            }
            Process::Qemu(index) => {
                let id = &self.hypervisors[index].node.id;
                let console = fs::read(self.console(index)).unwrap_or_default();
                bail!(
                    "the machine {id} ended ({}); its console said at last:\n{}\nsee {logs}/{id}.*.log",
                    qemu::meaning(status),
                    tail(&String::from_utf8_lossy(&console)),
                )
            }
            Process::OpenSm => bail!("OpenSM ended ({status}): see {logs}/opensm.log"),
        }
    }

    /// The GUIDs of the logical nodes that a subnet manager is to find.
    pub(crate) fn logical_guids(&self) -> impl Iterator<Item = Guid> {
        self.hypervisors.iter().flat_map(|hypervisor| hypervisor.guids.iter().copied())
    }

    /// The fabric outside the hypervisors.
    pub(crate) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Where the logs are.
    pub(crate) fn logs(&self) -> &Path {
        &self.plan.logs
    }

    /// What the consoles of the hypervisors said at last, for a failure's report.
    pub(crate) fn consoles(&self) -> String {
        let console = |(index, hypervisor): (usize, &Hypervisor)| {
            let text = fs::read(self.console(index)).unwrap_or_default();
            format!("the console of {} said at last:\n{}\n", hypervisor.node.id, tail(&String::from_utf8_lossy(&text)))
        };
        self.hypervisors.iter().enumerate().map(console).collect()
    }

    fn console(&self, index: usize) -> PathBuf {
        self.plan.logs.join(format!("{}.console.log", self.hypervisors[index].node.id))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The subnet manager may say goodbye to the fabric; the others are simply switched off.
        if let Some(opensm) = self.opensm.take() {
            opensm.end(Duration::from_secs(3));
        }
    }
}

/// The last lines of a log.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
