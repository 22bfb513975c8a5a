//! Time of OpenSM's first sweep.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::interrupt::Interrupt;
use super::netlist;
use super::opensm::{self, Sweep};
use super::site::{Simulator, Site};
use super::table::{compare, median};
use crate::show::progress::Step;
use crate::show::table::draw;
use crate::workspace;
use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR, Topology};
use partition_table::MAX_LHCAS;
use portico_qemu::config::Config;
use portico_qemu::launch::{Clock, Kernel, Plan, RunFolder};

/// Parameters of the benchmark.
#[derive(Args)]
pub(super) struct Options {
    /// Number of logical HCAs; may be repeated
    #[arg(long, value_name = "N", default_values_t = [16, 200, MAX_LHCAS], value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_LHCAS)))]
    lhcas: Vec<u8>,
    /// Sweeps of each simulator; the table shows the median
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Sweeps of a subnet with `lhcas` LHCAs, for each of [`Simulator::EACH`].
struct Size {
    lhcas: u8,
    sweeps: [Vec<Sweep>; Simulator::EACH.len()],
}

/// Sweeps of every size.
pub(super) struct Sweeps {
    sizes: Vec<Size>,
    rounds: u8,
}

/// Measures the sweeps.
///
/// # Errors
/// A simulator cannot be started, or OpenSM does not bring the subnet up.
pub(super) fn measure(options: &Options, interrupt: &Interrupt) -> Result<Sweeps> {
    let rounds = options.rounds;
    let environment = Environment {
        folder: RunFolder::new()?,
        kernel: workspace::build_kernel()?,
        library: stock_library()?,
        interrupt,
    };
    let sizes = options.lhcas.iter().map(|&lhcas| environment.measure(lhcas, rounds)).collect::<Result<_>>()?;
    Ok(Sweeps { sizes, rounds })
}

/// Files and options that the sweeps share.
struct Environment<'a> {
    folder: RunFolder,
    kernel: PathBuf,
    library: PathBuf,
    interrupt: &'a Interrupt,
}

impl Environment<'_> {
    fn measure(&self, lhcas: u8, rounds: u8) -> Result<Size> {
        let step = Step::begin(format!("OpenSM sweeps {lhcas} LHCAs, {rounds} times each"));
        let topology = netlist::of(&Site::portico(self.plan(lhcas)?)?.discover()?);
        let mut sweeps = Simulator::EACH.map(|_| Vec::new());
        for round in 1..=rounds {
            for (simulator, sweeps) in Simulator::EACH.into_iter().zip(&mut sweeps) {
                step.note(&format!("round {round}: {}", simulator.name()));
                let sweep = self.sweep(simulator, lhcas, &topology);
                sweeps.push(sweep.with_context(|| format!("cannot sweep {lhcas} LHCAs of {}", simulator.name()))?);
            }
        }
        step.done();
        Ok(Size { lhcas, sweeps })
    }

    /// Measures a sweep of a new subnet. Checks the topology before it, and the ports' states after it.
    fn sweep(&self, simulator: Simulator, lhcas: u8, topology: &Topology) -> Result<Sweep> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let site = match simulator {
            Simulator::Portico => Site::portico(self.plan(lhcas)?)?,
            Simulator::Fabric => Site::fabric(topology, socket(), folder.path())?,
            Simulator::Ibsim => Site::ibsim(topology, socket(), folder.path(), self.interrupt)?,
        };
        ensure!(
            netlist::of(&site.discover()?) == *topology,
            "cannot compare sweeps: this topology differs from Portico's"
        );
        let sweep = opensm::sweep(site.socket(), &self.library, folder.path(), self.interrupt)?;
        let inactive = site.discover()?.inactive_ports().count();
        ensure!(inactive == 0, "cannot use this sweep: {inactive} ports are not Active after SUBNET UP");
        Ok(sweep)
    }

    /// Returns the plan of a machine of `cargo portico run`.
    fn plan(&self, lhcas: u8) -> Result<Plan> {
        let mut topology = Topology::parse(DEFAULT)?;
        topology.set_hypervisor(DEFAULT_HYPERVISOR)?;
        Ok(Plan {
            config: Config::uniform(&topology, lhcas, None)?,
            topology,
            cpus: 2,
            memory: "256M".into(),
            socket: socket(),
            capture: None,
            logs: workspace::target_dir()?.join("portico/bench"),
            clock: Clock::Host,
            kernel: Kernel::Elf(self.kernel.clone()),
            images: Vec::new(),
        })
    }
}

/// Returns a socket name that other machines on this host do not use.
fn socket() -> String {
    format!("portico-bench-{}", process::id())
}

/// Returns the preload library of ibsim.
fn stock_library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("cannot read /usr/lib")?.flatten();
    let mut files = folders.map(|folder| folder.path().join("umad2sim/libumad2sim.so"));
    files
        .find(|file| file.is_file())
        .context("cannot find /usr/lib/*/umad2sim/libumad2sim.so: install Debian's package ibsim-utils")
}

impl Display for Sweeps {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.sizes.iter().map(rows).collect();
        let rows = groups.join(&[const { String::new() }; 7]);
        writeln!(f, "OpenSM's first sweep, by its own log from \"Entering DISCOVERING state\" to \"SUBNET UP\";")?;
        writeln!(f, "the median of {}, the simulators in turn; SMPs as OpenSM's console counts them.", self.rounds)?;
        writeln!(f, "Each with the same topology, options and preload library, which is ibsim's own.")?;
        writeln!(f, "In Portico an SMP passes the cable, the HCA model and QEMU, each a process to wake,")?;
        writeln!(f, "and returns; its fabric alone is ibsim's peer. ibsim's adapters take more SMPs, for longer")?;
        writeln!(f, "P_Key tables and more Sets of PortInfo.\n")?;
        let header = ["simulator", "LHCAs", "SMPs", "sweep ms", "fastest ms", "us/SMP", "beside ibsim"];
        write!(f, "{}", draw(header, 1, &rows))
    }
}

fn rows(Size { lhcas, sweeps }: &Size) -> [[String; 7]; Simulator::EACH.len()] {
    let ms = |sweep: &Sweep| sweep.time.as_secs_f64() * 1e3;
    let time = |sweeps: &[Sweep]| median(sweeps.iter().map(ms)).unwrap_or(f64::NAN);
    let ibsim = time(&sweeps[Simulator::Ibsim as usize]);
    Simulator::EACH.map(|simulator| {
        let sweeps = &sweeps[simulator as usize];
        let smps = median(sweeps.iter().map(|sweep| sweep.smps.into())).unwrap_or(f64::NAN);
        let fastest = sweeps.iter().map(|sweep| sweep.time).min().unwrap_or(Duration::ZERO);
        let time = time(sweeps);
        [
            simulator.name().into(),
            lhcas.to_string(),
            format!("{smps:.0}"),
            format!("{time:.1}"),
            format!("{:.1}", fastest.as_secs_f64() * 1e3),
            format!("{:.1}", time * 1e3 / smps),
            if simulator == Simulator::Ibsim { String::new() } else { compare(time, ibsim, "slower", "faster") },
        ]
    })
}
