//! `cargo portico run`: the machine, from nothing to a subnet that is up.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use iba::attr::PortState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::setup;
use crate::launch::machine::{Event, Machine, Plan};
use crate::launch::workspace;
use crate::show::Tree;
use crate::show::agent::Agent;
use crate::show::progress::Step;
use crate::show::subnet::Subnet;
use crate::topology::{DEFAULT, DEFAULT_HYPERVISOR, Kind, Topology};

/// The machine to run.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs behind each hypervisor's port
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=253))]
    lhcas: u8,
    /// Processors of each hypervisor
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    cpus: u8,
    /// Memory of each hypervisor, as QEMU takes it
    #[arg(long, default_value = "256M")]
    memory: String,
    /// The physical fabric, in ibsim's netlist format or as ibnetdiscover prints it [default: a switch S1, hosts H1
    /// and H2, and the hypervisor portico-0]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Which Ca of the topology is a Portico machine; may be repeated [default: portico-0]
    #[arg(long = "hypervisor", value_name = "NAME")]
    hypervisors: Vec<String>,
    /// The subnet manager, at H1
    #[arg(long, value_enum, default_value_t = Sm::Opensm)]
    sm: Sm,
    /// IBSIM_SOCKNAME, at which umad programs attach
    #[arg(long, value_name = "NAME", default_value = "portico")]
    socket: String,
    /// End once the subnet is up and shown
    #[arg(long)]
    once: bool,
    /// Capture every packet on the hypervisors' cables
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Where the logs go [default: under target/portico/]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sm {
    /// OpenSM, as Debian packages it
    Opensm,
    /// None: attach one yourself
    None,
}

/// Where OpenSM, and a tool that is not told otherwise, attaches.
const HOST: &str = "H1";

/// How often the fabric is looked at while something is waited for that sends no event.
const LOOK: Duration = Duration::from_millis(100);

/// What it takes at most until the hypervisors or the subnet manager are done; and more for each LHCA.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_PER_LHCA: Duration = Duration::from_millis(500);

/// How a wait ended that did not fail.
enum Outcome<T> {
    Done(T),
    Interrupted,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match options.sm {
        Sm::Opensm => setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?,
        Sm::None => setup::ensure_present(&[&setup::QEMU])?,
    }
    let plan = options.plan()?;
    let library = workspace::build_umad_library()?;
    let (sender, events) = channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let interrupts = sender.clone();
    thread::spawn(move || signals.forever().for_each(|_| _ = interrupts.send(Event::Interrupted)));

    let step = Step::begin(format!("boot ({})", options.describe(&plan)));
    let patience = PATIENCE + PATIENCE_PER_LHCA * u32::from(options.lhcas);
    let mut run = Run { machine: Machine::start(plan, sender)?, events, options, patience };
    match run.wait_for_hypervisors()? {
        Outcome::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Done(()) => step.done(),
    }
    let Options { socket, .. } = options;
    println!("ready: IBSIM_SOCKNAME={socket} SIM_HOST={HOST} LD_PRELOAD={}", library.display());
    let step = match options.sm {
        Sm::Opensm => {
            run.machine.start_opensm(HOST, &library)?;
            Step::begin("OpenSM brings the subnet up")
        }
        Sm::None => Step::begin("wait for a subnet manager to bring the subnet up"),
    };
    match run.wait_for_subnet_up()? {
        Outcome::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Done(subnet) => {
            step.done();
            println!("{}", Tree(&subnet));
            println!("subnet up: {} nodes, {} LIDs", subnet.nodes.len(), subnet.lids());
        }
    }
    if !options.once {
        eprintln!("Ctrl-C ends it.");
        run.stay()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit code with which a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl Options {
    fn plan(&self) -> Result<Plan> {
        let text = match &self.topology {
            Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => DEFAULT.to_owned(),
        };
        let mut topology = Topology::parse(&text).context("the topology is no netlist")?;
        let default = [DEFAULT_HYPERVISOR.to_owned()];
        let names = if self.hypervisors.is_empty() { &default[..] } else { &self.hypervisors };
        for name in names {
            topology.set_hypervisor(name)?;
        }
        if topology.find(HOST).is_none() {
            bail!("the topology has no host {HOST}, where the subnet manager and the tools attach: name one so");
        }
        let logs = match &self.log_dir {
            Some(dir) => dir.clone(),
            None => workspace::target_dir()?.join("portico").join(&self.socket),
        };
        Ok(Plan {
            topology,
            lhcas: self.lhcas,
            cpus: self.cpus,
            memory: self.memory.clone(),
            socket: self.socket.clone(),
            capture: self.pcap.clone(),
            logs: std::path::absolute(logs)?,
            kernel: workspace::build_kernel()?,
        })
    }

    fn describe(&self, plan: &Plan) -> String {
        let hypervisors = plan.topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor);
        let names: Vec<_> = hypervisors.map(|node| node.id.as_str()).collect();
        format!("{}; LHCAs: {}, processors: {}", names.join(", "), self.lhcas, self.cpus)
    }
}

/// A run under way.
struct Run<'a> {
    machine: Machine,
    events: Receiver<Event>,
    options: &'a Options,
    patience: Duration,
}

