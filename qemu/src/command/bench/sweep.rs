//! OpenSM's first sweep of one topology, on Portico and on ibsim in turn.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::run::{HOST, Outcome, Run};
use crate::launch::folder::Folder;
use crate::launch::leash::{self, Child};
use crate::launch::machine::Plan;
use crate::launch::opensm::OpenSm;
use crate::launch::workspace;
use crate::show::agent::Agent;
use crate::show::progress::Step;
use crate::show::subnet::Subnet;
use crate::topology::{DEFAULT, DEFAULT_HYPERVISOR, Topology};

/// How long a program may be silent before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to sweep.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs; may be repeated
    #[arg(long, value_name = "N", default_values_t = [16, 200, 253], value_parser = clap::value_parser!(u8).range(1..=253))]
    lhcas: Vec<u8>,
    /// Sweeps of each; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// What a sweep took.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    wall: Duration,
    smps: u64,
}

/// Measures, and prints a table.
pub(super) fn run(options: &Options) -> Result<()> {
    let kernel = workspace::build_kernel()?;
    let library = stock_library()?;
    println!("OpenSM's first sweep, wall clock, median of {}; the same topology on both, in turn", options.rounds);
    println!("LHCAs    Portico              ibsim                ratio");
    for &lhcas in &options.lhcas {
        let step = Step::begin(format!("sweep {lhcas} LHCAs on Portico and on ibsim"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            step.note(&format!("round {round} of {}", options.rounds));
            let (sweep, netlist) = on_portico(lhcas, &kernel, &library)?;
            ours.push(sweep);
            theirs.push(on_ibsim(&netlist, &library)?);
        }
        step.done();
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours.wall.as_secs_f64() / theirs.wall.as_secs_f64();
        println!("{lhcas:>5}    {:<20} {:<20} {ratio:.2}", told(ours), told(theirs));
    }
    Ok(())
}

/// Boots a hypervisor with `lhcas` LHCAs and has it swept; gives also the netlist of what there is.
fn on_portico(lhcas: u8, kernel: &Path, library: &Path) -> Result<(Sweep, String)> {
    let mut topology = Topology::parse(DEFAULT)?;
    topology.set_hypervisor(DEFAULT_HYPERVISOR)?;
    let socket = socket();
    let logs = workspace::target_dir()?.join("portico/bench");
    let plan = Plan {
        topology,
        lhcas,
        cpus: 2,
        memory: "256M".into(),
        socket: socket.clone(),
        capture: None,
        logs,
        kernel: kernel.to_owned(),
    };
    let (sender, events) = channel();
    let mut run = Run::start(plan, sender, events)?;
    let Outcome::Done(subnet) = run.wait_for_hypervisors()? else { bail!("interrupted") };
    let sweep = sweep(&socket, library, run.machine.folder())?;
    Ok((sweep, netlist(&subnet)))
}

/// Has ibsim simulate `netlist`, and has that swept.
fn on_ibsim(netlist: &str, library: &Path) -> Result<Sweep> {
    let folder = Folder::new()?;
    let socket = socket();
    fs::write(folder.path().join("net"), netlist)?;
    let mut command = leash::command("ibsim")?;
    command.args(["-s", "net"]).current_dir(folder.path()).env("IBSIM_SOCKNAME", &socket);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let (ended, end) = channel();
    let (_ibsim, _console) = Child::spawn(&mut command, ended, |status| status)?;
    let start = Instant::now();
    // Nothing tells when it is up but that it answers.
    while let Err(error) = Agent::attach(&socket, HOST) {
        if let Ok(status) = end.try_recv() {
            bail!("ibsim ended ({status})");
        }
        ensure!(start.elapsed() < PATIENCE, "ibsim does not answer: {error}");
        thread::sleep(Duration::from_millis(20));
    }
    sweep(&socket, library, folder.path())
}

/// Has OpenSM bring up the fabric at `socket`.
fn sweep(socket: &str, library: &Path, folder: &Path) -> Result<Sweep> {
    let log = folder.join("opensm.log");
    let opensm = OpenSm { socket, host: HOST, library, folder, log: &log, console: true };
    let (sender, lines) = channel();
    let (_opensm, console) = opensm.start(&sender, |line| Some(Some(line.to_owned())), |_| None)?;
    let mut console: ChildStdin = console.context("OpenSM has no console")?;
    let next = || lines.recv_timeout(PATIENCE).ok().flatten().context("OpenSM ended, or does not get on");
    let mut begin = None;
    let wall = loop {
        let line = next()?;
        if line.contains("Setting IS_SM") {
            begin = Some(time_of_day(&line)?);
        } else if line.contains("SUBNET UP") {
            let begin = begin.context("OpenSM's subnet is up before OpenSM began")?;
            let end = time_of_day(&line)?;
            break end.checked_sub(begin).unwrap_or_else(|| end + Duration::from_secs(86_400) - begin);
        }
    };
    writeln!(console, "status")?;
    loop {
        if let Some((_, count)) = next()?.split_once("QP0 MADs sent") {
            let smps = count.trim_start_matches([' ', ':']).trim().parse().context("OpenSM counts no SMPs")?;
            return Ok(Sweep { wall, smps });
        }
    }
}

/// When a line of OpenSM's log was written: `Nov 22 15:03:28 486808 [...`, the last in microseconds.
fn time_of_day(line: &str) -> Result<Duration> {
    let words: Vec<_> = line.trim_start_matches("OpenSM $ ").split_whitespace().collect();
    let [_, _, clock, micros, ..] = words[..] else { bail!("a line of OpenSM's log has no time: {line}") };
    let mut seconds = 0;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u64>()?;
    }
    Ok(Duration::from_secs(seconds) + Duration::from_micros(micros.parse()?))
}

/// The subnet as ibsim takes it.
fn netlist(subnet: &Subnet) -> String {
    let mut text = String::new();
    for node in &subnet.nodes {
        let kind = if node.is_switch() { "Switch" } else { "Hca" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{kind} {} \"{}\"", node.info.num_ports, node.description);
        for (port, (peer, entry)) in node.ports.iter().filter_map(|port| Some((port, port.peer?))) {
            let peer = &subnet.nodes[peer].description;
            let _ = writeln!(text, "[{}] \"{peer}\"[{}]", port.number.get(), entry.get());
        }
        let _ = writeln!(text);
    }
    text
}

/// Debian's preload library: the same for both, so that only what is behind it differs.
fn stock_library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("cannot read /usr/lib")?.flatten();
    let mut files = folders.map(|folder| folder.path().join("umad2sim/libumad2sim.so"));
    files.find(|file| file.is_file()).context("there is no /usr/lib/*/umad2sim/libumad2sim.so: install libumad2sim0")
}

fn socket() -> String {
    format!("portico-bench-{}", std::process::id())
}

fn median(mut sweeps: Vec<Sweep>) -> Sweep {
    sweeps.sort_by_key(|sweep| sweep.wall);
    sweeps[sweeps.len() / 2]
}

fn told(sweep: Sweep) -> String {
    format!("{:.1} ms, {} SMPs", sweep.wall.as_secs_f64() * 1e3, sweep.smps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_opensms_log_is_read() {
        let line = "OpenSM $ Nov 22 15:03:28 000042 [E167A740] 0x02 -> SUBNET UP";
        assert_eq!(time_of_day(line).unwrap(), Duration::new(15 * 3600 + 3 * 60 + 28, 42_000));
        assert!(time_of_day("Using default GUID").is_err());
    }
}
