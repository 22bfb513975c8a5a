//! Discovery: from port to port by directed routes (IBA vol. 1, 14.4.3).

use iba::attr::{
    CapabilityMask, NodeDescription, NodeInfo, NodeType, PKeyTable, PortInfo, PortState, SmInfo, SwitchInfo,
};
use iba::mad::{Attribute, Method};
use iba::smp::Smp;
use iba::{Lid, PortNum};

use crate::route::Route;
use crate::topology::{End, Port, Topology};
use crate::transactions::Transactions;

/// Purpose of a request.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// NodeInfo at the end of this route: of the other end of the link at `from`, or without one of this node.
    Node { route: Route, from: Option<End> },
    /// Description and ports of a node.
    Description(usize),
    /// SwitchInfo of a switch.
    Switch(usize),
    /// A switch's note of changes to be cleared.
    ClearChange(usize),
    /// A port.
    Port(End),
    /// A port without a response from the other end of its link.
    Confirm(End),
    /// The first P_Keys of a port.
    PKeys(End),
    /// The manager at a port.
    Manager(End),
    /// A change of a port.
    SetPort(End),
    /// A change of a port's P_Keys.
    SetPKeys(End),
    /// A change of what a switch says of itself.
    SetSwitch(usize),
    /// A block of a switch's linear forwarding table.
    SetLinear(usize, usize),
    /// A block of a switch's multicast forwarding table, by its attribute modifier.
    SetMulticast(usize, u32),
    /// PortStateChange of a switch.
    LookAtSwitch,
    /// A further probe of a link without a response.
    LookForNode,
    /// PortInfo of the manager's own port.
    LookAtOwn,
    /// Poll of the master.
    Poll,
    /// The master's place offered to another manager, at the end of this route.
    HandOver(Route),
    /// The master's place accepted.
    Acknowledge,
}

pub(crate) type Requests = Transactions<Question>;

/// A discovery on its way.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) found: Topology,
    /// `true` if this manager is master, and may clear PortStateChange.
    pub(crate) is_master: bool,
    /// A note of changes that could not be cleared, because we are not master yet.
    pub(crate) is_stale: bool,
    /// Requests that were not answered as they should be, though the node had answered before.
    pub(crate) failures: usize,
    /// Requests that changed something.
    pub(crate) sets: usize,
}

impl Discovery {
    /// Begins at the manager's own port.
    pub(crate) fn begin(is_master: bool, requests: &mut Requests) -> Self {
        ask_node(Route::default(), None, requests);
        Self { is_master, ..Self::default() }
    }

    /// Takes an answer; `None` stands for none in time. `known` is what was found before: what does not change without
    /// a trap is taken from there.
    pub(crate) fn take(&mut self, question: Question, answer: Option<&Smp>, known: &Topology, requests: &mut Requests) {
        match (question, answer) {
            (Question::Node { route, from }, Some(smp)) => {
                self.take_node(route, from, smp.attribute(), known, requests)
            }
            (Question::Node { from: Some(from), .. }, None) => self.confirm(from, requests),
            (Question::Confirm(from), Some(smp)) => {
                if let Some(port) = self.found.port_mut(from) {
                    port.info = *smp.attribute();
                    let is_up = port.is_up();
                    self.found.silent.extend(is_up.then_some(from));
                }
            }
            (Question::Description(node), Some(smp)) => {
                self.found.nodes[node].description = *smp.attribute::<NodeDescription>();
            }
            (Question::Switch(node), Some(smp)) => self.take_switch(node, smp.attribute(), requests),
            (Question::ClearChange(node), answer) => {
                self.sets += 1;
                self.failures += usize::from(answer.is_none());
                self.ask_ports(node, requests);
            }
            (Question::Port(end), Some(smp)) => self.take_port(end, smp.attribute(), known, requests),
            (Question::PKeys(end), Some(smp)) => {
                if let Some(port) = self.found.port_mut(end) {
                    port.p_keys = Some(*smp.attribute());
                }
            }
            (Question::Manager(end), Some(smp)) => self.found.managers.push((end, *smp.attribute::<SmInfo>())),
            // A manager may go at any time, and its bit a little later.
            (Question::Manager(_), None) | (Question::Acknowledge, _) => {}
            _ => self.failures += 1,
        }
    }

