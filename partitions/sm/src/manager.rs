//! The manager: what it does next, and what it makes of what comes.

use core::time::Duration;

use iba::attr::{CapabilityMask, PortInfo, SmControl, SmInfo, SmState, SwitchInfo};
use iba::mad::{Attribute, Class, Method, Status};
use iba::notice::Notice;
use iba::smp::Smp;
use iba::{Guid, Lid, Qpn};

use crate::config::Config;
use crate::discover::{Discovery, Question, Requests};
use crate::election::{Verdict, is_above, is_alive, judge, obey};
use crate::lids::Lids;
use crate::outlet::{Address, Event, Outlet, SweepReport};
use crate::ports::{Master, activate, admit, configure};
use crate::route::{Route, request};
use crate::routing::fill_tables;
use crate::sa::{Administration, Knowledge};
use crate::tables::Tables;
use crate::topology::Topology;
use crate::traps::{Consequence, claim, consequence, repress};

/// A sweep that meets failures is begun anew so often at once; then they are let be until the next one.
const RESTARTS: u32 = 3;

/// A subnet manager at one port.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    guid: Guid,
    state: SmState,
    /// Whether the subnet was not swept to the end since we are master.
    is_new: bool,
    task: Task,
    requests: Requests,
    /// As it was found last.
    topology: Topology,
    lids: Lids,
    tables: Tables,
    /// When the next task begins.
    wake: Duration,
    /// Whether something changed, so that looking is not enough.
    is_changed: bool,
    /// Whether switches are to be told of multicast groups.
    are_groups_changed: bool,
    restarts: u32,
    /// The manager that a standby polls; `None` for the one whose LID our port was told.
    polled: Option<Route>,
    /// Polls in a row that were not answered.
    missed: u32,
    administration: Administration,
    /// Counts what is done, so that others see us alive.
    activity: u32,
}

