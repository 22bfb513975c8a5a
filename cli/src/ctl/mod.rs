//! `cargo portico ctl`: partitions of a running machine, begun and ended, added and removed, and looked at.

mod answer;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use partition_table::Uplinks;
use zerocopy::IntoBytes;

use self::answer::State;
use crate::workspace::IMAGES;
use portico_qemu::config::{Image, Partition};
use portico_qemu::control::{Place, ask, running};
use portico_qemu::launch::table;

/// Which machine, and what with it.
#[derive(Args)]
pub(super) struct Options {
    /// The --socket of the run
    #[arg(long, value_name = "NAME", default_value = "portico", global = true)]
    socket: String,
    /// Which hypervisor of the run; needed where it has several, but for `list` and `status`
    #[arg(long, value_name = "NAME", global = true)]
    hypervisor: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the partitions
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the logical ports, and why those that are not Active are not
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a digest of a running partition's memory, by which a change shows
    Digest {
        /// The partition
        name: String,
    },
    /// Begin a partition, and plug its ports in
    Start {
        /// The partition
        name: String,
    },
    /// End a partition, and pull its ports
    Stop {
        /// The partition
        name: String,
    },
    /// End a partition and begin it again
    Restart {
        /// The partition
        name: String,
    },
    /// Pull or plug a cable, such as: port web down
    Port {
        /// A logical HCA by its name, with all its ports, or UPLINK/PORT as `status` has it; port 1 is the uplink itself
        name: String,
        /// What becomes of the cable
        #[arg(value_enum)]
        cable: Cable,
    },
    /// Add a partition on a spare port, such as: add name=web image=echo memory=4M
    Add {
        /// The keys of a [[partition]] in portico.toml and their values
        #[arg(value_name = "KEY=VALUE", required = true)]
        words: Vec<String>,
    },
    /// End a partition, and take its logical HCA away
    Remove {
        /// The partition
        name: String,
    },
}

