//! Instructions of datagrams and hypercalls, between partitions and to the cable, and VM exits under load.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::interrupt::{Interrupt, Interrupted};
use crate::images;
use crate::run::{HOST, Outcome, Patience, RunningMachine, SweepSource};
use crate::show::progress::Step;
use crate::show::table::draw;
use crate::workspace;
use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR, Topology};
use partition_table::MAX_LHCAS;
use portico_qemu::config::Config;
use portico_qemu::launch::{Clock, Kernel, Plan};

/// Parameters of the benchmark.
#[derive(Args)]
pub(super) struct Options {
    /// Number of logical HCAs; may be repeated
    #[arg(long, value_name = "N", default_values_t = [2, MAX_LHCAS], value_parser = clap::value_parser!(u8).range(2..=i64::from(MAX_LHCAS)))]
    lhcas: Vec<u8>,
    /// Datagrams of the load for the count of VM exits; 0 for no load
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    load: u32,
}

/// Counts of every size.
pub(super) struct Figures {
    sizes: Vec<Size>,
    load: u32,
}

struct Size {
    lhcas: u8,
    /// Minimum and median of each of [`FIGURES`].
    instructions: Vec<(u64, u64)>,
    /// VM exits of the sender and the receiver under load.
    exits: Option<[Exits; 2]>,
}

/// VM exits of a partition, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exits {
    doorbells: u32,
    halts: u32,
    interrupts: u32,
    /// Other hypercalls, and all other reasons.
    others: u32,
}

impl Size {
    /// Returns the rows of the table.
    fn rows(&self, load: u32) -> Vec<[String; 4]> {
        let mut rows = Vec::new();
        let mut row = |what: &str, figure, verdict| rows.push([self.lhcas.to_string(), what.into(), figure, verdict]);
        let met = |is_met| if is_met { "met" } else { "missed" };
        for ((_, what, aim), (least, median)) in FIGURES.iter().zip(&self.instructions) {
            let verdict = aim.map_or(String::new(), |aim| format!("at most {aim}: {}", met(*median <= aim)));
            row(what, format!("{median} ({least})"), verdict);
        }
        let per_thousand = |count: u32| format!("{:.2}", f64::from(count) * 1000.0 / f64::from(load));
        for (role, exits) in ["sender", "receiver"].into_iter().zip(self.exits.into_iter().flatten()) {
            let what = format!("VM exits of the {role} per 1000 datagrams");
            row(&what, per_thousand(exits.all()), format!("0: {}", met(exits.all() == 0)));
            let Exits { doorbells, halts, interrupts, others } = exits;
            for (why, count) in
                [("doorbells", doorbells), ("halts", halts), ("interrupts", interrupts), ("others", others)]
            {
                row(&format!("  {why}"), per_thousand(count), String::new());
            }
        }
        rows
    }
}

impl Exits {
    fn all(self) -> u32 {
        self.doorbells + self.halts + self.interrupts + self.others
    }
}

/// Boots a machine for each size, and counts.
///
/// # Errors
/// A machine cannot be started, or its partitions exceed the time limit.
pub(super) fn measure(options: &Options, interrupt: &Interrupt) -> Result<Figures> {
    let environment = Environment {
        kernel: workspace::build_kernel()?,
        library: workspace::build_umad_library()?,
        interrupt,
        load: options.load,
    };
    let sizes = options.lhcas.iter().map(|&lhcas| environment.measure(lhcas)).collect::<Result<_>>()?;
    Ok(Figures { sizes, load: options.load })
}

/// Files and options that the measurements share.
struct Environment<'a> {
    kernel: PathBuf,
    library: PathBuf,
    interrupt: &'a Interrupt,
    load: u32,
}

