//! The emulated machine: the fabric, and for each hypervisor its HCAs and its QEMU.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use iba::{Guid, PortNum};
use partition_table::{FIRST_HCA, stable_guid};

use super::event::{Event, Process};
use super::hca::{Hca, Model};
use super::opensm::{Console, OpenSm};
use super::plan::Plan;
use super::qemu;
use super::run_folder::RunFolder;
use super::supervise::Child;
use super::table::{self, Table};
use crate::control;
use fabric::topology::{Kind, Node};
use fabric::{self, BridgeHca, Fabric};
use umad_server::Endpoint;

/// A running machine. Dropping it ends its processes and removes its files, except the logs.
pub struct EmulatedMachine {
    // Dropped from top to bottom: a user before what it uses.
    opensm: Option<Child>,
    hypervisors: Vec<Hypervisor>,
    /// HCAs of the hypervisors, in the same order, then those for partitions.
    hcas: Vec<Hca>,
    fabric: Fabric,
    folder: RunFolder,
    plan: Plan,
    events: Sender<Event>,
}

struct Hypervisor {
    node: Node,
    /// Node GUIDs that a subnet manager finds behind its port.
    guids: Vec<Guid>,
    qemu: Option<Child>,
    /// HCAs for partitions, as indices of [`EmulatedMachine::hcas`].
    assignable: Range<usize>,
    control: control::Server,
}

impl EmulatedMachine {
    /// Starts the fabric, the models and the hypervisors; [`Self::start_opensm`] starts the subnet manager. `events`
    /// gets the events of the machine.
    ///
    /// Call it on the main thread only: the system kills the processes when the thread that started them ends.
    ///
    /// # Errors
    /// A file, a socket or a process cannot be created.
    pub fn start(plan: Plan, events: Sender<Event>) -> Result<Self> {
        fs::create_dir_all(&plan.logs).with_context(|| format!("cannot create the folder {}", plan.logs.display()))?;
        let tables = table::of_hypervisors(&plan.topology, &plan.config)?;
        let folder = RunFolder::new()?;
        let fabric = start_fabric(&plan, &tables, folder.path())?;
        let (hypervisors, models) = prepare_hypervisors(&plan, &tables, folder.path())?;
        let paths = (0..).map(|index: usize| folder.path().join(format!("hca-{index}")));
        let hcas = models.into_iter().zip(paths).map(|(model, path)| Hca::new(model, &path));
        let hcas = hcas.collect::<Result<_>>()?;
        let mut machine = Self { opensm: None, hypervisors, hcas, fabric, folder, plan, events };
        for (index, hca) in machine.hcas.iter_mut().enumerate() {
            hca.start(index, &machine.events)?;
        }
        for (index, table) in tables.iter().enumerate() {
            machine.start_qemu(index, table.packed())?;
        }
        Ok(machine)
    }

