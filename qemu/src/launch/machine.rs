//! The machine: the fabric, and for each hypervisor its HCA's memory, its HCA model and its QEMU.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use iba::{Guid, PortNum};
use partition_table::{FIRST_HCA, ImageName, stable_guid};

use super::adapter::{Adapter, Model};
use super::folder::Folder;
use super::leash::Child;
use super::opensm::OpenSm;
use super::qemu;
use super::table;
use crate::config::Config;
use crate::control;
use fabric::topology::{Kind, Node, Topology};
use fabric::{self, Fabric, LentHca};
use umad_server::Endpoint;

/// What a machine is made from.
pub struct Plan {
    /// The physical fabric, its hypervisors marked.
    pub topology: Topology,
    /// What the hypervisors lend.
    pub config: Config,
    /// Processors of each hypervisor.
    pub cpus: u8,
    /// As QEMU takes it.
    pub memory: String,
    /// IBSIM_SOCKNAME.
    pub socket: String,
    /// File for the packets on the hypervisors' cables.
    pub capture: Option<PathBuf>,
    /// Folder of the log files.
    pub logs: PathBuf,
    /// The kernel: an ELF file or a flash image.
    pub kernel: PathBuf,
    /// Whether the kernel is a flash image.
    pub flash: bool,
    /// Whether time is instructions: each takes a nanosecond, and the time-stamp counter counts them.
    pub counts_instructions: bool,
    /// The images that the hypervisors are given.
    pub images: Vec<(ImageName, PathBuf)>,
}

/// What happens to a machine.
#[derive(Debug)]
pub enum Event {
    /// The user wants it to end.
    Interrupted,
    /// A process of it ended.
    Ended(Process, ExitStatus),
    /// OpenSM says that the subnet is up.
    SubnetUp,
}

/// A process of a machine; a number is an index of its HCAs or hypervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The model of an HCA.
    Model(usize),
    /// QEMU with a hypervisor.
    Qemu(usize),
    /// OpenSM.
    OpenSm,
}

/// A running machine. Dropped, it ends with all its processes and files but the logs.
pub struct Machine {
    // Dropped from top to bottom: who uses something goes before it.
    opensm: Option<Child>,
    hypervisors: Vec<Hypervisor>,
    /// Those of the hypervisors, in the same order, then those of partitions.
    adapters: Vec<Adapter>,
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
    /// HCAs that partitions drive, as indices of the machine's.
    lent: Range<usize>,
    control: control::Server,
}

