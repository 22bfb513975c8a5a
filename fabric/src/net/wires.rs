//! Cables between the nodes, cables to other processes, and the packets in flight.
//!
//! A packet in memory has no CRCs: between two ports there is one copy in one thread, which a CRC could not protect.
//! Where a packet leaves the process, and so where a capture is taken, the cable adds both CRCs and checks those of
//! packets that come in ([`cable`]).

use std::path::Path;
use std::sync::{Arc, Mutex};

use iba::PortNum;
use partition_table::stable_guid;
use subnet::{LinkRequest, Outlet, Time};

use super::flight::Flight;
use super::uplink::Uplink;
use crate::config::BridgeHca;
use crate::error::StartError;
use crate::topology::{Kind, PortRef, Topology};
use cable::{self, Abilities, Announcement, Capture, Hello, LinkMachine};
use umad_server::NodePort;

/// All cables, and the packets in flight.
#[derive(Debug, Default)]
pub(super) struct Wires {
    /// By node: the ends at its ports; port `n` is at `n - 1`.
    pub(super) ends: Vec<Vec<PortEnd>>,
    pub(super) uplinks: Vec<Uplink>,
    /// In flight to ports.
    pub(super) flight: Flight,
    /// In flight to the consumers at ports.
    pub(super) deliveries: Flight,
    /// Packets dropped after [`MAX_HOPS`] hops, or beyond [`MAX_IN_FLIGHT`] bytes.
    pub(super) strays: u64,
    /// Current time.
    pub(super) now: Time,
}

/// A port's end of its cable.
#[derive(Debug)]
pub(super) struct PortEnd {
    pub(super) peer: Peer,
    /// Widths and speeds of the cable, independent of those that the port enables.
    pub(super) limit: Abilities,
    /// Link training of a cable in memory.
    pub(super) machine: LinkMachine,
    /// Last announcement to the peer.
    announced: Option<Announcement>,
    pub(super) plug: Plug,
}

/// State of a cable's plug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plug {
    In,
    /// Pulled by an order.
    Out,
}

/// Other end of a port's cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// No cable.
    Absent,
    /// Another port of the fabric.
    Port(NodePort),
    /// Another process, as an index of [`Wires::uplinks`].
    Uplink(usize),
}

impl Wires {
    /// Creates the cables of `topology`. Sockets of cables to hypervisors are in `folder`; `tap` captures their
    /// packets.
    pub(super) fn new(
        topology: &Topology,
        folder: &Path,
        tap: Option<&Arc<Mutex<Capture>>>,
    ) -> Result<Self, StartError> {
        let mut wires = Self::default();
        for (index, node) in topology.nodes.iter().enumerate() {
            let mut ends = Vec::new();
            for (port, number) in node.ports.iter().zip(1_u8..) {
                let at = NodePort { node: index, port: PortNum::new(number) };
                let peer = match port.peer {
                    Some(to) => wires.peer(topology, at, to, folder, tap)?,
                    None => Peer::Absent,
                };
                ends.push(PortEnd::new(peer, port.abilities));
            }
            wires.ends.push(ends);
        }
        Ok(wires)
    }

    /// Adds the ends of the cables to an HCA that bridges drive. The node at these ends has no agent.
    pub(super) fn add_bridge(&mut self, hca: &BridgeHca, folder: &Path) -> Result<(), StartError> {
        let mut ends = Vec::new();
        for port in (1..=hca.ports).map(PortNum::new) {
            let at = NodePort { node: self.ends.len(), port };
            let hello = Hello { node: stable_guid(&hca.name, BRIDGE_NODE), port };
            let path = cable::path(folder, &hca.name, port);
            // No capture: these packets pass a captured cable before or after.
            let uplink = Uplink::new(at, hello, Abilities::default(), &path, None);
            self.uplinks.push(uplink.map_err(|error| StartError::Cable(path, error))?);
            ends.push(PortEnd::new(Peer::Uplink(self.uplinks.len() - 1), Abilities::default()));
        }
        self.ends.push(ends);
        Ok(())
    }

