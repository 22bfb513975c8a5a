//! What datagrams and hypercalls cost, from one partition to another and to the cable.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{Interrupt, Interrupted};
use crate::command::run::{HOST, Outcome, Run};
use crate::config::Config;
use crate::launch::images;
use crate::launch::machine::Plan;
use crate::launch::workspace;
use crate::show::progress::Step;
use crate::show::table::draw;
use crate::topology::{DEFAULT, DEFAULT_HYPERVISOR, Topology};

/// What to measure.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs; may be repeated
    #[arg(long, value_name = "N", default_values_t = [2, 253], value_parser = clap::value_parser!(u8).range(2..=253))]
    lhcas: Vec<u8>,
    /// Datagrams of the load; 0 for no load
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    load: u32,
}

/// What is counted, by its name on the console; for people; and how many instructions it may take if all is as it should be.
const FIGURES: [(&str, &str, Option<u64>); 5] = [
    ("hypercall", "a hypercall that does nothing", Some(150)),
    ("logical-64", "64 bytes to another partition", Some(400)),
    ("logical-4096", "4096 bytes to another partition", None),
    ("cable-64", "64 bytes to the cable", None),
    ("cable-4096", "4096 bytes to the cable", None),
];

/// How long the partitions may take until they have counted, or until the load is through.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often their console is looked at: nothing tells of it.
const LOOK: Duration = Duration::from_millis(100);
/// The load's processors: one for the hypervisor, one for each partition.
const LOAD_CPUS: u8 = 3;

/// All that was counted.
pub(super) struct Figures {
    sizes: Vec<Size>,
    load: u32,
}

struct Size {
    lhcas: u8,
    /// Least and median of each of [`FIGURES`].
    instructions: Vec<(u64, u64)>,
    /// How often the sender and the receiver were left per 1000 datagrams.
    exits: Option<[f64; 2]>,
}

/// Counts.
///
/// # Errors
/// A machine cannot be started, or its partitions do not get so far.
pub(super) fn measure(options: &Options, interrupt: &Interrupt) -> Result<Figures> {
    let lab = Lab {
        kernel: workspace::build_kernel()?,
        library: workspace::build_umad_library()?,
        interrupt,
        load: options.load,
    };
    let sizes = options.lhcas.iter().map(|&lhcas| lab.size(lhcas)).collect::<Result<_>>()?;
    Ok(Figures { sizes, load: options.load })
}

struct Lab<'a> {
    kernel: PathBuf,
    library: PathBuf,
    interrupt: &'a Interrupt,
    load: u32,
}

impl Lab<'_> {
    fn size(&self, lhcas: u8) -> Result<Size> {
        let step = Step::begin(format!("{lhcas} LHCAs: count instructions"));
        let console = self.run(lhcas, None, "figures complete")?;
        let instructions = FIGURES.iter().map(|(name, ..)| figure(&console, name)).collect::<Result<_>>()?;
        step.done();
        if self.load == 0 {
            return Ok(Size { lhcas, instructions, exits: None });
        }
        let step = Step::begin(format!("{lhcas} LHCAs: {} datagrams, and twice as many", self.load));
        let [short, long] = [self.load, 2 * self.load].map(|load| {
            let console = self.run(lhcas, Some(load), "sent ")?;
            Ok::<_, anyhow::Error>([exits(&console, "measure")?, exits(&console, "peer")?])
        });
        let (short, long) = (short?, long?);
        step.done();
        let per_thousand = |who: usize| (long[who] - short[who]) * 1000.0 / f64::from(self.load);
        Ok(Size { lhcas, instructions, exits: Some([per_thousand(0), per_thousand(1)]) })
    }

    /// Boots a machine whose partitions count, or make a load; its console once that says `end`.
    fn run(&self, lhcas: u8, load: Option<u32>, end: &str) -> Result<String> {
        let plan = self.plan(lhcas, load)?;
        let console = plan.logs.join(format!("{DEFAULT_HYPERVISOR}.console.log"));
        let (sender, events) = channel();
        let mut run = Run::start(plan, sender, events)?;
        if matches!(run.wait_for_hypervisors()?, Outcome::Interrupted) {
            return Err(Interrupted.into());
        }
        run.machine.start_opensm(HOST, &self.library)?;
        if matches!(run.wait_for_subnet_up(true, false)?, Outcome::Interrupted) {
            return Err(Interrupted.into());
        }
        let ended = |text: &str| match load {
            None => text.contains(end),
            Some(_) => ["measure", "peer"].iter().all(|name| exits(text, name).is_ok()),
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
            if start.elapsed() > PATIENCE {
                bail!("the partitions are not done after {PATIENCE:?}: see {}", console.display());
            }
            thread::sleep(LOOK);
        }
    }

    fn plan(&self, lhcas: u8, load: Option<u32>) -> Result<Plan> {
        let mut topology = Topology::parse(DEFAULT)?;
        topology.set_hypervisor(DEFAULT_HYPERVISOR)?;
        let load_words = load.map_or(String::new(), |load| format!("load={load}"));
        let mut toml = String::new();
        for (name, arguments) in [("measure", load_words.clone()), ("peer", format!("peer {load_words}"))] {
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
            flash: false,
            counts_instructions: load.is_none(),
            kernel: self.kernel.clone(),
        })
    }
}

