//! The manager: what it does next, and what it makes of what comes.

mod look;
mod peers;
mod sweep;

use core::time::Duration;

use iba::attr::{SmInfo, SmState};
use iba::mad::{Attribute, Class, Method, Status};
use iba::notice::Notice;
use iba::smp::Smp;
use iba::{Guid, Lid, Qpn};

use crate::config::Config;
use crate::discover::{Discovery, Question, Requests};
use crate::lids::Lids;
use crate::outlet::{Address, Event, Outlet, SweepReport};
use crate::route::Route;
use crate::sa::{Administration, Knowledge};
use crate::tables::Tables;
use crate::topology::Topology;
use crate::traps::{Consequence, consequence, repress};

/// A sweep that meets failures is begun anew so often at once; then they are let be until the next one.
const RESTARTS: u32 = 3;

/// A subnet manager at one port.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    guid: Guid,
    state: SmState,
    /// `true` until the first sweep as master is complete.
    is_new: bool,
    task: Task,
    requests: Requests,
    /// As it was found last.
    topology: Topology,
    lids: Lids,
    tables: Tables,
    /// When the next task begins.
    wake: Duration,
    /// `true` if a change needs a heavy sweep.
    is_changed: bool,
    /// `true` if multicast groups changed, and switches must be updated.
    are_groups_changed: bool,
    restarts: u32,
    /// The manager that a standby polls; `None` for the one in MasterSMLID of our port.
    polled: Option<Route>,
    /// Polls in a row that were not answered.
    missed: u32,
    administration: Administration,
    /// Counts what is done, so that others see us alive.
    activity: u32,
}

/// Task of a manager. A task ends when all its requests have responses or are given up.
#[derive(Debug)]
enum Task {
    Idle,
    Discover(Discovery),
    Configure(Step, SweepReport),
    /// Looking whether anything changed.
    Look,
    /// Looking whether the master is alive.
    Poll,
    /// Handing over to a manager with more right to be master; what was found is for the case that it does not answer.
    HandOver(Discovery),
}

/// The steps of configuring, each begun when the one before is done.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// LIDs, P_Keys, lanes and MTUs; links to Armed.
    Ports,
    Tables,
    /// Links to Active.
    Activate,
    /// Multicast tables alone, between sweeps.
    Groups,
}