impl Machine {
    /// Starts all of it but the subnet manager. `events` is told of what happens.
    ///
    /// Call it on the main thread only: the processes end with the thread that started them.
    ///
    /// # Errors
    /// A part cannot be started.
    pub fn start(plan: Plan, events: Sender<Event>) -> Result<Self> {
        fs::create_dir_all(&plan.logs).with_context(|| format!("cannot make the folder {}", plan.logs.display()))?;
        let tables = table::of_hypervisors(&plan.topology, &plan.config)?;
        let nodes = plan.topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor);
        let hypervisors = || nodes.clone().zip(&tables);
        let folder = Folder::new()?;
        let config = fabric::Config {
            topology: plan.topology.clone(),
            folder: folder.path().to_owned(),
            capture: plan.capture.clone(),
            umad: Endpoint::Local(plan.socket.clone()),
            lent: hypervisors().flat_map(|(node, table)| lent_hcas(node, table.hcas)).collect(),
        };
        let fabric = Fabric::start(config).context("cannot start the fabric")?;
        let model = |name: &str, node_guid, ports| Model {
            name: name.to_owned(),
            node_guid,
            cables: (1..=ports).map(|port| cable::path(folder.path(), name, PortNum::new(port))).collect(),
            log: plan.logs.join(format!("{name}.model.log")),
        };
        let mut models: Vec<_> = hypervisors().map(|(node, _)| model(&node.id, node.guid, ports_of(node))).collect();
        let mut running = Vec::new();
        for (node, table) in hypervisors() {
            let place = control::Place { socket: plan.socket.clone(), hypervisor: node.id.clone() };
            let control = control::Server::start(folder.path().join(format!("control-{}", running.len())), &place)?;
            let first = models.len();
            models
                .extend(lent_hcas(node, table.hcas).map(|hca| model(&hca.name, stable_guid(&hca.name, 1), hca.ports)));
            let (guids, lent) = (table.guids.clone(), first..models.len());
            running.push(Hypervisor { node: node.clone(), guids, qemu: None, lent, control });
        }
        let paths = (0..).map(|index: usize| folder.path().join(format!("hca-{index}")));
        let adapters = models.into_iter().zip(paths).map(|(model, path)| Adapter::new(model, &path));
        let adapters = adapters.collect::<Result<_>>()?;
        let mut machine = Self { opensm: None, hypervisors: running, adapters, fabric, folder, plan, events };
        for (index, adapter) in machine.adapters.iter_mut().enumerate() {
            adapter.start(index, &machine.events)?;
        }
        for (index, table) in tables.iter().enumerate() {
            machine.start_qemu(index, &table.packed)?;
        }
        Ok(machine)
    }

    fn start_qemu(&mut self, index: usize, table: &[u8]) -> Result<()> {
        let id = &self.hypervisors[index].node.id;
        let file = self.folder.path().join(format!("table-{index}"));
        fs::write(&file, table).with_context(|| format!("cannot write {}", file.display()))?;
        let lent = self.adapters[self.hypervisors[index].lent.clone()].iter().map(Adapter::memory);
        let lent: Vec<_> = (FIRST_HCA..).zip(lent).collect();
        let command = qemu::Machine {
            kernel: &self.plan.kernel,
            flash: self.plan.flash,
            cpus: self.plan.cpus,
            memory: &self.plan.memory,
            table: &file,
            counts_instructions: self.plan.counts_instructions,
            images: &self.plan.images,
            hca: self.adapters[index].memory(),
            lent: &lent,
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
    pub fn start_opensm(&mut self, host: &str, library: &Path) -> Result<()> {
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
    pub fn ended(&mut self, process: Process, status: ExitStatus) -> Result<()> {
        let logs = self.plan.logs.display();
        match process {
            Process::Model(index) => {
                self.adapters[index].ended(status)?;
                self.adapters[index].start(index, &self.events)
            }
            Process::Qemu(index) => {
                let id = &self.hypervisors[index].node.id;
                let console = tail(&self.console(index));
                // A QEMU that does not like its arguments says so, and its machine nothing.
                let (who, said) = match console.as_str() {
                    "" => ("QEMU", tail(&self.plan.logs.join(format!("{id}.qemu.log")))),
                    _ => ("its console", console),
                };
                bail!(
                    "the machine {id} ended ({}); {who} said at last:\n{said}\nsee {logs}/{id}.*.log",
                    qemu::meaning(status),
                )
            }
            Process::OpenSm => bail!("OpenSM ended ({status}): see {logs}/opensm.log"),
        }
    }

    /// The GUIDs of the logical nodes that a subnet manager is to find.
    pub fn logical_guids(&self) -> impl Iterator<Item = Guid> {
        self.hypervisors.iter().flat_map(|hypervisor| hypervisor.guids.iter().copied())
    }

    /// Where programs can attach inside the hypervisors: the partitions that lend their ports from the boot on.
    pub fn lent_ports(&self) -> impl Iterator<Item = String> {
        let partitions = self.plan.config.partitions.iter();
        partitions.filter(|partition| partition.autostart && partition.is_bridge()).map(|it| it.name.text().to_owned())
    }

    /// The fabric outside the hypervisors.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Where the logs are.
    pub fn logs(&self) -> &Path {
        &self.plan.logs
    }

    /// What the consoles of the hypervisors said at last, for a failure's report.
    pub fn consoles(&self) -> String {
        let console = |(index, hypervisor): (usize, &Hypervisor)| {
            format!("the console of {} said at last:\n{}\n", hypervisor.node.id, tail(&self.console(index)))
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

/// The HCAs of the hypervisor `node` that partitions drive, `hcas` in number: each has as many ports as the hypervisor's.
fn lent_hcas(node: &Node, hcas: u8) -> impl Iterator<Item = LentHca> {
    (1..=hcas).map(|nth| LentHca { name: format!("{}-hca{nth}", node.id), ports: ports_of(node) })
}

fn ports_of(node: &Node) -> u8 {
    u8::try_from(node.ports.len()).unwrap_or(u8::MAX) // which no HCA has
}

/// The last lines of a log; none if it cannot be read.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
