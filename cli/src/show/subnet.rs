//! The subnet as a host sees it: found by directed routes from that host on.

use std::collections::{HashMap, VecDeque};

use iba::attr::{NodeDescription, NodeInfo, NodeType, PortInfo, PortState};
use iba::mad::Attribute;
use iba::{Guid, PortNum};
use thiserror::Error;

use super::agent::{Agent, AskError};

/// Times that a request is made before it counts as unanswered: datagrams may be lost.
const TRIES: u32 = 3;

/// Hops that a route may have (14.2.2, C14-6).
const MAX_HOPS: usize = iba::smp::HOP_LIMIT as usize - 1;

/// The nodes of a subnet, in the order in which they were found. The first is the host that looked.
#[derive(Debug, Default)]
pub(crate) struct Subnet {
    pub(crate) nodes: Vec<Node>,
}

/// A node of a subnet.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) info: NodeInfo,
    pub(crate) description: NodeDescription,
    /// All ports of a switch, its management port first; of a channel adapter those that a route led to.
    pub(crate) ports: Vec<Port>,
}

/// A port of a node.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: PortNum,
    /// A switch has one for its management port alone.
    pub(crate) guid: Option<Guid>,
    pub(crate) info: PortInfo,
    /// What its link leads to: a node, as an index of [`Subnet::nodes`], and a port of that node.
    pub(crate) peer: Option<(usize, PortNum)>,
}

/// Why a subnet cannot be looked at.
#[derive(Debug, Error)]
#[error("the node at the end of route {} does not give its {what}", dotted(.route))]
pub(crate) struct LookError {
    what: &'static str,
    route: Vec<PortNum>,
    #[source]
    cause: AskError,
}

/// A node that is still to be looked at.
#[derive(Default)]
struct Ahead {
    route: Vec<PortNum>,
    /// The node and port that lead to it; none before the host itself.
    from: Option<(usize, PortNum)>,
}

impl Subnet {
    /// Looks at all that `agent` can reach.
    ///
    /// # Errors
    /// A node that said what it is does not say the rest.
    pub(crate) fn look(agent: &mut Agent) -> Result<Self, LookError> {
        let mut subnet = Self::default();
        let mut known: HashMap<Guid, usize> = HashMap::new();
        let mut ahead = VecDeque::from([Ahead::default()]);
        while let Some(Ahead { route, from }) = ahead.pop_front() {
            let info: NodeInfo = match ask(agent, &route, 0, "NodeInfo") {
                Ok(info) => info,
                // The link has just come up, or is about to go: the port is shown with nobody behind it.
                Err(LookError { cause: AskError::NoAnswer, .. }) if from.is_some() => continue,
                Err(error) => return Err(error),
            };
            let at = if let Some(&at) = known.get(&info.node_guid) {
                subnet.nodes[at].look_at_entry(agent, &route, &info)?;
                at
            } else {
                let at = subnet.nodes.len();
                let node = Node::look(agent, &route, info)?;
                // A switch passes requests on, and so does the host itself; another channel adapter does not.
                let passes_on = info.node_type == NodeType::SWITCH || from.is_none();
                if passes_on && route.len() < MAX_HOPS {
                    let entry = from.map(|_| info.local_port);
                    for port in node.ports.iter().filter(|port| port.is_linked() && Some(port.number) != entry) {
                        let route = [&route[..], &[port.number]].concat();
                        ahead.push_back(Ahead { route, from: Some((at, port.number)) });
                    }
                }
                known.insert(info.node_guid, at);
                subnet.nodes.push(node);
                at
            };
            if let Some(from) = from {
                subnet.connect(from, (at, info.local_port));
            }
        }
        Ok(subnet)
    }

    fn connect(&mut self, a: (usize, PortNum), b: (usize, PortNum)) {
        for ((node, number), other) in [(a, b), (b, a)] {
            if let Some(port) = self.nodes[node].ports.iter_mut().find(|port| port.number == number) {
                port.peer = Some(other);
            }
        }
    }

    /// Ports that have a link and are not Active.
    pub(crate) fn inactive_ports(&self) -> impl Iterator<Item = (&Node, &Port)> {
        let ports = self.nodes.iter().flat_map(|node| node.ports.iter().map(move |port| (node, port)));
        ports.filter(|(_, port)| port.is_linked() && port.info.port_state() != PortState::ACTIVE)
    }

    /// How many LIDs the nodes have between them.
    pub(crate) fn lids(&self) -> usize {
        let ports = self.nodes.iter().flat_map(|node| &node.ports);
        ports.filter(|port| port.guid.is_some() && port.info.lid.is_unicast()).map(|port| 1 << port.info.lmc()).sum()
    }
}

impl Node {
    fn look(agent: &mut Agent, route: &[PortNum], info: NodeInfo) -> Result<Self, LookError> {
        let description = ask(agent, route, 0, "NodeDescription")?;
        let mut node = Self { info, description, ports: Vec::new() };
        if info.node_type == NodeType::SWITCH {
            for number in 0..=info.num_ports {
                let guid = (number == 0).then_some(info.port_guid);
                node.look_at_port(agent, route, PortNum::new(number), guid)?;
            }
        } else {
            node.look_at_entry(agent, route, &info)?;
        }
        Ok(node)
    }

    /// Adds the port by which a channel adapter was reached; `info` is its answer by this route.
    fn look_at_entry(&mut self, agent: &mut Agent, route: &[PortNum], info: &NodeInfo) -> Result<(), LookError> {
        if self.ports.iter().any(|port| port.number == info.local_port) {
            return Ok(());
        }
        self.look_at_port(agent, route, info.local_port, Some(info.port_guid))
    }

    fn look_at_port(
        &mut self,
        agent: &mut Agent,
        route: &[PortNum],
        number: PortNum,
        guid: Option<Guid>,
    ) -> Result<(), LookError> {
        let info = ask(agent, route, number.get().into(), "PortInfo")?;
        self.ports.push(Port { number, guid, info, peer: None });
        Ok(())
    }

    /// Whether it is a switch.
    pub(crate) fn is_switch(&self) -> bool {
        self.info.node_type == NodeType::SWITCH
    }
}

impl Port {
    /// Whether there is a link to another node.
    pub(crate) fn is_linked(&self) -> bool {
        self.number != PortNum::MANAGEMENT && self.info.port_state() != PortState::DOWN
    }
}

fn ask<A: Attribute + Copy>(
    agent: &mut Agent,
    route: &[PortNum],
    modifier: u32,
    what: &'static str,
) -> Result<A, LookError> {
    let mut tries = 1;
    loop {
        match agent.get(route, modifier) {
            Err(AskError::NoAnswer) if tries < TRIES => tries += 1,
            Err(cause) => return Err(LookError { what, route: route.to_vec(), cause }),
            Ok(attribute) => return Ok(attribute),
        }
    }
}

fn dotted(route: &[PortNum]) -> String {
    let hops: Vec<_> = route.iter().map(|port| port.get().to_string()).collect();
    format!("0,{}", hops.join(","))
}