impl Environment<'_> {
    fn measure(&self, lhcas: u8) -> Result<Size> {
        let step = Step::begin(format!("{lhcas} LHCAs: count instructions"));
        let console = self.run(lhcas, None)?;
        let instructions = FIGURES.iter().map(|(name, ..)| figure(&console, name)).collect::<Result<_>>()?;
        step.done();
        if self.load == 0 {
            return Ok(Size { lhcas, instructions, exits: None });
        }
        let step = Step::begin(format!("{lhcas} LHCAs: count exits under load"));
        let console = self.run(lhcas, Some(self.load))?;
        step.done();
        Ok(Size { lhcas, instructions, exits: Some([exits(&console, SENDER)?, exits(&console, RECEIVER)?]) })
    }

    /// Boots a machine whose partitions count, or make a load; returns the console once they are done.
    fn run(&self, lhcas: u8, load: Option<u32>) -> Result<String> {
        let plan = self.plan(lhcas, load)?;
        let console = plan.logs.join(format!("{DEFAULT_HYPERVISOR}.console.log"));
        let (sender, events) = channel();
        let mut run = RunningMachine::start(plan, sender, events)?;
        if matches!(run.wait_for_hypervisors()?, Outcome::Interrupted) {
            return Err(Interrupted.into());
        }
        run.machine().start_opensm(HOST, &self.library)?;
        if matches!(run.wait_for_subnet_up(SweepSource::Own, Patience::Limited)?, Outcome::Interrupted) {
            return Err(Interrupted.into());
        }
        let ended = |text: &str| match load {
            None => text.contains("figures complete"),
            Some(_) => [SENDER, RECEIVER].iter().all(|name| exits(text, name).is_ok()),
        };
        self.wait(&console, ended)
    }

    fn wait(&self, console: &Path, ended: impl Fn(&str) -> bool) -> Result<String> {
        let start = Instant::now();
        loop {
            self.interrupt.check()?;
            let text = fs::read_to_string(console).with_context(|| format!("cannot read {}", console.display()))?;
            if ended(&text) {
                return Ok(text);
            }
            if start.elapsed() > TIME_LIMIT {
                bail!("cannot measure: the partitions are not done after {TIME_LIMIT:?}; see {}", console.display());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn plan(&self, lhcas: u8, load: Option<u32>) -> Result<Plan> {
        let mut topology = Topology::parse(DEFAULT)?;
        topology.set_hypervisor(DEFAULT_HYPERVISOR)?;
        let load_words = load.map_or(String::new(), |load| format!("load={load}"));
        let mut toml = String::new();
        for (name, arguments) in [(SENDER, load_words.clone()), (RECEIVER, format!("peer {load_words}"))] {
            let partition =
                format!("name = {name:?}\nimage = \"measure\"\nmemory = \"4M\"\narguments = {arguments:?}\n");
            toml += &format!("[[partition]]\n{partition}");
        }
        for nth in 3..=lhcas {
            toml += &format!("[[partition]]\nname = \"idle-{nth}\"\n");
        }
        let config = Config::parse(Path::new("bench"), &toml)?;
        Ok(Plan {
            images: images::of(&config)?,
            config,
            topology,
            cpus: if load.is_some() { LOAD_CPUS } else { 1 },
            memory: "256M".into(),
            socket: format!("portico-bench-{}", process::id()),
            capture: None,
            logs: workspace::target_dir()?.join("portico/bench-data"),
            clock: if load.is_none() { Clock::Instructions } else { Clock::Host },
            kernel: Kernel::Elf(self.kernel.clone()),
        })
    }
}

/// Returns minimum and median of a figure on the console.
fn figure(console: &str, name: &str) -> Result<(u64, u64)> {
    let numbers = console.lines().find_map(|line| line.split_once(&format!("figure {name} ")).map(|(_, rest)| rest));
    let numbers = numbers.with_context(|| format!("cannot find the figure {name} on the console"))?;
    let (least, median) = numbers.split_once(' ').context("cannot read a figure: it is not two numbers")?;
    let figure = (least.parse()?, median.trim().parse()?);
    ensure!(figure.0 > 0, "cannot use the figure {name}: its time is 0; boot with a clock of instructions");
    Ok(figure)
}

/// Returns the VM exits of a partition under load, from the console.
fn exits(console: &str, partition: &str) -> Result<Exits> {
    let counts =
        console.lines().find_map(|line| line.split_once(&format!(" {partition}: left for "))?.1.split_once(": "));
    let (_, counts) = counts.with_context(|| format!("cannot find the VM exits of {partition} on the console"))?;
    let of = |reason: &str| -> Result<u32> {
        let mut words = counts.split_whitespace();
        let count = words.find(|word| *word == reason).and_then(|_| words.next());
        Ok(count.with_context(|| format!("cannot find {reason} in {counts:?}"))?.parse()?)
    };
    Ok(Exits {
        doorbells: of("doorbells")?,
        halts: of("halts")?,
        interrupts: of("interrupts")?,
        others: of("calls")? + of("others")?,
    })
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Instructions, counted by QEMU's -icount in a machine with one processor: from the store that posts a datagram"
        )?;
        writeln!(f, "until the receiver's completion is written and the sender continues. The median of 200;")?;
        writeln!(f, "the minimum in brackets.\n")?;
        if self.load > 0 {
            writeln!(
                f,
                "VM exits, by the hypervisor's own count, while sender and receiver poll, with a processor for each and one"
            )?;
            writeln!(
                f,
                "for the hypervisor: exits of each during {} datagrams of 64 bytes, after the start of the load.",
                self.load
            )?;
            writeln!(f, "An interrupt comes from the timer or from another processor.\n")?;
        }
        let rows: Vec<_> = self.sizes.iter().flat_map(|size| size.rows(self.load)).collect();
        write!(f, "{}", draw(["LHCAs", "operation", "figure", "aim"], 2, &rows))
    }
}

/// Figures: name on the console, name in the table, and the aim in instructions.
const FIGURES: [(&str, &str, Option<u64>); 5] = [
    ("hypercall", "null hypercall", Some(150)),
    ("logical-64", "64 bytes to another partition", Some(400)),
    ("logical-4096", "4096 bytes to another partition", None),
    ("cable-64", "64 bytes to the cable", None),
    ("cable-4096", "4096 bytes to the cable", None),
];

/// Time limit of the partitions for their count or their load.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// Interval between two reads of the console.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Names of the partitions.
const SENDER: &str = "measure";
const RECEIVER: &str = "peer";
/// Processors under load: one for the hypervisor, one for each partition.
const LOAD_CPUS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
[1] INFO  partition::calls: measure: figure hypercall 147 149
[2] INFO  partition::calls: peer: left for 50 datagrams: doorbells 3 calls 1 halts 2 interrupts 12 others 4
";

    #[test]
    fn console_with_figures_and_exits_is_parsed() {
        assert_eq!(figure(CONSOLE, "hypercall").unwrap(), (147, 149));
        assert!(figure(CONSOLE, "call").is_err());
        let expected = Exits { doorbells: 3, halts: 2, interrupts: 12, others: 5 };
        assert_eq!(exits(CONSOLE, "peer").unwrap(), expected);
        assert_eq!(expected.all(), 22);
        assert!(exits(CONSOLE, "measure").is_err());
    }
}