/// What becomes of a cable.
#[derive(Clone, Copy, ValueEnum)]
enum Cable {
    /// It is plugged in
    Up,
    /// It is pulled
    Down,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.action {
        Action::List { json } => show(&options.places()?, *json, report::list)?,
        Action::Status { json } => show(&options.places()?, *json, report::status)?,
        Action::Digest { name } => println!("{}", options.ask("digest", name)?.join("\n")),
        Action::Start { name } => drop(options.ask("start", name)?),
        Action::Stop { name } => drop(options.ask("stop", name)?),
        Action::Restart { name } => drop(options.ask("restart", name)?),
        Action::Remove { name } => drop(options.ask("remove", name)?),
        Action::Port { name, cable } => options.set_port(name, *cable)?,
        Action::Add { words } => options.add(words)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the states of the hypervisors at `places`, as JSON or as `draw` draws each.
fn show(places: &[Place], json: bool, draw: fn(&State) -> String) -> Result<()> {
    let states = places.iter().map(state).collect::<Result<Vec<_>>>()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&states)?);
    } else {
        println!("{}", states.iter().map(draw).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(())
}

fn state(place: &Place) -> Result<State> {
    let (list, status) = (ask(place, "list")?, ask(place, "status")?);
    State::read(&place.hypervisor, &list, &status)
        .with_context(|| format!("{} answers what is not understood here: are both of one build?", place.hypervisor))
}

impl Options {
    /// The hypervisors that are meant.
    fn places(&self) -> Result<Vec<Place>> {
        let running = running().context("cannot list the sockets of this host")?;
        choose(&running, &self.socket, self.hypervisor.as_deref())
    }

    /// The one hypervisor that is meant.
    fn place(&self) -> Result<Place> {
        self.place_of(None)
    }

    /// The one hypervisor that is meant, `named` if that says which.
    fn place_of(&self, named: Option<&str>) -> Result<Place> {
        let running = running().context("cannot list the sockets of this host")?;
        let mut places = choose(&running, &self.socket, named.or(self.hypervisor.as_deref()))?;
        if places.len() > 1 {
            let names: Vec<_> = places.iter().map(|place| place.hypervisor.as_str()).collect();
            bail!("the run has several hypervisors: say --hypervisor and one of {}", names.join(", "));
        }
        places.pop().context("no machine runs")
    }

    /// Asks for `verb` to be done with the partition `name`: the lines of the answer.
    fn ask(&self, verb: &str, name: &str) -> Result<Vec<String>> {
        ensure!(!name.contains(char::is_control), "{name:?} is no partition's name");
        ask(&self.place()?, &format!("{verb} {name}")).with_context(|| format!("cannot {verb} {name}"))
    }

    fn set_port(&self, name: &str, cable: Cable) -> Result<()> {
        ensure!(!name.contains(char::is_control), "{name:?} is no port");
        let place = self.place()?;
        let at = state(&place)?.place_of(name).map(|(uplink, port)| format!("{uplink}/{port}"));
        let (port, word) = (at.as_deref().unwrap_or(name), if matches!(cable, Cable::Up) { "up" } else { "down" });
        ask(&place, &format!("port {port} {word}")).with_context(|| format!("cannot take {name} {word}"))?;
        Ok(())
    }

    fn add(&self, words: &[String]) -> Result<()> {
        let partition = Partition::from_words(words)?;
        if let Some(Image { name, file: None }) = &partition.image {
            let names = IMAGES.join(", ");
            ensure!(
                IMAGES.contains(&name.text()),
                "there is no image {name}: name one of {names}, or a file that the \
                machine was given when it began"
            );
        }
        let place = self.place_of(partition.hypervisor.as_deref())?;
        // A kernel knows its own, and a bridge is found by its name whichever hypervisor has it.
        for other in choose(&running()?, &self.socket, None)?.iter().filter(|other| **other != place) {
            let is_taken = state(other)?.lhcas.iter().any(|lhca| lhca.name == partition.name.text());
            ensure!(!is_taken, "the name {} is taken at {}: choose another", partition.name, other.hypervisor);
        }
        let uplinks = if state(&place)?.uplinks.len() > 1 { Uplinks::BOTH } else { Uplinks::FIRST };
        let row = table::row(&place.hypervisor, uplinks, &partition)?;
        let digits: String = row.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        ask(&place, &format!("add {digits}")).with_context(|| format!("cannot add {}", partition.name))?;
        Ok(())
    }
}

/// The control lines of the run at `socket` among those that there are: all, or that of `hypervisor`.
fn choose(running: &[Place], socket: &str, hypervisor: Option<&str>) -> Result<Vec<Place>> {
    let places: Vec<_> = running.iter().filter(|place| place.socket == socket).cloned().collect();
    if places.is_empty() {
        let mut others: Vec<_> = running.iter().map(|place| place.socket.as_str()).collect();
        others.dedup();
        ensure!(!others.is_empty(), "no machine runs on this host: start one with `cargo portico run`");
        bail!("no machine runs at the socket {socket}: say --socket and one of {}", others.join(", "));
    }
    let Some(hypervisor) = hypervisor else { return Ok(places) };
    let names: Vec<_> = places.iter().map(|place| place.hypervisor.clone()).collect();
    let place = places.into_iter().find(|place| place.hypervisor == hypervisor);
    let place =
        place.with_context(|| format!("{socket} has no hypervisor {hypervisor}: it has {}", names.join(", ")))?;
    Ok(vec![place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_that_is_meant_is_found_or_the_others_are_named() {
        let place = |(socket, hypervisor): (&str, &str)| Place { socket: socket.into(), hypervisor: hypervisor.into() };
        let running = [("a", "east"), ("a", "west"), ("b", "portico-0")].map(place);
        assert_eq!(choose(&running, "a", None).unwrap(), running[..2]);
        assert_eq!(choose(&running, "a", Some("west")).unwrap(), running[1..2]);
        let error = |socket, hypervisor| choose(&running, socket, hypervisor).unwrap_err().to_string();
        assert_eq!(error("b", Some("east")), "b has no hypervisor east: it has portico-0");
        assert_eq!(error("c", None), "no machine runs at the socket c: say --socket and one of a, b");
        let none = choose(&[], "a", None).unwrap_err().to_string();
        assert_eq!(none, "no machine runs on this host: start one with `cargo portico run`");
    }
}
