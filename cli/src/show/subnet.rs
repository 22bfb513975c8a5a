//! Discovery of a subnet by directed routes from a host.

use std::collections::{HashMap, VecDeque};

use iba::attr::{NodeDescription, NodeInfo, NodeType, PortInfo, PortState};
use iba::mad::Attribute;
use iba::{Guid, PortNum};
use thiserror::Error;

use super::agent::{Agent, GetError};

/// The nodes of a subnet, in the order of their discovery. The first is the host of the agent.
#[derive(Debug, Default)]
pub(crate) struct Subnet {
    pub(crate) nodes: Vec<Node>,
}

/// A node of a subnet.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) info: NodeInfo,
    pub(crate) description: NodeDescription,
    /// All ports of a switch, its management port first; of a channel adapter those that a route reached.
    pub(crate) ports: Vec<Port>,
}

/// A port of a node.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: PortNum,
    /// Port GUID; of a switch only its management port has one.
    pub(crate) guid: Option<Guid>,
    pub(crate) info: PortInfo,
    /// Other end of the link: a node, as an index of [`Subnet::nodes`], and its port.
    pub(crate) peer: Option<(usize, PortNum)>,
}

/// Failure of a discovery.
#[derive(Debug, Error)]
#[error("cannot read the {attribute} of the node at route {}", dotted(.route))]
pub(crate) struct DiscoveryError {
    attribute: &'static str,
    route: Vec<PortNum>,
    #[source]
    cause: GetError,
}

/// A route whose node is not discovered yet.
#[derive(Default)]
struct Candidate {
    route: Vec<PortNum>,
    /// The node and port before it; `None` for the host itself.
    from: Option<(usize, PortNum)>,
}

impl Subnet {
    /// Discovers every node that `agent` can reach.
    ///
    /// # Errors
    /// A node that responded with its NodeInfo does not respond with its other attributes.
    pub(crate) fn discover(agent: &mut Agent) -> Result<Self, DiscoveryError> {
        let mut subnet = Self::default();
        let mut known: HashMap<Guid, usize> = HashMap::new();
        let mut candidates = VecDeque::from([Candidate::default()]);
        while let Some(Candidate { route, from }) = candidates.pop_front() {
            let info: NodeInfo = match get(agent, &route, 0, "NodeInfo") {
                Ok(info) => info,
                // The link is coming up or going down: the port stays without a peer.
                Err(DiscoveryError { cause: GetError::NoResponse, .. }) if from.is_some() => continue,
                Err(error) => return Err(error),
            };
            let at = if let Some(&at) = known.get(&info.node_guid) {
                subnet.nodes[at].read_entry_port(agent, &route, &info)?;
                at
            } else {
                let at = subnet.nodes.len();
                let node = Node::read(agent, &route, info)?;
                // A switch and the agent's own host forward requests; another channel adapter does not.
                let forwards = info.node_type == NodeType::SWITCH || from.is_none();
                if forwards && route.len() < MAX_HOPS {
                    let entry = from.map(|_| info.local_port);
                    for port in node.ports.iter().filter(|port| port.is_linked() && Some(port.number) != entry) {
                        let route = [&route[..], &[port.number]].concat();
                        candidates.push_back(Candidate { route, from: Some((at, port.number)) });
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

    /// Returns the ports that have a link and are not Active.
    pub(crate) fn inactive_ports(&self) -> impl Iterator<Item = (&Node, &Port)> {
        let ports = self.nodes.iter().flat_map(|node| node.ports.iter().map(move |port| (node, port)));
        ports.filter(|(_, port)| port.is_linked() && port.info.port_state() != PortState::ACTIVE)
    }

    /// Returns the number of LIDs of all nodes.
    pub(crate) fn lids(&self) -> usize {
        let ports = self.nodes.iter().flat_map(|node| &node.ports);
        ports.filter(|port| port.guid.is_some() && port.info.lid.is_unicast()).map(|port| 1 << port.info.lmc()).sum()
    }
}

impl Node {
    fn read(agent: &mut Agent, route: &[PortNum], info: NodeInfo) -> Result<Self, DiscoveryError> {
        let description = get(agent, route, 0, "NodeDescription")?;
        let mut node = Self { info, description, ports: Vec::new() };
        if info.node_type == NodeType::SWITCH {
            for number in 0..=info.num_ports {
                let guid = (number == 0).then_some(info.port_guid);
                node.read_port(agent, route, PortNum::new(number), guid)?;
            }
        } else {
            node.read_entry_port(agent, route, &info)?;
        }
        Ok(node)
    }

    /// Adds the port at which `route` enters a channel adapter; `info` is the response by this route.
    fn read_entry_port(&mut self, agent: &mut Agent, route: &[PortNum], info: &NodeInfo) -> Result<(), DiscoveryError> {
        if self.ports.iter().any(|port| port.number == info.local_port) {
            return Ok(());
        }
        self.read_port(agent, route, info.local_port, Some(info.port_guid))
    }

    fn read_port(
        &mut self,
        agent: &mut Agent,
        route: &[PortNum],
        number: PortNum,
        guid: Option<Guid>,
    ) -> Result<(), DiscoveryError> {
        let info = get(agent, route, number.get().into(), "PortInfo")?;
        self.ports.push(Port { number, guid, info, peer: None });
        Ok(())
    }

    /// Returns `true` for a switch.
    pub(crate) fn is_switch(&self) -> bool {
        self.info.node_type == NodeType::SWITCH
    }
}

impl Port {
    /// Returns `true` if the port has a link to another node.
    pub(crate) fn is_linked(&self) -> bool {
        self.number != PortNum::MANAGEMENT && self.info.port_state() != PortState::DOWN
    }
}

fn get<A: Attribute + Copy>(
    agent: &mut Agent,
    route: &[PortNum],
    modifier: u32,
    attribute: &'static str,
) -> Result<A, DiscoveryError> {
    let mut tries = 1;
    loop {
        match agent.get(route, modifier) {
            Err(GetError::NoResponse) if tries < TRIES => tries += 1,
            Err(cause) => return Err(DiscoveryError { attribute, route: route.to_vec(), cause }),
            Ok(value) => return Ok(value),
        }
    }
}

fn dotted(route: &[PortNum]) -> String {
    let hops: Vec<_> = route.iter().map(|port| port.get().to_string()).collect();
    format!("0,{}", hops.join(","))
}

/// Tries of a request before its node counts as unreachable: datagrams may be lost.
const TRIES: u32 = 3;

/// Hops of a route, at most (14.2.2, C14-6).
const MAX_HOPS: usize = iba::smp::HOP_LIMIT as usize - 1;