    fn start_qemu(&mut self, index: usize, table: &[u8]) -> Result<()> {
        let id = &self.hypervisors[index].node.id;
        let file = self.folder.path().join(format!("table-{index}"));
        fs::write(&file, table).with_context(|| format!("cannot write {}", file.display()))?;
        let assignable = self.hcas[self.hypervisors[index].assignable.clone()].iter().map(Hca::memory);
        let assignable: Vec<_> = (FIRST_HCA..).zip(assignable).collect();
        let command = qemu::CommandLine {
            kernel: &self.plan.kernel,
            cpus: self.plan.cpus,
            memory: &self.plan.memory,
            table: &file,
            clock: self.plan.clock,
            images: &self.plan.images,
            hca: self.hcas[index].memory(),
            assignable: &assignable,
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
    /// The process cannot be started.
    pub fn start_opensm(&mut self, host: &str, library: &Path) -> Result<()> {
        let opensm = OpenSm {
            socket: &self.plan.socket,
            host,
            library,
            folder: self.folder.path(),
            log: &self.plan.logs.join("opensm.log"),
            console: Console::Closed,
        };
        let up = |line: &str| line.contains("SUBNET UP").then_some(Event::SubnetUp);
        let ended = |status| Event::Ended(Process::OpenSm, status);
        self.opensm = Some(opensm.start(&self.events, up, ended)?.0);
        Ok(())
    }

    /// Handles the end of a process: starts a model again.
    ///
    /// # Errors
    /// The end of any other process ends the run; the error names the process, its status and its log.
    pub fn handle_end(&mut self, process: Process, status: ExitStatus) -> Result<()> {
        let logs = self.plan.logs.display();
        match process {
            Process::Model(index) => {
                self.hcas[index].handle_end(status)?;
                self.hcas[index].start(index, &self.events)
            }
            Process::Qemu(index) => {
                let id = &self.hypervisors[index].node.id;
                let console = tail(&self.console(index));
                // With an empty console QEMU itself failed, for instance at its arguments.
                let (source, output) = match console.as_str() {
                    "" => ("QEMU", tail(&self.plan.logs.join(format!("{id}.qemu.log")))),
                    _ => ("its console", console),
                };
                bail!(
                    "the machine {id} ended ({}); last lines of {source}:\n{output}\nsee {logs}/{id}.*.log",
                    qemu::meaning(status),
                )
            }
            Process::OpenSm => bail!("cannot go on without OpenSM: it ended ({status}); see {logs}/opensm.log"),
        }
    }

    /// Returns the node GUIDs of the logical nodes that a subnet manager finds.
    pub fn logical_guids(&self) -> impl Iterator<Item = Guid> {
        self.hypervisors.iter().flat_map(|hypervisor| hypervisor.guids.iter().copied())
    }

    /// Returns the names of the bridges that start at boot: programs attach to them by these.
    pub fn bridges(&self) -> impl Iterator<Item = String> {
        let partitions = self.plan.config.partitions.iter();
        partitions.filter(|partition| partition.autostart && partition.is_bridge()).map(|it| it.name.text().to_owned())
    }

    /// Returns the fabric outside the hypervisors.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Returns the folder of the logs.
    pub fn logs(&self) -> &Path {
        &self.plan.logs
    }

    /// Returns the last lines of the hypervisors' consoles, for the report of a failure.
    pub fn consoles(&self) -> String {
        let console = |(index, hypervisor): (usize, &Hypervisor)| {
            format!("last lines of the console of {}:\n{}\n", hypervisor.node.id, tail(&self.console(index)))
        };
        self.hypervisors.iter().enumerate().map(console).collect()
    }

    fn console(&self, index: usize) -> PathBuf {
        self.plan.logs.join(format!("{}.console.log", self.hypervisors[index].node.id))
    }
}

impl Drop for EmulatedMachine {
    fn drop(&mut self) {
        // The subnet manager may detach from the fabric; the others are killed.
        if let Some(opensm) = self.opensm.take() {
            opensm.end(Duration::from_secs(3));
        }
    }
}

/// Starts the fabric of `plan`, with its sockets in `folder`.
fn start_fabric(plan: &Plan, tables: &[Table], folder: &Path) -> Result<Fabric> {
    let bridges = hypervisor_nodes(plan).zip(tables).flat_map(|(node, table)| bridge_hcas(node, table.hcas()));
    let config = fabric::Config {
        topology: plan.topology.clone(),
        folder: folder.to_owned(),
        capture: plan.capture.clone(),
        umad: Endpoint::Local(plan.socket.clone()),
        bridges: bridges.collect(),
    };
    Fabric::start(config).context("cannot start the fabric")
}

/// Opens the control lines of the hypervisors; returns the hypervisors, and the models of all HCAs: first one for each
/// hypervisor, then those for partitions.
fn prepare_hypervisors(plan: &Plan, tables: &[Table], folder: &Path) -> Result<(Vec<Hypervisor>, Vec<Model>)> {
    let model = |name: &str, node_guid, ports| Model {
        name: name.to_owned(),
        node_guid,
        cables: (1..=ports).map(|port| cable::path(folder, name, PortNum::new(port))).collect(),
        log: plan.logs.join(format!("{name}.model.log")),
    };
    let mut models: Vec<_> = hypervisor_nodes(plan).map(|node| model(&node.id, node.guid, ports_of(node))).collect();
    let mut hypervisors = Vec::new();
    for (index, (node, table)) in hypervisor_nodes(plan).zip(tables).enumerate() {
        let place = control::Place { socket: plan.socket.clone(), hypervisor: node.id.clone() };
        let control = control::Server::start(folder.join(format!("control-{index}")), &place)?;
        let first = models.len();
        models
            .extend(bridge_hcas(node, table.hcas()).map(|hca| model(&hca.name, stable_guid(&hca.name, 1), hca.ports)));
        let (guids, assignable) = (table.guids().to_vec(), first..models.len());
        hypervisors.push(Hypervisor { node: node.clone(), guids, qemu: None, assignable, control });
    }
    Ok((hypervisors, models))
}

fn hypervisor_nodes(plan: &Plan) -> impl Iterator<Item = &Node> {
    plan.topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor)
}

/// Returns the `hcas` HCAs for bridges of the hypervisor `node`; each has as many ports as the hypervisor's own.
fn bridge_hcas(node: &Node, hcas: u8) -> impl Iterator<Item = BridgeHca> {
    (1..=hcas).map(|nth| BridgeHca { name: format!("{}-hca{nth}", node.id), ports: ports_of(node) })
}

fn ports_of(node: &Node) -> u8 {
    u8::try_from(node.ports.len()).unwrap_or(u8::MAX) // refused: no HCA has so many
}

/// Returns the last 20 lines of a log; none if it cannot be read.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
