//! The nodes of the fabric, and the effects of packets and links on them. Nothing here blocks: time comes in as an
//! argument, and packets are carried until none is in flight.

mod attach;
mod bridge_port;
mod flight;
mod links;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;
mod uplink;
mod wires;

use std::path::Path;
use std::sync::{Arc, Mutex};

use iba::{PortNum, VendorId};
use subnet::{AdapterConfig, ChannelAdapter, Node, NodeConfig, Outlet as _, Switch, SwitchConfig, Time};
use zerocopy::IntoBytes;

use cable::Capture;
use umad_server::NodePort;

pub use self::snapshot::{NodeView, PortView, Snapshot, UplinkView};
pub(crate) use self::uplink::Uplink;

use self::bridge_port::BridgePort;
use self::flight::{Entry, Flight, Payload};
use self::timers::Timers;
use self::wires::{NodeOutlet, Wires};
use crate::config::BridgeHca;
use crate::error::StartError;
use crate::topology::{self, Kind, Topology};

/// The fabric without its clock and its sockets.
#[derive(Debug)]
pub(crate) struct Net {
    topology: Topology,
    /// The nodes that run here; `None` for a hypervisor.
    nodes: Vec<Option<Node>>,
    wires: Wires,
    /// By HCA: the ports of bridges. Their node indices follow those of the topology.
    bridges: Vec<Vec<BridgePort>>,
    timers: Timers,
    /// Flight of the hop under way; kept for its memory.
    carried: Flight,
}

impl Net {
    /// Creates the nodes and cables of `topology`; the cables are not trained. Sockets of cables to hypervisors are in
    /// `folder`; `tap` captures their packets.
    pub(crate) fn new(
        topology: Topology,
        folder: &Path,
        tap: Option<&Arc<Mutex<Capture>>>,
    ) -> Result<Self, StartError> {
        let wires = Wires::new(&topology, folder, tap)?;
        let nodes = topology.nodes.iter().map(create).collect::<Result<Vec<_>, _>>()?;
        let timers = Timers::new(nodes.len());
        Ok(Self { topology, nodes, wires, bridges: Vec::new(), timers, carried: Flight::default() })
    }

    /// Adds the ports of `hca`; the sockets of its cables are in `folder`.
    pub(crate) fn add_bridge(&mut self, hca: &BridgeHca, folder: &Path) -> Result<(), StartError> {
        self.wires.add_bridge(hca, folder)?;
        self.bridges.push((1..=hca.ports).map(|port| BridgePort::new(PortNum::new(port))).collect());
        Ok(())
    }

