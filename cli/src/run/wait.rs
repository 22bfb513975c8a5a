//! A run under way, and what it waits for.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use iba::attr::PortState;

use crate::show::agent::Agent;
use crate::show::subnet::Subnet;
use portico_qemu::launch::machine::{Event, Machine, Plan};

/// Where OpenSM, and a tool that is not told otherwise, attaches.
pub(crate) const HOST: &str = "H1";

/// How often the fabric is looked at while something is waited for that sends no event.
const LOOK: Duration = Duration::from_millis(100);

/// What it takes at most until the hypervisors or the subnet manager are done; and more for each LHCA.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_PER_LHCA: Duration = Duration::from_millis(500);

/// How a wait ended that did not fail.
pub(crate) enum Outcome<T> {
    Done(T),
    Interrupted,
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) machine: Machine,
    events: Receiver<Event>,
    socket: String,
    patience: Duration,
}

impl Run {
    /// Starts the machine, which tells of what happens through `sender` to `events`.
    pub(crate) fn start(plan: Plan, sender: Sender<Event>, events: Receiver<Event>) -> Result<Self> {
        let lhcas = u32::try_from(plan.config.partitions.len()).unwrap_or(u32::MAX);
        let (socket, patience) = (plan.socket.clone(), PATIENCE + PATIENCE_PER_LHCA.saturating_mul(lhcas));
        Ok(Self { machine: Machine::start(plan, sender)?, events, socket, patience })
    }

    /// Waits until the hypervisors answer for all their logical nodes, as a peer sees it.
    pub(crate) fn wait_for_hypervisors(&mut self) -> Result<Outcome<Subnet>> {
        let deadline = Instant::now() + self.patience;
        let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
        loop {
            let missing: HashSet<_> = match Subnet::look(&mut agent) {
                Ok(subnet) => {
                    let found: HashSet<_> = subnet.nodes.iter().map(|node| node.info.node_guid).collect();
                    if self.machine.logical_guids().all(|guid| found.contains(&guid)) {
                        return Ok(Outcome::Done(subnet));
                    }
                    self.machine.logical_guids().filter(|guid| !found.contains(guid)).collect()
                }
                Err(error) if Instant::now() > deadline => return Err(error).context("the fabric cannot be looked at"),
                Err(_) => self.machine.logical_guids().collect(),
            };
            if Instant::now() > deadline {
                bail!(
                    "{} of {} logical nodes do not answer after {:?}\n{}",
                    missing.len(),
                    self.machine.logical_guids().count(),
                    self.patience,
                    self.machine.consoles()
                );
            }
            match self.next_event(LOOK)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp | Event::Ended(..)) | None => {}
            }
        }
    }

    /// Waits until programs can attach at `host`.
    pub(super) fn wait_for_port(&mut self, host: &str) -> Result<Outcome<()>> {
        let deadline = Instant::now() + self.patience;
        loop {
            match Agent::attach(&self.socket, host) {
                Ok(_) => return Ok(Outcome::Done(())),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("cannot attach at {host}\n{}", self.machine.consoles()));
                }
                Err(_) => {}
            }
            if let Some(Event::Interrupted) = self.next_event(LOOK)? {
                return Ok(Outcome::Interrupted);
            }
        }
    }

    /// Waits until the subnet manager says that it is done, and all ports are Active as a peer sees them.
    ///
    /// Without an SM of our own, another one's work is recognized by the hosts' ports; it is waited for without a limit
    /// if `patiently`.
    pub(crate) fn wait_for_subnet_up(&mut self, own_sm: bool, patiently: bool) -> Result<Outcome<Subnet>> {
        let deadline = Instant::now() + self.patience;
        let mut inactive = Vec::new();
        loop {
            let said_up = match self.next_event(LOOK)? {
                Some(Event::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Event::SubnetUp) => true,
                Some(Event::Ended(..)) => false,
                // A manager that somebody else attached says nothing to us.
                None => !own_sm && self.hosts_are_active(),
            };
            if said_up || !inactive.is_empty() {
                let mut agent = Agent::attach(&self.socket, HOST).context("cannot attach to the fabric")?;
                let subnet = Subnet::look(&mut agent)?;
                inactive = subnet
                    .inactive_ports()
                    .map(|(node, port)| format!("{} {}", node.description, port.number))
                    .collect();
                if inactive.is_empty() {
                    return Ok(Outcome::Done(subnet));
                }
            }
            if !patiently && Instant::now() > deadline {
                bail!(
                    "no subnet manager has brought the subnet up after {:?}; not Active: {}\nsee the logs in {}\n{}",
                    self.patience,
                    if inactive.is_empty() { "not known".into() } else { inactive.join(", ") },
                    self.machine.logs().display(),
                    self.machine.consoles()
                );
            }
        }
    }

    /// Looks after the machine until it is to end.
    pub(super) fn stay(&mut self) -> Result<()> {
        loop {
            if let Some(Event::Interrupted) = self.next_event(Duration::MAX)? {
                return Ok(());
            }
        }
    }

    /// The next event within `patience`. The end of a process has been dealt with already.
    fn next_event(&mut self, patience: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(patience) {
            Ok(Event::Ended(process, status)) => {
                self.machine.ended(process, status)?;
                Ok(Some(Event::Ended(process, status)))
            }
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody is left to tell of events"),
        }
    }

    fn hosts_are_active(&self) -> bool {
        let Some(snapshot) = self.machine.fabric().snapshot() else { return false };
        let mut ports = snapshot.nodes.iter().flat_map(|node| &node.ports).filter(|port| port.number.get() != 0);
        ports.all(|port| matches!(port.info.port_state(), PortState::ACTIVE | PortState::DOWN))
    }
}
