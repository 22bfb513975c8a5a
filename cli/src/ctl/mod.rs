//! `cargo portico ctl`: starts, stops, adds, removes and shows partitions of a running machine.

mod answer;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use control_protocol::Place as SwitchPort;
use control_protocol::{LinkStatus, Request, Row};
use partition_table::Uplinks;
use zerocopy::IntoBytes;

use self::answer::State;
use crate::workspace::IMAGES;
use portico_qemu::config::{Image, Partition};
use portico_qemu::control::{Place, ask, running};
use portico_qemu::launch::table;

/// Machine, and action on it.
#[derive(Args)]
pub(super) struct Options {
    /// --socket of the run
    #[arg(long, value_name = "NAME", default_value = "portico", global = true)]
    socket: String,
    /// Hypervisor of the run; required for a run with several, except for `list` and `status`
    #[arg(long, value_name = "NAME", global = true)]
    hypervisor: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the partitions
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the logical ports, with a reason for each that is not Active
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a digest of a running partition's memory, which changes with the memory
    Digest {
        /// Name of the partition
        name: String,
    },
    /// Start a partition, and plug its ports in
    Start {
        /// Name of the partition
        name: String,
    },
    /// Stop a partition, and unplug its ports
    Stop {
        /// Name of the partition
        name: String,
    },
    /// Stop a partition, and start it again
    Restart {
        /// Name of the partition
        name: String,
    },
    /// Plug or unplug a cable, such as: port web down
    Port {
        /// Name of a logical HCA, for all its ports, or UPLINK/PORT as in `status`; port 1 is the uplink
        name: String,
        /// State of the cable
        #[arg(value_enum)]
        cable: Cable,
    },
    /// Add a partition on a spare port, such as: add name=web image=echo memory=4M
    Add {
        /// Keys of a partition in portico.toml, and their values; book/src/portico-toml.md has every key
        #[arg(value_name = "KEY=VALUE", required = true)]
        words: Vec<String>,
    },
    /// Stop a partition, and remove its logical HCA
    Remove {
        /// Name of the partition
        name: String,
    },
}

/// State of a cable.
#[derive(Clone, Copy, ValueEnum)]
enum Cable {
    /// Plugged in
    Up,
    /// Unplugged
    Down,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.action {
        Action::List { json } => show(&options.places()?, *json, report::list)?,
        Action::Status { json } => show(&options.places()?, *json, report::status)?,
        Action::Digest { name } => println!("{}", options.request(Request::Digest, "digest", name)?.join("\n")),
        Action::Start { name } => drop(options.request(Request::Start, "start", name)?),
        Action::Stop { name } => drop(options.request(Request::Stop, "stop", name)?),
        Action::Restart { name } => drop(options.request(Request::Restart, "restart", name)?),
        Action::Remove { name } => drop(options.request(Request::Remove, "remove", name)?),
        Action::Port { name, cable } => options.set_port(name, *cable)?,
        Action::Add { words } => options.add(words)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the states of the hypervisors at `places`, as JSON or by `draw`.
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
    let (list, status) = (ask(place, &Request::List)?, ask(place, &Request::Status)?);
    State::read(&place.hypervisor, &list, &status)
        .with_context(|| format!("cannot read the state of {}: use command and kernel of one build", place.hypervisor))
}

impl Options {
    /// Returns the hypervisors of the options.
    fn places(&self) -> Result<Vec<Place>> {
        let running = running().context("cannot list the sockets of this host")?;
        choose(&running, &self.socket, self.hypervisor.as_deref())
    }

    /// Returns the only hypervisor of the options.
    fn place(&self) -> Result<Place> {
        self.place_of(None)
    }

    /// Returns the hypervisor `named`, or else the only one of the options.
    fn place_of(&self, named: Option<&str>) -> Result<Place> {
        let running = running().context("cannot list the sockets of this host")?;
        let mut places = choose(&running, &self.socket, named.or(self.hypervisor.as_deref()))?;
        if places.len() > 1 {
            let names: Vec<_> = places.iter().map(|place| place.hypervisor.as_str()).collect();
            bail!("cannot choose a hypervisor: the run has several; add --hypervisor with one of {}", names.join(", "));
        }
        places.pop().context("cannot find a running machine: start one with `cargo portico run`")
    }