    fn take_node(
        &mut self,
        route: Route,
        from: Option<End>,
        info: &NodeInfo,
        before: &Topology,
        requests: &mut Requests,
    ) {
        let known = self.found.find(info.node_guid);
        let node = known.unwrap_or(self.found.nodes.len());
        let holder = if info.node_type == NodeType::SWITCH { PortNum::MANAGEMENT } else { info.local_port };
        if !self.found.hold(info.port_guid, End { node, port: holder }) {
            self.found.silent.extend(from);
            return;
        }
        let is_new = known.is_none();
        if is_new {
            self.found.add(*info);
        }
        let end = End { node, port: info.local_port };
        let is_switch = self.found.nodes[node].is_switch();
        if is_new && is_switch {
            let ports = (0..=info.num_ports).map(PortNum::new);
            let guid = |port| if port == PortNum::MANAGEMENT { info.port_guid } else { 0.into() };
            self.found.nodes[node].ports = ports.map(|port| (port, Port::new(guid(port), route.clone()))).collect();
            requests.ask(Question::Switch(node), Lid::PERMISSIVE, route.request(Method::GET, SwitchInfo::ID, 0));
        } else if !is_switch && self.found.port(end).is_none() {
            self.found.nodes[node].ports.insert(end.port, Port::new(info.port_guid, route.clone()));
            self.ask_port(end, requests);
        }
        if is_new {
            let name = before.find(info.node_guid).map(|node| before.nodes[node].description);
            match name.filter(|description| !description.text().is_empty()) {
                Some(description) => self.found.nodes[node].description = description,
                None => {
                    let smp = route.request(Method::GET, NodeDescription::ID, 0);
                    requests.ask(Question::Description(node), Lid::PERMISSIVE, smp);
                }
            }
        }
        if let Some(from) = from
            && !self.found.connect(from, end)
        {
            self.found.silent.push(from);
        }
    }

    fn take_switch(&mut self, node: usize, info: &SwitchInfo, requests: &mut Requests) {
        self.found.nodes[node].switch = Some(*info);
        if !(info.port_state_change() && self.is_master) {
            self.is_stale |= info.port_state_change();
            return self.ask_ports(node, requests);
        }
        // Cleared before the ports are read, so that a change after that is noted anew.
        if let Some(port) = self.found.port(End { node, port: PortNum::MANAGEMENT }) {
            let mut smp = port.route.request(Method::SET, SwitchInfo::ID, 0);
            smp.set_attribute(info);
            requests.ask(Question::ClearChange(node), Lid::PERMISSIVE, smp);
        }
    }

    fn ask_ports(&self, node: usize, requests: &mut Requests) {
        for &port in self.found.nodes[node].ports.keys() {
            self.ask_port(End { node, port }, requests);
        }
    }

    /// Requests PortInfo of the port at `from`, whose other end did not respond: its link may be down by now, or the
    /// whole way there gone, with all requests that are still to come.
    fn confirm(&self, from: End, requests: &mut Requests) {
        if let Some(port) = self.found.port(from) {
            let smp = port.route.request(Method::GET, PortInfo::ID, u32::from(from.port.get()));
            requests.ask_first(Question::Confirm(from), Lid::PERMISSIVE, smp);
        }
    }

    fn ask_port(&self, end: End, requests: &mut Requests) {
        if let Some(port) = self.found.port(end) {
            let smp = port.route.request(Method::GET, PortInfo::ID, u32::from(end.port.get()));
            requests.ask(Question::Port(end), Lid::PERMISSIVE, smp);
        }
    }

    fn take_port(&mut self, end: End, info: &PortInfo, known: &Topology, requests: &mut Requests) {
        let is_switch = self.found.nodes[end.node].is_switch();
        let is_end = self.found.nodes[end.node].is_end(end.port);
        let Some(port) = self.found.port_mut(end) else { return };
        port.info = *info;
        let route = port.route.clone();
        let goes_on = port.is_up() && port.peer.is_none() && (route.is_here() || is_switch) && !(is_switch && is_end);
        if goes_on && let Some(route) = route.then(end.port) {
            ask_node(route, Some(end), requests);
        }
        if !is_end {
            return;
        }
        if info.capability_mask().contains(CapabilityMask::SM) && !route.is_here() {
            requests.ask(Question::Manager(end), Lid::PERMISSIVE, route.request(Method::GET, SmInfo::ID, 0));
        }
        let before = known.find(self.found.nodes[end.node].info.node_guid);
        let before = before.and_then(|node| known.port(End { node, port: end.port }));
        let p_keys = before.and_then(|port| port.p_keys).filter(|_| info.port_state() == PortState::ACTIVE);
        match p_keys {
            Some(_) => {
                if let Some(port) = self.found.port_mut(end) {
                    port.p_keys = p_keys;
                }
            }
            None => requests.ask(Question::PKeys(end), Lid::PERMISSIVE, route.request(Method::GET, PKeyTable::ID, 0)),
        }
    }
}

fn ask_node(route: Route, from: Option<End>, requests: &mut Requests) {
    let smp = route.request(Method::GET, NodeInfo::ID, 0);
    requests.ask(Question::Node { route, from }, Lid::PERMISSIVE, smp);
}