    /// Returns the bridge's port at `at`; `None` for any other port.
    fn bridge(&self, at: NodePort) -> Option<&BridgePort> {
        self.bridges.get(at.node.checked_sub(self.nodes.len())?)?.get(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// Returns the bridge's port at `at`; `None` for any other port.
    fn bridge_mut(&mut self, at: NodePort) -> Option<&mut BridgePort> {
        let index = at.node.checked_sub(self.nodes.len())?;
        self.bridges.get_mut(index)?.get_mut(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// Returns the first port of the bridge whose partition is `name`.
    fn find_bridge(&self, name: &str) -> Option<NodePort> {
        let has_name = |ports: &Vec<BridgePort>| ports.first().is_some_and(|port| port.name() == Some(name));
        let node = self.nodes.len() + self.bridges.iter().position(has_name)?;
        Some(NodePort { node, port: PortNum::new(1) })
    }

    /// Returns the bridges' ports that changed their partition since the last call.
    pub(crate) fn take_renamed(&mut self) -> Vec<NodePort> {
        let ports = bridge_ports(&mut self.bridges, self.nodes.len());
        ports.filter_map(|(at, port)| port.take_renamed().then_some(at)).collect()
    }

    /// Sets the time.
    pub(crate) fn set_time(&mut self, now: Time) {
        self.wires.now = now;
    }

    /// Returns the time that [`Self::set_time`] set.
    pub(crate) fn now(&self) -> Time {
        self.wires.now
    }

    /// Returns the cables to other processes.
    pub(crate) fn uplinks(&self) -> &[Uplink] {
        &self.wires.uplinks
    }

    /// Returns the cables to other processes.
    pub(crate) fn uplinks_mut(&mut self) -> &mut [Uplink] {
        &mut self.wires.uplinks
    }

    /// Passes the packets that reached consumers to `take`, in order.
    pub(crate) fn drain_deliveries(&mut self, take: impl FnMut(NodePort, &[u8])) {
        self.wires.deliveries.drain(take);
    }

    /// Returns the node of the port `at`; `None` for a hypervisor.
    pub(crate) fn node(&self, at: NodePort) -> Option<&Node> {
        self.nodes.get(at.node)?.as_ref()
    }

    /// Returns the name of the port `at`, for messages.
    pub(crate) fn name(&self, at: NodePort) -> String {
        let id = self.topology.nodes.get(at.node).map_or("?", |node| &node.id);
        format!("{id} port {}", at.port)
    }

    /// Applies `act` to a node and marks its timer as stale; does nothing for a hypervisor.
    pub(crate) fn with_node(&mut self, index: usize, hops: u8, act: impl FnOnce(&mut Node, Time, &mut NodeOutlet<'_>)) {
        if let Some(Some(node)) = self.nodes.get_mut(index) {
            self.timers.touch(index);
            let now = self.wires.now;
            act(node, now, &mut self.wires.outlet(index, hops));
        }
    }

    /// Receives a packet from the cable at `at`, after `hops` hops.
    pub(crate) fn receive(&mut self, at: NodePort, packet: &mut [u8], hops: u8) {
        let now = self.wires.now;
        if let Some(bridge) = self.bridge_mut(at) {
            bridge.learn(now, packet);
            self.wires.deliveries.push(at, packet, hops);
            return;
        }
        self.with_node(at.node, hops, |node, now, out| node.receive(now, at.port, packet, out));
    }

    /// Carries packets and polls nodes that are due. Returns `true` if the budget ran out before the packets did: the
    /// caller serves its sockets and calls again.
    pub(crate) fn carry(&mut self) -> bool {
        let mut budget = BUDGET;
        self.poll_bridges();
        loop {
            while !self.wires.flight.is_empty() {
                if budget == 0 {
                    return true;
                }
                budget = budget.saturating_sub(self.wires.flight.len());
                self.carry_one_hop();
            }
            match self.timers.next(self.wires.now) {
                Some(node) => self.poll(node),
                None => return false,
            }
        }
    }

    /// Returns the earliest deadline of all nodes, uplinks and bridges.
    pub(crate) fn deadline(&mut self) -> Option<Time> {
        let waiting = self.wires.uplinks.iter().filter_map(Uplink::deadline).min();
        let bridges = self.bridges.iter().flatten().map(BridgePort::deadline);
        waiting.into_iter().chain(self.timers.deadline()).chain(bridges).min()
    }

    /// Sends the traps that are due at bridges' ports.
    fn poll_bridges(&mut self) {
        for (at, bridge) in bridge_ports(&mut self.bridges, self.nodes.len()) {
            if let Some(packet) = bridge.poll(self.wires.now) {
                self.wires.outlet(at.node, 0).transmit(at.port, packet.as_bytes());
            }
        }
    }

    fn carry_one_hop(&mut self) {
        std::mem::swap(&mut self.carried, &mut self.wires.flight);
        let mut carried = std::mem::take(&mut self.carried);
        for index in 0..carried.len() {
            let Entry { at, payload, hops } = carried.entry(index);
            match payload {
                Payload::Packet { start, end } => self.receive(at, carried.packet(start, end), hops),
                Payload::Link(request) => self.request(at, request),
            }
        }
        carried.clear();
        self.carried = carried;
    }

    fn poll(&mut self, index: usize) {
        let now = self.wires.now;
        if let Some(Some(node)) = self.nodes.get_mut(index) {
            let deadline = node.poll(now, &mut self.wires.outlet(index, 0));
            self.timers.set(index, deadline);
        }
    }
}

/// Returns all ports of bridges; their node indices begin at `first`.
fn bridge_ports(bridges: &mut [Vec<BridgePort>], first: usize) -> impl Iterator<Item = (NodePort, &mut BridgePort)> {
    bridges
        .iter_mut()
        .zip(first..)
        .flat_map(|(ports, node)| ports.iter_mut().map(move |port| (NodePort { node, port: port.number() }, port)))
}

/// Creates the node of `subnet`; `None` for a hypervisor.
fn create(node: &topology::Node) -> Result<Option<Node>, subnet::ConfigError> {
    let mut config = NodeConfig::new(node.guid, &node.description);
    config.system_image_guid = node.system_image_guid;
    config.vendor_id = node.vendor_id.map_or(config.vendor_id, VendorId::new);
    config.device_id = node.device_id.unwrap_or(config.device_id);
    Ok(match node.kind {
        Kind::Switch => Some(Node::Switch(Switch::new(&SwitchConfig {
            node: config,
            ports: u8::try_from(node.ports.len()).unwrap_or(u8::MAX), // refused: no switch has so many
            enforced_partitions: ENFORCED_PARTITIONS,
        })?)),
        Kind::Host => {
            let port_guids = node.port_guids().collect();
            Some(Node::ChannelAdapter(ChannelAdapter::new(&AdapterConfig { node: config, port_guids })?))
        }
        Kind::Hypervisor => None,
    })
}

/// Packets and link requests carried in one call: a loop in forwarding tables must not starve the sockets.
const BUDGET: usize = 20_000;

/// Entries in the P_Key table of a switch's port: one block, as switches commonly have.
const ENFORCED_PARTITIONS: u16 = 32;