    /// Sends a request about the partition `name`, and returns the records of the answer as lines.
    fn request<'a>(&self, request: fn(&'a str) -> Request<'a>, verb: &str, name: &'a str) -> Result<Vec<String>> {
        ensure!(!name.contains(char::is_control), "cannot {verb} {name:?}: a name has no control characters");
        ask(&self.place()?, &request(name)).with_context(|| format!("cannot {verb} {name}"))
    }

    fn set_port(&self, name: &str, cable: Cable) -> Result<()> {
        ensure!(!name.contains(char::is_control), "cannot plug or unplug {name:?}: a name has no control characters");
        let place = self.place()?;
        let port = match state(&place)?.place_of(name) {
            Some((uplink, port)) => SwitchPort { uplink, port },
            None => name.parse().with_context(|| format!("cannot find the port {name:?}"))?,
        };
        let direction = match cable {
            Cable::Up => LinkStatus::Up,
            Cable::Down => LinkStatus::Down,
        };
        ask(&place, &Request::Port(port, direction))
            .with_context(|| format!("cannot set the cable of {name} {direction}"))?;
        Ok(())
    }

    fn add(&self, words: &[String]) -> Result<()> {
        let partition = Partition::from_words(words)?;
        if let Some(Image { name, file: None }) = &partition.image {
            let names = IMAGES.join(", ");
            ensure!(
                IMAGES.contains(&name.text()),
                "cannot find the image {name}: name one of {names}, or a file that the machine \
                 got at its start"
            );
        }
        let place = self.place_of(partition.hypervisor.as_deref())?;
        // Each kernel checks its own names; a bridge's name must be unique among all hypervisors.
        for other in choose(&running()?, &self.socket, None)?.iter().filter(|other| **other != place) {
            let is_taken = state(other)?.lhcas.iter().any(|lhca| lhca.name == partition.name.text());
            ensure!(
                !is_taken,
                "cannot add {}: {} has a partition of this name; choose another",
                partition.name,
                other.hypervisor
            );
        }
        let uplinks = if state(&place)?.uplinks.len() > 1 { Uplinks::BOTH } else { Uplinks::FIRST };
        let row = table::row(&place.hypervisor, uplinks, &partition)?;
        let request = Request::Add(Row::packed(row.as_bytes()));
        ask(&place, &request).with_context(|| format!("cannot add {}", partition.name))?;
        Ok(())
    }
}

/// Returns the control lines of the run at `socket`: all, or that of `hypervisor`.
fn choose(running: &[Place], socket: &str, hypervisor: Option<&str>) -> Result<Vec<Place>> {
    let places: Vec<_> = running.iter().filter(|place| place.socket == socket).cloned().collect();
    if places.is_empty() {
        let mut others: Vec<_> = running.iter().map(|place| place.socket.as_str()).collect();
        others.dedup();
        ensure!(!others.is_empty(), "cannot find a running machine on this host: start one with `cargo portico run`");
        bail!("cannot find a machine at the socket {socket}: use --socket with one of {}", others.join(", "));
    }
    let Some(hypervisor) = hypervisor else { return Ok(places) };
    let names: Vec<_> = places.iter().map(|place| place.hypervisor.clone()).collect();
    let place = places.into_iter().find(|place| place.hypervisor == hypervisor);
    let place = place.with_context(|| {
        format!("cannot find the hypervisor {hypervisor} at the socket {socket}: known are {}", names.join(", "))
    })?;
    Ok(vec![place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_socket_or_hypervisor_is_refused_with_the_known_ones() {
        let place = |(socket, hypervisor): (&str, &str)| Place { socket: socket.into(), hypervisor: hypervisor.into() };
        let running = [("a", "east"), ("a", "west"), ("b", "portico-0")].map(place);
        assert_eq!(choose(&running, "a", None).unwrap(), running[..2]);
        assert_eq!(choose(&running, "a", Some("west")).unwrap(), running[1..2]);
        let error = |socket, hypervisor| choose(&running, socket, hypervisor).unwrap_err().to_string();
        assert_eq!(error("b", Some("east")), "cannot find the hypervisor east at the socket b: known are portico-0");
        assert_eq!(error("c", None), "cannot find a machine at the socket c: use --socket with one of a, b");
        let none = choose(&[], "a", None).unwrap_err().to_string();
        assert_eq!(none, "cannot find a running machine on this host: start one with `cargo portico run`");
    }
}
