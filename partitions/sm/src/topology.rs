//! Topology from a sweep: nodes, ports and links.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use iba::attr::{NodeDescription, NodeInfo, NodeType, PKeyTable, PortInfo, PortState, SmInfo, SwitchInfo};
use iba::{Guid, Lid, PortNum};

use crate::route::Route;

/// A port of a node: one end of a link. Nodes are numbered as they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) port: PortNum,
}

/// A node, as far as its ports were found: of a switch all, of an adapter those that are in this subnet.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// As the port told that was found first.
    pub(crate) info: NodeInfo,
    pub(crate) description: NodeDescription,
    /// Of a switch.
    pub(crate) switch: Option<SwitchInfo>,
    pub(crate) ports: BTreeMap<PortNum, Port>,
    /// Of a switch: the wanted port for each LID.
    pub(crate) table: Vec<PortNum>,
}

/// A port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// 0 of a switch's external port, which has none.
    pub(crate) guid: Guid,
    /// Route to the node.
    pub(crate) route: Route,
    pub(crate) info: PortInfo,
    /// The first block of its P_Keys, where it was asked for.
    pub(crate) p_keys: Option<PKeyTable>,
    /// The other end of its link.
    pub(crate) peer: Option<End>,
    /// `true` if the node is new and not configured yet.
    pub(crate) is_new: bool,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Node>,
    by_guid: BTreeMap<Guid, usize>,
    by_port_guid: BTreeMap<Guid, End>,
    /// Ports whose link is up, without a response from the other end.
    pub(crate) silent: Vec<End>,
    /// Other managers.
    pub(crate) managers: Vec<(End, SmInfo)>,
}

impl Node {
    pub(crate) fn is_switch(&self) -> bool {
        self.info.node_type == NodeType::SWITCH
    }

    /// Returns `true` if packets end at `port`, so that it has a LID.
    pub(crate) fn is_end(&self, port: PortNum) -> bool {
        !self.is_switch() || port == PortNum::MANAGEMENT
    }
}

impl Port {
    /// A port of which only the way to it is known.
    pub(crate) fn new(guid: Guid, route: Route) -> Self {
        Self { guid, route, info: PortInfo::default(), p_keys: None, peer: None, is_new: false }
    }

    /// Returns `true` if management packets pass its link.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.info.port_state(), PortState::INIT | PortState::ARMED | PortState::ACTIVE)
    }
}

impl Topology {
    /// Adds a node that is not known yet, and gives its number.
    pub(crate) fn add(&mut self, info: NodeInfo) -> usize {
        let number = self.nodes.len();
        self.by_guid.insert(info.node_guid, number);
        let (description, ports) = (NodeDescription::default(), BTreeMap::new());
        self.nodes.push(Node { info, description, switch: None, ports, table: Vec::new() });
        number
    }

    /// The number of the node with this GUID.
    pub(crate) fn find(&self, guid: Guid) -> Option<usize> {
        self.by_guid.get(&guid).copied()
    }

    /// Notes that the port at `end` has this GUID. False where another has it already: both would have one LID.
    pub(crate) fn hold(&mut self, guid: Guid, end: End) -> bool {
        *self.by_port_guid.entry(guid).or_insert(end) == end
    }

    pub(crate) fn port(&self, end: End) -> Option<&Port> {
        self.nodes.get(end.node)?.ports.get(&end.port)
    }

    pub(crate) fn port_mut(&mut self, end: End) -> Option<&mut Port> {
        self.nodes.get_mut(end.node)?.ports.get_mut(&end.port)
    }

    /// All ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (End, &Port)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.flat_map(|(node, it)| it.ports.iter().map(move |(&port, it)| (End { node, port }, it)))
    }

    /// Ports that packets end at.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (End, &Port)> {
        self.ports().filter(|(end, _)| self.nodes[end.node].is_end(end.port))
    }

    /// The manager's own port: the one that was found first.
    pub(crate) fn own(&self) -> Option<(End, &Port)> {
        self.nodes
            .first()?
            .ports
            .iter()
            .map(|(&port, it)| (End { node: 0, port }, it))
            .find(|(_, it)| it.route.is_here())
    }

    /// The other end of the link at `end`, where it is up and both ends are known.
    pub(crate) fn peer(&self, end: End) -> Option<(End, &Port)> {
        let port = self.port(end).filter(|port| port.is_up())?;
        let peer = port.peer?;
        Some((peer, self.port(peer).filter(|port| port.is_up())?))
    }

    /// Notes which ports that packets end at were not there `before`, or are new still.
    pub(crate) fn note_new_ports(&mut self, before: &Self) {
        let old: BTreeSet<Guid> = before.ends().filter(|(_, port)| !port.is_new).map(|(_, port)| port.guid).collect();
        for port in self.nodes.iter_mut().flat_map(|node| node.ports.values_mut()) {
            port.is_new = port.guid != Guid::default() && !old.contains(&port.guid);
        }
    }

    /// Forgets the name of the node whose port has this LID.
    pub(crate) fn forget_name(&mut self, lid: Lid) {
        let node = self.ends().find(|(_, port)| port.info.lid == lid).map(|(end, _)| end.node);
        if let Some(node) = node {
            self.nodes[node].description = NodeDescription::default();
        }
    }

    /// Notes that a link connects two ports. False where one of them has another link already: then two nodes or ports
    /// have one GUID.
    pub(crate) fn connect(&mut self, one: End, other: End) -> bool {
        let is_free = |end, to| self.port(end).is_some_and(|port| port.peer.is_none_or(|peer| peer == to));
        if !is_free(one, other) || !is_free(other, one) {
            return false;
        }
        for (end, to) in [(one, other), (other, one)] {
            if let Some(port) = self.port_mut(end) {
                port.peer = Some(to);
            }
        }
        true
    }
}
