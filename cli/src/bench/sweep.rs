//! How long OpenSM takes to bring the subnet up.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::opensm::{self, Sweep};
use super::site::{Maker, Site};
use super::table::{compare, median};
use super::{Interrupt, netlist};
use crate::show::progress::Step;
use crate::show::table::draw;
use crate::workspace;
use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR, Topology};
use portico_qemu::config::Config;
use portico_qemu::launch::folder::Folder;
use portico_qemu::launch::machine::Plan;

/// What to sweep.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs; may be repeated
    #[arg(long, value_name = "N", default_values_t = [16, 200, 253], value_parser = clap::value_parser!(u8).range(1..=253))]
    lhcas: Vec<u8>,
    /// Sweeps of each; the median counts
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Sweeps of a subnet with so many LHCAs, for each of [`Maker::ALL`].
struct Size {
    lhcas: u8,
    sweeps: [Vec<Sweep>; Maker::ALL.len()],
}

/// All sweeps.
pub(super) struct Sweeps {
    sizes: Vec<Size>,
    rounds: u8,
}

/// Times the sweeps.
///
/// # Errors
/// A subnet cannot be made, or OpenSM does not bring it up.
pub(super) fn measure(options: &Options, interrupt: &Interrupt) -> Result<Sweeps> {
    let rounds = options.rounds;
    let lab = Lab { folder: Folder::new()?, kernel: workspace::build_kernel()?, library: stock_library()?, interrupt };
    let sizes = options.lhcas.iter().map(|&lhcas| lab.size(lhcas, rounds)).collect::<Result<_>>()?;
    Ok(Sweeps { sizes, rounds })
}

/// Where sweeps are made.
struct Lab<'a> {
    folder: Folder,
    kernel: PathBuf,
    library: PathBuf,
    interrupt: &'a Interrupt,
}

impl Lab<'_> {
    fn size(&self, lhcas: u8, rounds: u8) -> Result<Size> {
        let step = Step::begin(format!("OpenSM sweeps {lhcas} LHCAs, {rounds} times each"));
        let topology = netlist::of(&Site::portico(self.plan(lhcas)?)?.look()?);
        let mut sweeps = Maker::ALL.map(|_| Vec::new());
        for round in 1..=rounds {
            for (maker, sweeps) in Maker::ALL.into_iter().zip(&mut sweeps) {
                step.note(&format!("round {round}: {}", maker.name()));
                let sweep = self.sweep(maker, lhcas, &topology);
                sweeps.push(sweep.with_context(|| format!("{lhcas} LHCAs, {}", maker.name()))?);
            }
        }
        step.done();
        Ok(Size { lhcas, sweeps })
    }

    /// A sweep of a new subnet. Before it and after it, that is looked at: it has to be the one that is meant, and up.
    fn sweep(&self, maker: Maker, lhcas: u8, topology: &Topology) -> Result<Sweep> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let site = match maker {
            Maker::Portico => Site::portico(self.plan(lhcas)?)?,
            Maker::Native => Site::native(topology, socket(), folder.path())?,
            Maker::Ibsim => Site::ibsim(topology, socket(), folder.path(), self.interrupt)?,
        };
        ensure!(netlist::of(&site.look()?) == *topology, "this is another topology than Portico's");
        let sweep = opensm::sweep(site.socket(), &self.library, folder.path(), self.interrupt)?;
        let inactive = site.look()?.inactive_ports().count();
        ensure!(inactive == 0, "OpenSM says that the subnet is up, and {inactive} ports are not Active");
        Ok(sweep)
    }

    /// A machine as `cargo portico run` makes it.
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
            flash: false,
            counts_instructions: false,
            kernel: self.kernel.clone(),
            images: Vec::new(),
        })
    }
}

/// A name of our own, so that other machines on this host are left in peace.
fn socket() -> String {
    format!("portico-bench-{}", process::id())
}

/// The preload library that ibsim brings.
fn stock_library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("cannot read /usr/lib")?.flatten();
    let mut files = folders.map(|folder| folder.path().join("umad2sim/libumad2sim.so"));
    files.find(|file| file.is_file()).context(
        "there is no /usr/lib/*/umad2sim/libumad2sim.so, which Debian's package ibsim-utils brings: install that",
    )
}

impl Display for Sweeps {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.sizes.iter().map(rows).collect();
        let rows = groups.join(&[const { String::new() }; 7]);
        writeln!(f, "OpenSM's first sweep, by its own log from \"Entering DISCOVERING state\" to \"SUBNET UP\";")?;
        writeln!(f, "the median of {}, the makers in turn; SMPs as OpenSM's console counts them.", self.rounds)?;
        writeln!(f, "Each with the same topology, options and preload library, which is ibsim's own.")?;
        writeln!(f, "In Portico an SMP goes on through cable, HCA model and QEMU, each with a process to wake,")?;
        writeln!(f, "and back; its fabric alone is ibsim's peer. ibsim's adapters take more SMPs, for longer")?;
        writeln!(f, "P_Key tables and more Sets of PortInfo.\n")?;
        let header = ["subnet made by", "LHCAs", "SMPs", "sweep ms", "fastest ms", "us/SMP", "beside ibsim"];
        write!(f, "{}", draw(header, 1, &rows))
    }
}

fn rows(Size { lhcas, sweeps }: &Size) -> [[String; 7]; Maker::ALL.len()] {
    let ms = |sweep: &Sweep| sweep.time.as_secs_f64() * 1e3;
    let time = |sweeps: &[Sweep]| median(sweeps.iter().map(ms)).unwrap_or(f64::NAN);
    let ibsim = time(&sweeps[Maker::Ibsim as usize]);
    Maker::ALL.map(|maker| {
        let sweeps = &sweeps[maker as usize];
        let smps = median(sweeps.iter().map(|sweep| sweep.smps.into())).unwrap_or(f64::NAN);
        let fastest = sweeps.iter().map(|sweep| sweep.time).min().unwrap_or(Duration::ZERO);
        let time = time(sweeps);
        [
            maker.name().into(),
            lhcas.to_string(),
            format!("{smps:.0}"),
            format!("{time:.1}"),
            format!("{:.1}", fastest.as_secs_f64() * 1e3),
            format!("{:.1}", time * 1e3 / smps),
            if maker == Maker::Ibsim { String::new() } else { compare(time, ibsim, "slower", "faster") },
        ]
    })
}
