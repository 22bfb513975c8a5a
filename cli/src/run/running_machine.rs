//! A running machine, and waits for its progress.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use iba::attr::PortState;

use crate::show::agent::Agent;
use crate::show::subnet::Subnet;
use portico_qemu::launch::{EmulatedMachine, Event, Plan};

/// Host at which OpenSM and tools attach by default.
pub(crate) const HOST: &str = "H1";

/// A running machine, and its events.
pub(crate) struct RunningMachine {
    machine: EmulatedMachine,
    events: Receiver<Event>,
    socket: String,
    time_limit: Duration,
}

/// Outcome of a wait.
pub(crate) enum Outcome<T> {
    /// The condition holds.
    Done(T),
    /// The user asked for the end.
    Interrupted,
}

/// Subnet manager whose sweep a wait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SweepSource {
    /// The OpenSM that this run started: its log reports the end of its sweep.
    Own,
    /// Any other: the states of the hosts' ports show the end of its sweep.
    Other,
}

/// Limit of a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The time limit of the machine.
    Limited,
    /// No limit.
    Unlimited,
}

impl RunningMachine {
    /// Starts the machine of `plan`. `sender` belongs to `events`; the caller may send events of its own.
    pub(crate) fn start(plan: Plan, sender: Sender<Event>, events: Receiver<Event>) -> Result<Self> {
        let lhcas = u32::try_from(plan.config.partitions.len()).unwrap_or(u32::MAX);
        let (socket, time_limit) = (plan.socket.clone(), TIME_LIMIT + TIME_LIMIT_PER_LHCA.saturating_mul(lhcas));
        Ok(Self { machine: EmulatedMachine::start(plan, sender)?, events, socket, time_limit })
    }

    /// Returns the machine.
    pub(crate) fn machine(&mut self) -> &mut EmulatedMachine {
        &mut self.machine
    }

    /// Waits until every logical node responds to a host; returns the subnet.
    pub(crate) fn wait_for_hypervisors(&mut self) -> Result<Outcome<Subnet>> {
        let deadline = Instant::now() + self.time_limit;
        let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
        loop {
            let missing: HashSet<_> = match Subnet::discover(&mut agent) {
                Ok(subnet) => {
                    let found: HashSet<_> = subnet.nodes.iter().map(|node| node.info.node_guid).collect();
                    if self.machine.logical_guids().all(|guid| found.contains(&guid)) {
                        return Ok(Outcome::Done(subnet));
                    }
                    self.machine.logical_guids().filter(|guid| !found.contains(guid)).collect()
                }
                Err(error) if Instant::now() > deadline => return Err(error).context("cannot discover the subnet"),
                Err(_) => self.machine.logical_guids().collect(),
            };
            if Instant::now() > deadline {
                bail!(
                    "cannot boot: {} of {} logical nodes do not respond after {:?}\n{}",
                    missing.len(),
                    self.machine.logical_guids().count(),
                    self.time_limit,
                    self.machine.consoles()
                );
            }
            match self.next_event(POLL_INTERVAL)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp | Event::Ended(..)) | None => {}
            }
        }
    }

    /// Waits until a program can attach at `host`.
    pub(super) fn wait_for_port(&mut self, host: &str) -> Result<Outcome<()>> {
        let deadline = Instant::now() + self.time_limit;
        loop {
            match Agent::attach(&self.socket, host) {
                Ok(_) => return Ok(Outcome::Done(())),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("cannot attach at {host}\n{}", self.machine.consoles()));
                }
                Err(_) => {}
            }
            if let Some(Event::Interrupted) = self.next_event(POLL_INTERVAL)? {
                return Ok(Outcome::Interrupted);
            }
        }
    }

    /// Waits until the subnet manager's sweep is over and every port with a link is Active; returns the subnet.
    pub(crate) fn wait_for_subnet_up(&mut self, source: SweepSource, patience: Patience) -> Result<Outcome<Subnet>> {
        let deadline = Instant::now() + self.time_limit;
        let mut inactive = Vec::new();
        loop {
            let is_swept = match self.next_event(POLL_INTERVAL)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp) => true,
                Some(Event::Ended(..)) => false,
                None => source == SweepSource::Other && self.hosts_are_active(),
            };
            if is_swept || !inactive.is_empty() {
                let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
                let subnet = Subnet::discover(&mut agent)?;
                inactive = subnet
                    .inactive_ports()
                    .map(|(node, port)| format!("{} {}", node.description, port.number))
                    .collect();
                if inactive.is_empty() {
                    return Ok(Outcome::Done(subnet));
                }
            }
            if patience == Patience::Limited && Instant::now() > deadline {
                bail!(
                    "cannot bring the subnet up: no subnet manager is done after {:?}; not Active: {}\nsee the logs in {}\n{}",
                    self.time_limit,
                    if inactive.is_empty() { "unknown".into() } else { inactive.join(", ") },
                    self.machine.logs().display(),
                    self.machine.consoles()
                );
            }
        }
    }

    /// Serves the machine until the user asks for its end.
    pub(super) fn serve(&mut self) -> Result<()> {
        loop {
            if let Some(Event::Interrupted) = self.next_event(Duration::MAX)? {
                return Ok(());
            }
        }
    }

    /// Returns the next event within `timeout`, after it handled the end of a process.
    fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(timeout) {
            Ok(Event::Ended(process, status)) => {
                self.machine.handle_end(process, status)?;
                Ok(Some(Event::Ended(process, status)))
            }
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("cannot receive events: every sender is gone"),
        }
    }

    fn hosts_are_active(&self) -> bool {
        let Some(snapshot) = self.machine.fabric().snapshot() else { return false };
        let mut ports = snapshot.nodes.iter().flat_map(|node| &node.ports).filter(|port| port.number.get() != 0);
        ports.all(|port| matches!(port.info.port_state(), PortState::ACTIVE | PortState::DOWN))
    }
}

/// Interval between two looks at state that sends no event.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Time limit of the hypervisors' boot, and of the subnet manager's sweep.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Additional time for each LHCA.
const TIME_LIMIT_PER_LHCA: Duration = Duration::from_millis(500);