/// What a manager is about. A task ends when all its requests are answered or given up.
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
            administration: Administration::default(),
            activity: 0,
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> SmState {
        self.state
    }

    /// The manager's own port changed: its link went up or down, or somebody set it.
    pub fn port_changed(&mut self, now: Duration) {
        if self.state == SmState::MASTER {
            self.change(now);
        }
    }

    /// Deals with `mad`, which `from` sent: to queue pair 0 if it came from queue pair 0, else to queue pair 1. Then does
    /// what is due, like [`Manager::poll`].
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
                if let Some(question) = self.requests.answer(smp) {
                    self.take(now, question, (smp.status() == Status::OK).then_some(smp), out);
                }
            }
            (Method::TRAP, Notice::ID) if self.state == SmState::MASTER => {
                let notice: &Notice = smp.attribute();
                out.tell(Event::Trap(notice.trap_number, notice.issuer_lid));
                send(from.lid, &repress(smp), out);
                match consequence(notice) {
                    Consequence::None => return,
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

    /// Answers a request for our SMInfo.
    fn answer(&mut self, from: &Address, request: &Smp, status: Status, out: &mut impl Outlet) {
        let mut smp = *request;
        smp.header.method = Method::GET_RESP;
        smp.set_returning(smp.header.class == Class::SUBN_DIRECTED_ROUTE);
        smp.set_status(status);
        smp.set_attribute(&self.info());
        out.send(from, zerocopy::transmute_ref!(&smp));
    }

    fn info(&mut self) -> SmInfo {
        self.activity = self.activity.wrapping_add(1);
        let mut info = SmInfo::default();
        (info.guid, info.sm_key, info.act_count) = (self.guid, self.config.sm_key, self.activity.into());
        info.set_priority(self.config.priority);
        info.set_state(self.state);
        info
    }

    /// Does what another manager asks for.
    fn take_order(&mut self, now: Duration, from: &Address, smp: &Smp, out: &mut impl Outlet) {
        let control = SmControl::new(smp.header.attribute_modifier.get());
        let sender: &SmInfo = smp.attribute();
        let Some(next) = obey(self.state, control, sender.state()) else {
            return self.answer(from, smp, Status::INVALID_FIELD, out);
        };
        self.answer(from, smp, Status::OK, out);
        match (control, next) {
            (SmControl::ACKNOWLEDGE, _) => return,
            (_, SmState::MASTER) => {
                self.stop(now);
                if self.state != SmState::MASTER {
                    self.acknowledge();
                }
                self.rise(out);
            }
            (_, next) => {
                self.stop(now);
                self.polled = None;
                self.set_state(next, out);
            }
        }
        self.is_changed = true;
    }

    /// Says to the master that was that we are master now.
    fn acknowledge(&mut self) {
        let info = self.info();
        let Some(route) = &self.polled else { return };
        let mut smp = route.request(Method::SET, SmInfo::ID, SmControl::ACKNOWLEDGE.get());
        smp.set_attribute(&info);
        self.requests.ask(Question::Acknowledge, Lid::PERMISSIVE, smp);
    }

    /// Becomes master, of a subnet that another may have left in any state.
    fn rise(&mut self, out: &mut impl Outlet) {
        self.set_state(SmState::MASTER, out);
        self.is_new = true;
        self.tables.clear();
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

    /// Something changed: there is to be a sweep soon, or after the one that is on its way.
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

    fn sweep(&mut self) {
        self.is_changed = false;
        self.task = Task::Discover(Discovery::begin(self.state == SmState::MASTER, &mut self.requests));
    }

    /// Asks our own port and the master how they are.
    fn ask_master(&mut self) {
        self.task = Task::Poll;
        self.ask_own();
        let own = self.topology.own().map(|(_, port)| port.info);
        let (lid, smp) = match (&self.polled, own) {
            (Some(route), _) => (Lid::PERMISSIVE, route.request(Method::GET, SmInfo::ID, 0)),
            (None, Some(own)) if own.master_sm_lid.is_unicast() => {
                (own.master_sm_lid, request(Class::SUBN_LID_ROUTED, Method::GET, SmInfo::ID, 0))
            }
            // We do not know yet who is master; that counts like one who does not answer.
            (None, _) => return self.missed += 1,
        };
        self.requests.ask(Question::Poll, lid, smp);
    }

    fn ask_own(&mut self) {
        let smp = Route::default().request(Method::GET, PortInfo::ID, 0);
        self.requests.ask(Question::LookAtOwn, Lid::PERMISSIVE, smp);
    }

    /// Asks the own port, all switches, and those who did not answer before.
    fn ask_for_changes(&mut self) {
        self.task = Task::Look;
        self.ask_own();
        for node in self.topology.nodes.iter().filter(|node| node.is_switch()) {
            if let Some(port) = node.ports.values().next() {
                let smp = port.route.request(Method::GET, SwitchInfo::ID, 0);
                self.requests.ask(Question::LookAtSwitch, Lid::PERMISSIVE, smp);
            }
        }
        for &end in &self.topology.silent {
            if let Some(route) = self.topology.port(end).and_then(|port| port.route.then(end.port)) {
                let smp = route.request(Method::GET, iba::attr::NodeInfo::ID, 0);
                self.requests.ask(Question::LookForNode, Lid::PERMISSIVE, smp);
            }
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

    /// Notes what a Set made of its object.
    fn note(&mut self, question: Question, answer: Option<&Smp>) {
        match (question, answer) {
            (Question::SetPort(end), Some(smp)) => {
                if let Some(port) = self.topology.port_mut(end) {
                    port.info = *smp.attribute();
                    port.info.set_client_reregister(false);
                }
            }
            (Question::SetPKeys(end), Some(smp)) => {
                if let Some(port) = self.topology.port_mut(end) {
                    port.p_keys = Some(*smp.attribute());
                }
            }
            (Question::SetSwitch(node), Some(smp)) => {
                let info: &SwitchInfo = smp.attribute();
                self.topology.nodes[node].switch = Some(*info);
                self.tables.note_top(self.topology.nodes[node].info.node_guid, info.linear_fdb_top);
            }
            (Question::SetMulticast(node, modifier), answer) => {
                self.tables.note_multicast(self.topology.nodes[node].info.node_guid, modifier, answer);
            }
            (Question::SetLinear(node, block), answer) => {
                self.tables.note_block(self.topology.nodes[node].info.node_guid, block, answer);
            }
            _ => {}
        }
    }

    fn take_look(&mut self, question: Question, answer: Option<&Smp>) {
        self.is_changed |= match (question, answer) {
            (Question::LookAtSwitch, Some(smp)) => smp.attribute::<SwitchInfo>().port_state_change(),
            (Question::LookAtOwn, Some(smp)) => {
                let info: &PortInfo = smp.attribute();
                let own = self.topology.own().map(|(_, port)| (port.info.port_state(), port.info.lid));
                own != Some((info.port_state(), info.lid))
            }
            (Question::LookForNode, answer) => answer.is_some(),
            _ => true,
        };
    }

    fn take_poll(&mut self, question: Question, answer: Option<&Smp>, out: &mut impl Outlet) {
        match (question, answer) {
            (Question::LookAtOwn, Some(smp)) => {
                if let Some((end, _)) = self.topology.own()
                    && let Some(port) = self.topology.port_mut(end)
                {
                    port.info = *smp.attribute();
                }
            }
            (Question::Poll, Some(smp)) => {
                let (own, other): (_, &SmInfo) = (self.info(), smp.attribute());
                self.missed = if is_alive(&own, other) { 0 } else { self.missed + 1 };
                if other.state() == SmState::MASTER && is_above(&own, other) {
                    self.claim(None, out);
                }
            }
            (Question::Poll, None) => self.missed += 1,
            _ => {}
        }
    }

    /// Tells a master, the one at `lid` or our own, that we have more right to be it.
    fn claim(&mut self, lid: Option<Lid>, out: &mut impl Outlet) {
        self.activity = self.activity.wrapping_add(1);
        let Some((_, port)) = self.topology.own() else { return };
        let master = lid.unwrap_or(port.info.master_sm_lid);
        if port.info.lid.is_unicast() && master.is_unicast() {
            let capabilities: CapabilityMask = port.info.capability_mask();
            let smp = claim(port.info.lid, self.activity, capabilities);
            send(master, &smp, out);
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

    /// All is found: decides who is to be master.
    fn decide(&mut self, now: Duration, discovery: Discovery, out: &mut impl Outlet) {
        if discovery.found.own().is_none() {
            self.is_changed = true;
            self.wake = now + self.config.poll_interval;
            return;
        }
        let own = self.info();
        let route = |end| discovery.found.port(end).map(|port| port.route.clone()).unwrap_or_default();
        match judge(&own, &discovery.found.managers) {
            Verdict::Manage => self.configure(discovery, out),
            Verdict::StandBy(end) => {
                let route = route(end);
                self.topology = discovery.found;
                self.stand_by(now, route, out);
            }
            Verdict::HandOver(end) => {
                let route = route(end);
                let mut smp = route.request(Method::SET, SmInfo::ID, SmControl::HANDOVER.get());
                smp.set_attribute(&own);
                self.requests.ask(Question::HandOver(route), Lid::PERMISSIVE, smp);
                self.task = Task::HandOver(discovery);
            }
            Verdict::Wait(end) => {
                let lid = discovery.found.port(end).map(|port| port.info.lid);
                self.topology = discovery.found;
                self.claim(lid, out);
                self.rise(out);
                self.is_changed = true;
                self.wake = now + self.config.poll_interval;
            }
        }
    }

    fn stand_by(&mut self, now: Duration, master: Route, out: &mut impl Outlet) {
        self.stop(now);
        self.polled = Some(master);
        self.set_state(SmState::STANDBY, out);
    }

    /// Brings the subnet that was found up.
    fn configure(&mut self, discovery: Discovery, out: &mut impl Outlet) {
        if self.state != SmState::MASTER {
            self.rise(out);
        }
        let Discovery { found, is_stale, failures, sets, .. } = discovery;
        self.topology = found;
        self.is_changed |= is_stale;
        self.lids.assign(&self.topology);
        fill_tables(&mut self.topology, &self.lids);
        self.step(Step::Ports, SweepReport { failures, sets, ..SweepReport::default() });
    }

    fn step(&mut self, step: Step, mut report: SweepReport) {
        let Self { topology, requests, lids, .. } = self;
        let lid = |guid| lids.get(guid);
        report.sets += match step {
            Step::Ports => {
                let own = topology.own().and_then(|(_, port)| lid(port.guid)).unwrap_or_default();
                let master = Master { lid: own, is_new: self.is_new };
                let mut asked = 0;
                for (end, port) in topology.ports() {
                    let set = configure(topology, end, lid(port.guid), master).map(|smp| (Question::SetPort(end), smp));
                    let keys = admit(topology, end).map(|smp| (Question::SetPKeys(end), smp));
                    for (question, smp) in keys.into_iter().chain(set) {
                        requests.ask(question, Lid::PERMISSIVE, smp);
                        asked += 1;
                    }
                }
                asked
            }
            Step::Tables => {
                self.are_groups_changed = false;
                let groups = &mut self.administration.groups;
                groups.retain(topology);
                self.tables.ask(topology, requests) + self.tables.ask_multicast(topology, groups, requests)
            }
            Step::Groups => {
                self.are_groups_changed = false;
                self.tables.ask_multicast(topology, &self.administration.groups, requests)
            }
            Step::Activate => {
                let ready = |(end, _)| activate(topology, end).map(|smp| (Question::SetPort(end), smp));
                let asked = topology.ports().filter_map(ready);
                asked.map(|(question, smp)| requests.ask(question, Lid::PERMISSIVE, smp)).count()
            }
        };
        self.task = Task::Configure(step, report);
    }

    fn finish(&mut self, now: Duration, mut report: SweepReport, out: &mut impl Outlet) {
        report.nodes = self.topology.nodes.len();
        report.lids = self.topology.ends().filter(|(_, port)| port.info.lid.is_unicast()).count();
        report.silent = self.topology.silent.len();
        self.rest(now);
        if report.failures == 0 {
            (self.is_new, self.restarts) = (false, 0);
        } else {
            self.is_changed = true;
        }
        out.tell(Event::Swept(report));
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
