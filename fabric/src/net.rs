//! The nodes of the fabric, and how packets and links act on them. Nothing here waits: time comes in from outside, and
//! whatever is on its way is carried until nothing is left.

use std::path::Path;

use iba::{PortNum, VendorId};
use subnet::{AdapterConfig, ChannelAdapter, Node, NodeConfig, Outlet as _, Switch, SwitchConfig, Time};
use zerocopy::IntoBytes;

use super::flight::{Entry, Flight, What};
use super::lent::Lent;
use super::timers::Timers;
use super::wires::Wires;
use super::{LentHca, StartError};
use crate::topology::{self, Kind, Topology};
use umad_server::NodePort;

/// Things carried in one go: after so many the sockets get their turn, even if a loop in forwarding tables keeps packets
/// going round.
const BUDGET: usize = 20_000;

/// The fabric, without its clock and its sockets.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) topology: Topology,
    /// The nodes that the fabric answers for; `None` for a machine that runs Portico.
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) wires: Wires,
    /// Ports that partitions lend, by the HCA that they drive: these are counted behind the nodes of the topology.
    pub(super) lent: Vec<Vec<Lent>>,
    timers: Timers,
    /// What is being carried; kept for its memory.
    carried: Flight,
}

impl Net {
    /// The nodes of `topology`, with `wires` between them that are not trained yet.
    pub(super) fn new(topology: Topology, wires: Wires) -> Result<Self, subnet::ConfigError> {
        let nodes = topology.nodes.iter().map(make).collect::<Result<Vec<_>, _>>()?;
        let timers = Timers::new(nodes.len());
        Ok(Self { topology, nodes, wires, lent: Vec::new(), timers, carried: Flight::default() })
    }

    /// Adds the ports that partitions lend by `hca`, whose cables are listened for in `folder`.
    pub(super) fn lend(&mut self, hca: &LentHca, folder: &Path) -> Result<(), StartError> {
        self.wires.lend(hca, folder)?;
        self.lent.push((1..=hca.ports).map(|port| Lent::new(PortNum::new(port))).collect());
        Ok(())
    }

    /// The lent port that `at` is, if it is one.
    pub(super) fn lent(&self, at: NodePort) -> Option<&Lent> {
        self.lent.get(at.node.checked_sub(self.nodes.len())?)?.get(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// Like [`Self::lent`], to be changed.
    pub(super) fn lent_mut(&mut self, at: NodePort) -> Option<&mut Lent> {
        self.lent.get_mut(at.node.checked_sub(self.nodes.len())?)?.get_mut(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// The first port that the partition `name` lends.
    pub(super) fn lent_by(&self, name: &str) -> Option<NodePort> {
        let is_lent = |ports: &Vec<Lent>| ports.first().is_some_and(|lent| lent.name() == Some(name));
        let node = self.nodes.len() + self.lent.iter().position(is_lent)?;
        Some(NodePort { node, port: PortNum::new(1) })
    }

    /// Lent ports that have come to another partition since this was asked last.
    pub(super) fn take_renamed(&mut self) -> Vec<NodePort> {
        let ports = lent_ports(&mut self.lent, self.nodes.len());
        ports.filter_map(|(at, lent)| lent.take_renamed().then_some(at)).collect()
    }

    /// Tells the time.
    pub(super) fn set_time(&mut self, now: Time) {
        self.wires.now = now;
    }

    /// The node that `at` belongs to, unless that runs Portico.
    pub(super) fn node(&self, at: NodePort) -> Option<&Node> {
        self.nodes.get(at.node)?.as_ref()
    }

    /// A port's name, for messages.
    pub(super) fn name(&self, at: NodePort) -> String {
        let id = self.topology.nodes.get(at.node).map_or("?", |node| &node.id);
        format!("{id} port {}", at.port)
    }

    /// Acts on a node, and notes that something happened to it. Nothing happens to a machine that runs Portico.
    pub(super) fn with_node(&mut self, index: usize, hops: u8, act: impl FnOnce(&mut Node, Time, &mut Outlet<'_>)) {
        if let Some(Some(node)) = self.nodes.get_mut(index) {
            self.timers.touch(index);
            let now = self.wires.now;
            act(node, now, &mut self.wires.outlet(index, hops));
        }
    }

    /// Takes a packet that came by the cable at `at`.
    pub(super) fn receive(&mut self, at: NodePort, packet: &mut [u8], hops: u8) {
        let now = self.wires.now;
        if let Some(lent) = self.lent_mut(at) {
            lent.learn(now, packet);
            self.wires.deliveries.push(at, packet, hops);
            return;
        }
        self.with_node(at.node, hops, |node, now, out| node.receive(now, at.port, packet, out));
    }

    /// Carries what is on its way, and does what is due. True if there is more to carry: the caller is to look at its
    /// sockets and to come back.
    pub(super) fn carry(&mut self) -> bool {
        let mut budget = BUDGET;
        self.tend_lent();
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

    /// When there is something to do even if nothing comes.
    pub(super) fn deadline(&mut self) -> Option<Time> {
        let waiting = self.wires.uplinks.iter().filter_map(super::uplink::Uplink::deadline).min();
        let lent = self.lent.iter().flatten().map(Lent::deadline);
        waiting.into_iter().chain(self.timers.deadline()).chain(lent).min()
    }

    /// Sends what is due at lent ports.
    fn tend_lent(&mut self) {
        for (at, lent) in lent_ports(&mut self.lent, self.nodes.len()) {
            if let Some(packet) = lent.poll(self.wires.now) {
                self.wires.outlet(at.node, 0).transmit(at.port, packet.as_bytes());
            }
        }
    }

    fn carry_one_hop(&mut self) {
        std::mem::swap(&mut self.carried, &mut self.wires.flight);
        let mut carried = std::mem::take(&mut self.carried);
        for index in 0..carried.len() {
            let Entry { at, what, hops } = carried.entry(index);
            match what {
                What::Packet { start, end } => self.receive(at, carried.packet(start, end), hops),
                What::Link(request) => self.request(at, request),
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

/// All lent ports, their nodes counted from `first` on.
fn lent_ports(lent: &mut [Vec<Lent>], first: usize) -> impl Iterator<Item = (NodePort, &mut Lent)> {
    lent.iter_mut()
        .zip(first..)
        .flat_map(|(ports, node)| ports.iter_mut().map(move |lent| (NodePort { node, port: lent.number() }, lent)))
}

/// The outlet that nodes of the fabric get.
pub(super) type Outlet<'a> = super::wires::NodeOutlet<'a>;

/// Entries in the P_Key table of a switch's port: a block, as switches commonly have.
const ENFORCED_PARTITIONS: u16 = 32;

fn make(node: &topology::Node) -> Result<Option<Node>, subnet::ConfigError> {
    let mut config = NodeConfig::new(node.guid, &node.description);
    config.system_image_guid = node.system_image_guid;
    config.vendor_id = node.vendor_id.map_or(config.vendor_id, VendorId::new);
    config.device_id = node.device_id.unwrap_or(config.device_id);
    Ok(match node.kind {
        Kind::Switch => Some(Node::Switch(Switch::new(&SwitchConfig {
            node: config,
            ports: u8::try_from(node.ports.len()).unwrap_or(u8::MAX), // which no switch has
            enforced_partitions: ENFORCED_PARTITIONS,
        })?)),
        Kind::Host => {
            let port_guids = node.port_guids().collect();
            Some(Node::ChannelAdapter(ChannelAdapter::new(&AdapterConfig { node: config, port_guids })?))
        }
        Kind::Hypervisor => None,
    })
}