impl Run<'_> {
    /// Waits until the hypervisors answer for all their logical nodes, as a peer sees it.
    fn wait_for_hypervisors(&mut self) -> Result<Outcome<()>> {
        let deadline = Instant::now() + self.patience;
        let mut agent = Agent::attach(&self.options.socket, HOST).context("cannot attach to the fabric")?;
        loop {
            let missing: HashSet<_> = match Subnet::look(&mut agent) {
                Ok(subnet) => {
                    let found: HashSet<_> = subnet.nodes.iter().map(|node| node.info.node_guid).collect();
                    self.machine.logical_guids().filter(|guid| !found.contains(guid)).collect()
                }
                Err(error) if Instant::now() > deadline => return Err(error).context("the fabric cannot be looked at"),
                Err(_) => self.machine.logical_guids().collect(),
            };
            if missing.is_empty() {
                return Ok(Outcome::Done(()));
            }
            if Instant::now() > deadline {
                bail!(
                    "{} of {} logical nodes do not answer after {:?}\n{}",
                    missing.len(),
                    self.machine.logical_guids().count(),
                    self.patience,
                    self.machine.consoles()
                );
            }
            match self.next_event(LOOK)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp | Event::Ended(..)) | None => {}
            }
        }
    }

    /// Waits until the subnet manager says that it is done, and all ports are Active as a peer sees them.
    fn wait_for_subnet_up(&mut self) -> Result<Outcome<Subnet>> {
        let deadline = Instant::now() + self.patience;
        let own_sm = self.options.sm == Sm::Opensm;
        let mut inactive = Vec::new();
        loop {
            let said_up = match self.next_event(LOOK)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp) => true,
                Some(Event::Ended(..)) => false,
                // A manager that somebody else attached says nothing to us.
                None => !own_sm && self.hosts_are_active(),
            };
            if said_up || !inactive.is_empty() {
                let mut agent = Agent::attach(&self.options.socket, HOST).context("cannot attach to the fabric")?;
                let subnet = Subnet::look(&mut agent)?;
                inactive = subnet
                    .inactive_ports()
                    .map(|(node, port)| format!("{} {}", node.description, port.number))
                    .collect();
                if inactive.is_empty() {
                    return Ok(Outcome::Done(subnet));
                }
            }
            if own_sm && Instant::now() > deadline {
                bail!(
                    "OpenSM has not brought the subnet up after {:?}; not Active: {}\nsee {}/opensm.log\n{}",
                    self.patience,
                    if inactive.is_empty() { "not known".into() } else { inactive.join(", ") },
                    self.machine.logs().display(),
                    self.machine.consoles()
                );
            }
        }
    }

    /// Looks after the machine until it is to end.
    fn stay(&mut self) -> Result<()> {
        loop {
            if let Some(Event::Interrupted) = self.next_event(Duration::MAX)? {
                return Ok(());
            }
        }
    }

    /// The next event within `patience`. The end of a process has been dealt with already.
    fn next_event(&mut self, patience: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(patience) {
            Ok(Event::Ended(process, status)) => {
                self.machine.ended(process, status)?;
                Ok(Some(Event::Ended(process, status)))
            }
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody is left to tell of events"),
        }
    }

    fn hosts_are_active(&self) -> bool {
        let Some(snapshot) = self.machine.fabric().snapshot() else { return false };
        let mut ports = snapshot.nodes.iter().flat_map(|node| &node.ports).filter(|port| port.number.get() != 0);
        ports.all(|port| matches!(port.info.port_state(), PortState::ACTIVE | PortState::DOWN))
    }
}