impl Manager {
    /// A manager at the port with this GUID. It begins when it is polled first.
    #[must_use]
    pub fn new(guid: Guid, config: Config, now: Duration) -> Self {
        // Time tells our requests from those of a predecessor at this port.
        let first = u32::try_from(now.as_micros() & 0xffff_ffff).unwrap_or(0);
        Self {
            requests: Requests::new(&config, first),
            administration: Administration::new(&config, first),
            config,
            guid,
            state: SmState::DISCOVERING,
            is_new: false,
            task: Task::Idle,
            topology: Topology::default(),
            lids: Lids::default(),
            tables: Tables::default(),
            wake: now,
            is_changed: true,
            are_groups_changed: false,
            restarts: 0,
            polled: None,
            missed: 0,
            activity: 0,
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> SmState {
        self.state
    }

    /// Something happened to the manager's own port: a master looks at once whether that is more than it did itself.
    pub fn port_changed(&mut self, now: Duration) {
        if self.state == SmState::MASTER && matches!(self.task, Task::Idle) {
            self.wake = self.wake.min(now + self.config.settle);
        }
    }

    /// Deals with `mad`, which `from` sent: to queue pair 0 if it came from queue pair 0, else to queue pair 1. Then
    /// does what is due, like [`Manager::poll`].
    pub fn receive(&mut self, now: Duration, from: &Address, mad: &[u8; 256], out: &mut impl Outlet) -> Duration {
        let smp: &Smp = zerocopy::transmute_ref!(mad);
        let is_smp = matches!(smp.header.class, Class::SUBN_LID_ROUTED | Class::SUBN_DIRECTED_ROUTE);
        if from.qp == Qpn::SMI && is_smp {
            self.take_smp(now, from, smp, out);
        } else if from.qp != Qpn::SMI && smp.header.class == Class::SUBN_ADM && self.state == SmState::MASTER {
            let own = self.info();
            let known = Knowledge { topology: &self.topology, own: &own };
            self.administration.receive(now, from, zerocopy::transmute_ref!(mad), known, out);
            self.are_groups_changed |= self.administration.groups.take_changed();
            if self.are_groups_changed && matches!(self.task, Task::Idle) {
                self.wake = now;
            }
        }
        self.poll(now, out)
    }

    /// Does what is due, and says when to come again if nothing is received before.
    pub fn poll(&mut self, now: Duration, out: &mut impl Outlet) -> Duration {
        loop {
            while let Some(question) = self.requests.expire(now, out) {
                self.take(now, question, None, out);
            }
            match self.task {
                Task::Idle if now < self.wake => break,
                Task::Idle => self.begin(),
                _ if self.requests.is_idle() => self.advance(now, out),
                _ => break,
            }
        }
        self.requests.send(now, out);
        let next = self.requests.deadline().unwrap_or(self.wake);
        self.administration.poll(now, out).map_or(next, |deadline| deadline.min(next))
    }

    fn take_smp(&mut self, now: Duration, from: &Address, smp: &Smp, out: &mut impl Outlet) {
        match (smp.header.method, smp.header.attribute_id) {
            (Method::GET_RESP, _) => {
                if let Some(question) = self.requests.answer(from.lid, &smp.header) {
                    self.take(now, question, (smp.status() == Status::OK).then_some(smp), out);
                }
            }
            (Method::TRAP, Notice::ID) if self.state == SmState::MASTER => {
                let notice: &Notice = smp.attribute();
                out.tell(Event::Trap(notice.trap_number, notice.issuer_lid));
                send(from.lid, &repress(smp), out);
                self.administration.events.tell(notice, &self.topology);
                match consequence(notice) {
                    Consequence::ReportOnly => return,
                    Consequence::Sweep => {}
                    Consequence::Rename(lid) => self.topology.forget_name(lid),
                }
                self.change(now);
            }
            (Method::GET, SmInfo::ID) => self.answer(from, smp, Status::OK, out),
            (Method::SET, SmInfo::ID) => self.take_order(now, from, smp, out),
            _ => {}
        }
    }

    fn set_state(&mut self, state: SmState, out: &mut impl Outlet) {
        if core::mem::replace(&mut self.state, state) != state {
            self.administration.clear();
            out.tell(Event::State(state));
        }
    }

    /// Leaves the task, so that the next one begins now.
    fn stop(&mut self, now: Duration) {
        self.requests.clear();
        self.task = Task::Idle;
        (self.wake, self.missed, self.restarts) = (now, 0, 0);
    }

    /// Notes a change: a sweep follows soon, or after the one that is under way.
    fn change(&mut self, now: Duration) {
        self.is_changed = true;
        if matches!(self.task, Task::Idle) {
            self.wake = self.wake.min(now + self.config.settle);
        }
    }

    /// Begins the next task.
    fn begin(&mut self) {
        match self.state {
            SmState::STANDBY => self.ask_master(),
            SmState::MASTER if !self.is_changed && self.are_groups_changed => {
                self.step(Step::Groups, SweepReport::default());
            }
            SmState::MASTER if !self.is_changed => self.ask_for_changes(),
            SmState::MASTER | SmState::DISCOVERING => self.sweep(),
            _ => self.wake = Duration::MAX,
        }
    }

    /// Takes the answer to a question; `None` stands for a refusal, or none in time.
    fn take(&mut self, now: Duration, question: Question, answer: Option<&Smp>, out: &mut impl Outlet) {
        let failures = match &mut self.task {
            Task::Discover(discovery) => {
                discovery.take(question, answer, &self.topology, &mut self.requests);
                discovery.failures
            }
            Task::Configure(_, report) => {
                report.failures += usize::from(answer.is_none());
                let failures = report.failures;
                self.note(question, answer);
                failures
            }
            Task::Look => return self.take_look(question, answer),
            Task::Poll => return self.take_poll(question, answer, out),
            Task::HandOver(_) => {
                if let (Question::HandOver(route), Some(_)) = (question, answer) {
                    self.stand_by(now, route, out);
                }
                return;
            }
            Task::Idle => return,
        };
        // What failed may be gone, and a new sweep would know: so as not to wait for all the rest of what is gone.
        if failures > 0 && self.restarts < RESTARTS {
            self.restarts += 1;
            self.requests.clear();
            self.sweep();
        }
    }

    /// A task's requests are all answered or given up: goes on.
    fn advance(&mut self, now: Duration, out: &mut impl Outlet) {
        match core::mem::replace(&mut self.task, Task::Idle) {
            Task::Idle => {}
            Task::Discover(discovery) => self.decide(now, discovery, out),
            Task::HandOver(discovery) => self.configure(discovery, out),
            Task::Look if self.is_changed => self.wake = now,
            Task::Look => self.rest(now),
            Task::Poll if self.missed >= self.config.poll_limit => {
                self.stop(now);
                self.set_state(SmState::DISCOVERING, out);
            }
            Task::Poll => self.wake = now + self.config.poll_interval,
            Task::Configure(step, report) => match step {
                Step::Ports => self.step(Step::Tables, report),
                Step::Tables => self.step(Step::Activate, report),
                Step::Activate => self.finish(now, report, out),
                Step::Groups => {
                    self.is_changed |= report.failures > 0;
                    self.rest(now);
                }
            },
        }
    }

    /// Does nothing until there is reason to, or it is time to look again.
    fn rest(&mut self, now: Duration) {
        self.wake = now
            + match (self.are_groups_changed, self.is_changed) {
                (true, _) => Duration::ZERO,
                (false, true) => self.config.settle,
                (false, false) => self.config.look_interval,
            };
    }
}

fn send(lid: Lid, smp: &Smp, out: &mut impl Outlet) {
    out.send(&Address::smi(lid), zerocopy::transmute_ref!(smp));
}
