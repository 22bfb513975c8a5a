//! Sweeps: from what was found to a subnet that is up.

use core::time::Duration;

use iba::Lid;
use iba::attr::{SmControl, SmInfo, SmState, SwitchInfo};
use iba::mad::{Attribute, Method};
use iba::smp::Smp;

use super::{Manager, Step, Task};
use crate::discover::{Discovery, Question};
use crate::election::{Verdict, judge};
use crate::outlet::{Event, Outlet, SweepReport};
use crate::ports::{Master, activate, admit, configure};
use crate::routing::fill_tables;

impl Manager {
    pub(super) fn sweep(&mut self) {
        self.is_changed = false;
        self.task = Task::Discover(Discovery::begin(self.state == SmState::MASTER, &mut self.requests));
    }

    /// Decides the election after discovery.
    pub(super) fn decide(&mut self, now: Duration, discovery: Discovery, out: &mut impl Outlet) {
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

    /// Brings the subnet that was found up.
    pub(super) fn configure(&mut self, discovery: Discovery, out: &mut impl Outlet) {
        if self.state != SmState::MASTER {
            self.rise(out);
        }
        let Discovery { mut found, is_stale, failures, sets, .. } = discovery;
        found.note_new_ports(&self.topology);
        self.topology = found;
        self.is_changed |= is_stale;
        self.lids.assign(&self.topology);
        fill_tables(&mut self.topology, &self.lids);
        self.step(Step::Ports, SweepReport { failures, sets, ..SweepReport::default() });
    }

    pub(super) fn step(&mut self, step: Step, mut report: SweepReport) {
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
                self.administration.retain_members(topology);
                let groups = &self.administration.groups;
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

    /// Notes what a Set made of its object.
    pub(super) fn note(&mut self, question: Question, answer: Option<&Smp>) {
        match (question, answer) {
            (Question::SetPort(end), Some(smp)) => {
                if let Some(port) = self.topology.port_mut(end) {
                    port.info = *smp.attribute();
                    port.info.set_client_reregister(false);
                    port.is_new = false;
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

    pub(super) fn finish(&mut self, now: Duration, mut report: SweepReport, out: &mut impl Outlet) {
        report.nodes = self.topology.nodes.len();
        report.lids = self.topology.ends().filter(|(_, port)| port.info.lid.is_unicast()).count();
        report.silent = self.topology.silent.len();
        self.administration.events.note_ports(&self.topology);
        self.rest(now);
        if report.failures == 0 {
            (self.is_new, self.restarts) = (false, 0);
        } else {
            self.is_changed = true;
        }
        out.tell(Event::Swept(report));
    }
}