/// Least and median of what a console says of a figure.
fn figure(console: &str, name: &str) -> Result<(u64, u64)> {
    let numbers = console.lines().find_map(|line| line.split_once(&format!("figure {name} ")).map(|(_, rest)| rest));
    let numbers = numbers.with_context(|| format!("the console says nothing of {name}"))?;
    let (least, median) = numbers.split_once(' ').context("a figure is two numbers")?;
    let figure = (least.parse()?, median.trim().parse()?);
    ensure!(figure.0 > 0, "{name} took no instructions: time is not counted in them");
    Ok(figure)
}

/// How often the console says that a partition was left.
fn exits(console: &str, partition: &str) -> Result<f64> {
    let line = console.lines().find(|line| line.contains(&format!("partition {partition} exited with code 0")));
    let words = line.with_context(|| format!("partition {partition} did not end"))?;
    let (_, rest) = words.split_once("it was left ").context("the console does not say how often it was left")?;
    Ok(rest.split(' ').next().unwrap_or_default().parse()?)
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Instructions, counted by QEMU's -icount in a machine with one processor, from the doorbell, the store that posts"
        )?;
        writeln!(f, "a datagram, until the receiver's completion is there and the sender goes on. The median of 200;")?;
        writeln!(
            f,
            "the least in brackets. The load: 64 bytes, sender and receiver poll, a processor for each and one for the"
        )?;
        writeln!(
            f,
            "hypervisor. Exits are how many more {} datagrams cost than half of them; below 0 is chance.\n",
            2 * self.load
        )?;
        let mut rows: Vec<[String; 4]> = Vec::new();
        for size in &self.sizes {
            let lhcas = size.lhcas.to_string();
            for ((_, what, aim), (least, median)) in FIGURES.iter().zip(&size.instructions) {
                let verdict = aim.map_or(String::new(), |aim| {
                    format!("at most {aim}: {}", if *median <= aim { "met" } else { "missed" })
                });
                rows.push([lhcas.clone(), (*what).into(), format!("{median} ({least})"), verdict]);
            }
            for (who, exits) in ["sender", "receiver"].into_iter().zip(size.exits.into_iter().flatten()) {
                let verdict = format!("0: {}", if exits < 0.05 { "met" } else { "missed" });
                rows.push([
                    lhcas.clone(),
                    format!("exits of the {who} per 1000 datagrams"),
                    format!("{exits:.2}"),
                    verdict,
                ]);
            }
        }
        write!(f, "{}", draw(["LHCAs", "what", "figure", "aim"], 2, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
[1] INFO  partition::calls: measure: figure hypercall 147 149
[2] INFO  partition::machine: partition peer exited with code 0; it was left 12 times
";

    #[test]
    fn a_console_is_read() {
        assert_eq!(figure(CONSOLE, "hypercall").unwrap(), (147, 149));
        assert!(figure(CONSOLE, "call").is_err());
        assert_eq!(exits(CONSOLE, "peer").unwrap(), 12.0);
        assert!(exits(CONSOLE, "measure").is_err());
    }
}
