//! Between sweeps: whether anything changed that no trap told of.

use iba::Lid;
use iba::attr::{NodeInfo, PortInfo, SwitchInfo};
use iba::mad::{Attribute, Method};
use iba::smp::Smp;

use super::{Manager, Task};
use crate::discover::Question;
use crate::route::Route;

impl Manager {
    /// Asks the own port, all switches, and those who did not answer before.
    pub(super) fn ask_for_changes(&mut self) {
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
                let smp = route.request(Method::GET, NodeInfo::ID, 0);
                self.requests.ask(Question::LookForNode, Lid::PERMISSIVE, smp);
            }
        }
    }

    pub(super) fn take_look(&mut self, question: Question, answer: Option<&Smp>) {
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

    pub(super) fn ask_own(&mut self) {
        let smp = Route::default().request(Method::GET, PortInfo::ID, 0);
        self.requests.ask(Question::LookAtOwn, Lid::PERMISSIVE, smp);
    }
}
