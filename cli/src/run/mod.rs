//! `cargo portico run`: the machine, from nothing to a subnet that is up.

mod wait;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use iba::PortNum;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub(super) use self::wait::{HOST, Outcome, Run};
use super::{image, setup};
use portico_qemu::config::{BRIDGE, Config, Image, SUBNET_MANAGER};
use portico_qemu::launch::machine::{Event, Plan};
use portico_qemu::launch::table;

use crate::show::Tree;
use crate::show::progress::Step;
use crate::{images, workspace};
use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR, Kind, PortRef, Topology};

/// The machine to run.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs behind each hypervisor's port; besides them `--sm partition` and `--sm bridge` add one, and 253 are all
    /// that a logical switch takes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=253))]
    lhcas: u8,
    /// What runs in a partition behind each logical HCA: `echo`, which answers ibping, or the path of an ELF file
    /// [default: there are no partitions, and the hypervisor alone answers for its logical HCAs]
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Ports of each logical switch to keep free, for `cargo portico ctl add` [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=253))]
    spare_ports: Option<u8>,
    /// The partitions and what each may do, a portico.toml, such as qemu/examples/portico.toml
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lhcas", "image", "spare_ports"])]
    config: Option<PathBuf>,
    /// Boot the hypervisor from flash, without any firmware
    #[arg(long)]
    flash: bool,
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
    /// The subnet manager [default: opensm; where OpenSM is not installed, partition]
    #[arg(long, value_enum)]
    sm: Option<Sm>,
    /// A host that takes part in what partitions with the image `traffic` exchange: it sends back what it gets
    #[arg(long, value_name = "HOST")]
    responder: Option<String>,
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
    /// OpenSM, as Debian packages it, at H1
    Opensm,
    /// A partition of the first hypervisor that runs the image `sm`
    Partition,
    /// OpenSM inside the hypervisor: it sends as the partition `bridge` does, whose port it is lent
    Bridge,
    /// None: attach one yourself
    None,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let sm = options.sm();
    match sm {
        Sm::Opensm | Sm::Bridge => setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?,
        Sm::Partition | Sm::None => setup::ensure_present(&[&setup::QEMU])?,
    }
    let plan = options.plan(sm)?;
    let library = workspace::build_umad_library()?;
    let (sender, events) = channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let interrupts = sender.clone();
    thread::spawn(move || signals.forever().for_each(|_| _ = interrupts.send(Event::Interrupted)));

    let step = Step::begin(format!("boot ({})", options.describe(&plan)));
    let responder = options.responder(&plan.topology)?;
    let mut run = Run::start(plan, sender, events)?;
    if let Some(host) = responder {
        run.machine.fabric().respond(host);
    }
    match run.wait_for_hypervisors()? {
        Outcome::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Done(_) => step.done(),
    }
    for partition in run.machine.lent_ports().collect::<Vec<_>>() {
        if let Outcome::Interrupted = run.wait_for_port(&partition)? {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let Options { socket, .. } = options;
    println!("ready: IBSIM_SOCKNAME={socket} SIM_HOST={HOST} LD_PRELOAD={}", library.display());
    let host = match sm {
        Sm::Opensm => Some(HOST.to_owned()),
        Sm::Bridge => run.machine.lent_ports().next(),
        Sm::Partition | Sm::None => None,
    };
    if let Some(host) = &host {
        run.machine.start_opensm(host, &library)?;
    }
    let step = match (&host, sm) {
        (Some(host), _) => Step::begin(format!("OpenSM at {host} brings the subnet up")),
        (None, Sm::Partition) => Step::begin("the subnet manager in a partition brings the subnet up"),
        (None, _) => Step::begin("wait for a subnet manager to bring the subnet up"),
    };
    let patiently = sm == Sm::None && !options.once;
    match run.wait_for_subnet_up(host.is_some(), patiently)? {
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
pub(super) const INTERRUPTED: u8 = 130;

impl Options {
    /// The port of the host that is to send back what it gets.
    fn responder(&self, topology: &Topology) -> Result<Option<PortRef>> {
        let Some(name) = &self.responder else { return Ok(None) };
        let host = topology.find(name).filter(|&node| topology.nodes[node].kind == Kind::Host);
        let node =
            host.with_context(|| format!("the topology has no host {name} that could send back what it gets"))?;
        Ok(Some(PortRef { node, port: PortNum::new(1) }))
    }

    /// The subnet manager that is asked for; if none is, one that there is.
    fn sm(&self) -> Sm {
        self.sm.unwrap_or_else(|| {
            if setup::OPENSM.is_met() {
                return Sm::Opensm;
            }
            eprintln!("OpenSM is not installed here: a partition manages the subnet; --sm opensm installs OpenSM.");
            Sm::Partition
        })
    }

    fn plan(&self, sm: Sm) -> Result<Plan> {
        let mut topology = match &self.topology {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Topology::parse(&text).with_context(|| format!("{} is no netlist", path.display()))?
            }
            None => Topology::parse(DEFAULT)?,
        };
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
        let config = self.config(&topology, sm)?;
        // It is made when the machine starts; what is wrong with it is to be known before anything is built.
        table::of_hypervisors(&topology, &config)?;
        let elf = workspace::build_kernel()?;
        let kernel = if self.flash { image::pack(&elf, None)? } else { elf };
        Ok(Plan {
            images: images::of(&config)?,
            topology,
            config,
            cpus: self.cpus,
            memory: self.memory.clone(),
            socket: self.socket.clone(),
            capture: self.pcap.clone(),
            logs: std::path::absolute(logs)?,
            flash: self.flash,
            counts_instructions: false,
            kernel,
        })
    }

    fn config(&self, topology: &Topology, sm: Sm) -> Result<Config> {
        let mut config = self.partitions(topology)?;
        match sm {
            Sm::Partition => config.add_manager(SUBNET_MANAGER)?,
            Sm::Bridge => config.add_manager(BRIDGE)?,
            Sm::Opensm | Sm::None => {}
        }
        Ok(config)
    }

    fn partitions(&self, topology: &Topology) -> Result<Config> {
        if let Some(file) = &self.config {
            return Config::read(file);
        }
        let image = self.image.as_deref().map(Image::new).transpose()?;
        let config = Config::uniform(topology, self.lhcas, image.as_ref())?;
        Ok(Config { spare_ports: self.spare_ports.unwrap_or(0), ..config })
    }

    fn describe(&self, plan: &Plan) -> String {
        let hypervisors = plan.topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor);
        let names: Vec<_> = hypervisors.map(|node| node.id.as_str()).collect();
        format!("{}; LHCAs: {}, processors: {}", names.join(", "), plan.config.partitions.len(), self.cpus)
    }
}