    /// Returns the other end of the cable from `at` to `to`; listens if it is in another process.
    fn peer(
        &mut self,
        topology: &Topology,
        at: NodePort,
        to: PortRef,
        folder: &Path,
        tap: Option<&Arc<Mutex<Capture>>>,
    ) -> Result<Peer, StartError> {
        let (node, other) = (&topology.nodes[at.node], &topology.nodes[to.node]);
        match (node.kind == Kind::Hypervisor, other.kind == Kind::Hypervisor) {
            (false, false) => return Ok(Peer::Port(NodePort { node: to.node, port: to.port })),
            (false, true) => {}
            (true, false) => return Ok(Peer::Absent), // the hypervisor's end is in another process
            (true, true) => return Err(StartError::NoSwitch(node.id.clone(), other.id.clone())),
        }
        let hello = Hello { node: node.guid, port: at.port };
        let abilities = topology.port(to).map_or_else(Abilities::default, |port| port.abilities);
        let path = cable::path(folder, &other.id, to.port);
        let uplink = Uplink::new(at, hello, abilities, &path, tap.cloned());
        self.uplinks.push(uplink.map_err(|error| StartError::Cable(path, error))?);
        Ok(Peer::Uplink(self.uplinks.len() - 1))
    }

    /// Returns the end of the cable at the port `at`.
    pub(super) fn end(&self, at: NodePort) -> Option<&PortEnd> {
        self.ends.get(at.node)?.get(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// Returns the end of the cable at the port `at`.
    pub(super) fn end_mut(&mut self, at: NodePort) -> Option<&mut PortEnd> {
        self.ends.get_mut(at.node)?.get_mut(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// Returns the outlet of `node`, for the effects of a packet after `hops` hops.
    pub(super) fn outlet(&mut self, node: usize, hops: u8) -> NodeOutlet<'_> {
        NodeOutlet { wires: self, node, hops }
    }
}

impl PortEnd {
    fn new(peer: Peer, limit: Abilities) -> Self {
        Self { peer, limit, machine: LinkMachine::new(limit), announced: None, plug: Plug::In }
    }

    /// Returns the announcement to the peer if it differs from the last one.
    pub(super) fn take_announcement(&mut self) -> Option<Announcement> {
        let now = Some(self.machine.announcement());
        if self.announced == now {
            return None;
        }
        self.announced = now;
        now
    }

    /// Sets the plug; the next announcement is sent whatever it is.
    pub(super) fn set_plug(&mut self, plug: Plug) {
        self.plug = plug;
        self.announced = None;
    }
}

/// Outlet of a node.
pub(crate) struct NodeOutlet<'a> {
    wires: &'a mut Wires,
    node: usize,
    hops: u8,
}

impl Outlet for NodeOutlet<'_> {
    fn transmit(&mut self, port: PortNum, packet: &[u8]) {
        let Some(end) = self.wires.end(NodePort { node: self.node, port }) else {
            return;
        };
        match end.peer {
            Peer::Absent => {}
            Peer::Port(_) if self.hops >= MAX_HOPS || self.wires.flight.size() > MAX_IN_FLIGHT => {
                self.wires.strays += 1
            }
            Peer::Port(peer) => self.wires.flight.push(peer, packet, self.hops + 1),
            Peer::Uplink(index) => self.wires.uplinks[index].transmit(self.wires.now, packet),
        }
    }

    fn deliver(&mut self, port: PortNum, packet: &[u8]) {
        self.wires.deliveries.push(NodePort { node: self.node, port }, packet, 0);
    }

    fn link(&mut self, port: PortNum, request: LinkRequest) {
        self.wires.flight.push_link(self.node, port, request, self.hops);
    }
}

/// Hops of a packet within the fabric. InfiniBand has no hop limit within a subnet: a loop in forwarding tables ends
/// when buffers are full and packets too old. This limit exceeds the longest directed route, there and back.
const MAX_HOPS: u8 = 130;
/// Bytes in flight at once. Only a loop of multicasts comes near it.
const MAX_IN_FLIGHT: usize = 64 << 20;

/// Number, among the nodes named after a bridge's HCA, of the node at the fabric's ends of its cables.
const BRIDGE_NODE: u16 = 2;
