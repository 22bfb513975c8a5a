//! `cargo portico run`: builds and boots the machine, and brings its subnet up.

mod running_machine;

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

pub(super) use self::running_machine::{HOST, Outcome, Patience, RunningMachine, SweepSource};
use super::{image, setup};
use portico_qemu::config::{BRIDGE, Config, Image, SUBNET_MANAGER};
use portico_qemu::launch::{Clock, Event, Kernel, Plan, table};

use crate::show::Tree;
use crate::show::progress::Step;
use crate::{images, workspace};
use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR, Kind, PortRef, Topology};
use partition_table::MAX_LHCAS;

/// Machine to run.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs of each hypervisor. `--sm partition` and `--sm bridge` add one; a logical switch takes 253 together
    /// with the spare ports
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_LHCAS)))]
    lhcas: u8,
    /// Image of the partition behind each logical HCA: a folder of partitions/ by its name, such as echo, or an ELF
    /// file by its path [default: no partitions; the hypervisor alone answers for its logical HCAs]
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Free ports of each logical switch, for `cargo portico ctl add` [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_LHCAS)))]
    spare_ports: Option<u8>,
    /// Configuration of the partitions, such as qemu/examples/portico.toml; book/src/portico-toml.md has every key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lhcas", "image", "spare_ports"])]
    config: Option<PathBuf>,
    /// Boot the hypervisor from flash, without firmware
    #[arg(long)]
    flash: bool,
    /// Processors of each hypervisor
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    cpus: u8,
    /// Memory of each hypervisor, in QEMU's notation
    #[arg(long, default_value = "256M")]
    memory: String,
    /// Physical fabric, a netlist of ibsim or ibnetdiscover; book/src/topology.md describes it [default: a switch S1,
    /// hosts H1 and H2, and the hypervisor portico-0]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Ca of the topology that is a hypervisor; may be repeated [default: portico-0]
    #[arg(long = "hypervisor", value_name = "NAME")]
    hypervisors: Vec<String>,
    /// Subnet manager [default: opensm if OpenSM is installed, else partition]
    #[arg(long, value_enum)]
    sm: Option<Sm>,
    /// Host that joins the multicast group of the image `traffic` and sends each datagram back
    #[arg(long, value_name = "HOST")]
    responder: Option<String>,
    /// Name of the sockets for umad programs (IBSIM_SOCKNAME) and for `cargo portico ctl`
    #[arg(long, value_name = "NAME", default_value = "portico")]
    socket: String,
    /// End after the subnet is up and shown
    #[arg(long)]
    once: bool,
    /// Capture file for the packets on the hypervisors' cables
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Folder of the logs [default: target/portico/SOCKET]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sm {
    /// OpenSM at the host H1
    Opensm,
    /// The image `sm` in a partition of the first hypervisor
    Partition,
    /// OpenSM at the port of the partition `bridge`, inside the first hypervisor
    Bridge,
    /// No subnet manager; attach one to the fabric
    #[value(name = "none")]
    External,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let sm = options.sm();
    match sm {
        Sm::Opensm | Sm::Bridge => setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?,
        Sm::Partition | Sm::External => setup::ensure_present(&[&setup::QEMU])?,
    }
    let plan = options.plan(sm)?;
    let library = workspace::build_umad_library()?;
    let (sender, events) = channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let interrupts = sender.clone();
    thread::spawn(move || signals.forever().for_each(|_| _ = interrupts.send(Event::Interrupted)));

    let step = Step::begin(format!("boot ({})", options.describe(&plan)));
    let responder = options.responder(&plan.topology)?;
    let mut run = RunningMachine::start(plan, sender, events)?;
    if let Some(host) = responder {
        run.machine().fabric().respond(host);
    }
    match run.wait_for_hypervisors()? {
        Outcome::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Done(_) => step.done(),
    }
    for partition in run.machine().bridges().collect::<Vec<_>>() {
        if let Outcome::Interrupted = run.wait_for_port(&partition)? {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let Options { socket, .. } = options;
    println!("ready: IBSIM_SOCKNAME={socket} SIM_HOST={HOST} LD_PRELOAD={}", library.display());
    let host = match sm {
        Sm::Opensm => Some(HOST.to_owned()),
        Sm::Bridge => run.machine().bridges().next(),
        Sm::Partition | Sm::External => None,
    };
    if let Some(host) = &host {
        run.machine().start_opensm(host, &library)?;
    }
    let step = match (&host, sm) {
        (Some(host), _) => Step::begin(format!("OpenSM at {host} brings the subnet up")),
        (None, Sm::Partition) => Step::begin("the subnet manager in a partition brings the subnet up"),
        (None, _) => Step::begin("wait for a subnet manager to bring the subnet up"),
    };
    let source = if host.is_some() { SweepSource::Own } else { SweepSource::Other };
    let patience = if sm == Sm::External && !options.once { Patience::Unlimited } else { Patience::Limited };
    match run.wait_for_subnet_up(source, patience)? {
        Outcome::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Done(subnet) => {
            step.done();
            println!("{}", Tree(&subnet));
            println!("subnet up: {} nodes, {} LIDs", subnet.nodes.len(), subnet.lids());
        }
    }
    if !options.once {
        eprintln!("running; Ctrl-C ends the run");
        run.serve()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Exit code of a program that Ctrl-C ended, as shells report it.
pub(super) const INTERRUPTED: u8 = 130;

impl Options {
    /// Returns the port of the host of `--responder`.
    fn responder(&self, topology: &Topology) -> Result<Option<PortRef>> {
        let Some(name) = &self.responder else { return Ok(None) };
        let host = topology.find(name).filter(|&node| topology.nodes[node].kind == Kind::Host);
        let node = host.with_context(|| {
            format!("cannot let {name} respond: the topology has no such host; name a Ca that is not a hypervisor")
        })?;
        Ok(Some(PortRef { node, port: PortNum::new(1) }))
    }

    /// Returns the subnet manager of `--sm`, or the default.
    fn sm(&self) -> Sm {
        self.sm.unwrap_or_else(|| {
            if setup::OPENSM.is_met() {
                return Sm::Opensm;
            }
            eprintln!("OpenSM is not installed: a partition manages the subnet (--sm opensm installs OpenSM)");
            Sm::Partition
        })
    }

    fn plan(&self, sm: Sm) -> Result<Plan> {
        let mut topology = match &self.topology {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Topology::parse(&text).with_context(|| format!("cannot read the netlist {}", path.display()))?
            }
            None => Topology::parse(DEFAULT)?,
        };
        let default = [DEFAULT_HYPERVISOR.to_owned()];
        let names = if self.hypervisors.is_empty() { &default[..] } else { &self.hypervisors };
        for name in names {
            topology.set_hypervisor(name)?;
        }
        if topology.find(HOST).is_none() {
            bail!("cannot attach a subnet manager: the topology has no host {HOST}; rename a host to {HOST}");
        }
        let logs = match &self.log_dir {
            Some(dir) => dir.clone(),
            None => workspace::target_dir()?.join("portico").join(&self.socket),
        };
        let config = self.config(&topology, sm)?;
        // The machine creates the tables again at its start; a mistake must show before the build.
        table::of_hypervisors(&topology, &config)?;
        let elf = workspace::build_kernel()?;
        let kernel = if self.flash { Kernel::Flash(image::pack(&elf, None)?) } else { Kernel::Elf(elf) };
        Ok(Plan {
            images: images::of(&config)?,
            topology,
            config,
            cpus: self.cpus,
            memory: self.memory.clone(),
            socket: self.socket.clone(),
            capture: self.pcap.clone(),
            logs: std::path::absolute(logs)?,
            clock: Clock::Host,
            kernel,
        })
    }

    fn config(&self, topology: &Topology, sm: Sm) -> Result<Config> {
        let mut config = self.partitions(topology)?;
        match sm {
            Sm::Partition => config.add_manager(SUBNET_MANAGER)?,
            Sm::Bridge => config.add_manager(BRIDGE)?,
            Sm::Opensm | Sm::External => {}
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
