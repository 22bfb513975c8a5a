//! What lies between the nodes: cables in memory, cables to other processes, and what is on its way.
//!
//! A packet in memory has no CRCs. They guard what goes through wires and through other processes' hands; here nothing
//! lies between a port and the next but a copy in one thread, and a CRC over that copy could only find faults of the
//! machine that computes it. Where a packet leaves the process, and so where a capture is taken, the cable makes both
//! CRCs and checks those that come in ([`cable`]).

use std::path::Path;
use std::sync::{Arc, Mutex};

use iba::PortNum;
use partition_table::stable_guid;
use subnet::{LinkRequest, Outlet, Time};

use super::flight::Flight;
use super::uplink::Uplink;
use super::{LentHca, StartError};
use crate::topology::{Kind, PortRef, Topology};
use cable::{self, Abilities, Announcement, Capture, Hello, LinkMachine};
use umad_server::NodePort;

/// InfiniBand has no hop limit within a subnet: a loop in forwarding tables ends when its buffers are full and their
/// contents too old. Here it ends after more hops than the longest directed route has, there and back.
const MAX_HOPS: u8 = 130;
/// Bytes that may be on their way at once. Only a loop of multicasts can come near it.
const MAX_IN_FLIGHT: usize = 64 << 20;

/// Number of the node that stands at the host's ends of an HCA's cables, among those named after the HCA.
const LENT: u16 = 2;

/// Where a port's cable leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Nowhere.
    None,
    /// To another port of the fabric.
    Port(NodePort),
    /// To another process, as an index of [`Wires::uplinks`].
    Uplink(usize),
}

/// A port's end of its cable.
#[derive(Debug)]
pub(super) struct PortEnd {
    pub(super) peer: Peer,
    /// What the cable is good for, whatever the port has enabled.
    pub(super) limit: Abilities,
    /// Of cables in memory.
    pub(super) machine: LinkMachine,
    /// What the peer was told last.
    pub(super) told: Option<Announcement>,
    /// An operator pulled the cable.
    pub(super) pulled: bool,
}

/// All that lies between the nodes.
#[derive(Debug, Default)]
pub(super) struct Wires {
    /// The ends of each node's ports; port `n` is at `n - 1`.
    pub(super) ends: Vec<Vec<PortEnd>>,
    pub(super) uplinks: Vec<Uplink>,
    /// On their way to ports.
    pub(super) flight: Flight,
    /// On their way to the consumers at ports.
    pub(super) deliveries: Flight,
    /// Packets dropped because they went in circles.
    pub(super) strays: u64,
    /// This moment.
    pub(super) now: Time,
}

impl Wires {
    /// The cables of `topology`. Those to machines that run Portico are listened for in `folder`.
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
                    None => Peer::None,
                };
                let machine = LinkMachine::new(port.abilities);
                ends.push(PortEnd { peer, limit: port.abilities, machine, told: None, pulled: false });
            }
            wires.ends.push(ends);
        }
        Ok(wires)
    }

    /// Adds the ends of the cables to an HCA that partitions drive, as the ports of a node that is none.
    pub(super) fn lend(&mut self, hca: &LentHca, folder: &Path) -> Result<(), StartError> {
        let mut ends = Vec::new();
        for port in (1..=hca.ports).map(PortNum::new) {
            let at = NodePort { node: self.ends.len(), port };
            let hello = Hello { node: stable_guid(&hca.name, LENT), port };
            let path = cable::path(folder, &hca.name, port);
            // What passes here has passed, or will pass, elsewhere: a capture has no use for it.
            let uplink = Uplink::new(at, hello, Abilities::default(), &path, None);
            self.uplinks.push(uplink.map_err(|error| StartError::Cable(path, error))?);
            ends.push(PortEnd {
                peer: Peer::Uplink(self.uplinks.len() - 1),
                limit: Abilities::default(),
                machine: LinkMachine::new(Abilities::default()),
                told: None,
                pulled: false,
            });
        }
        self.ends.push(ends);
        Ok(())
    }

    /// Where the cable from `at` to `to` leads.
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
            (true, false) => return Ok(Peer::None), // not the fabric's end of the cable
            (true, true) => return Err(StartError::NoSwitch(node.id.clone(), other.id.clone())),
        }
        let hello = Hello { node: node.guid, port: at.port };
        let abilities = topology.port(to).map_or_else(Abilities::default, |port| port.abilities);
        let path = cable::path(folder, &other.id, to.port);
        let uplink = Uplink::new(at, hello, abilities, &path, tap.cloned());
        self.uplinks.push(uplink.map_err(|error| StartError::Cable(path, error))?);
        Ok(Peer::Uplink(self.uplinks.len() - 1))
    }

    pub(super) fn end(&self, at: NodePort) -> Option<&PortEnd> {
        self.ends.get(at.node)?.get(usize::from(at.port.get()).checked_sub(1)?)
    }

    pub(super) fn end_mut(&mut self, at: NodePort) -> Option<&mut PortEnd> {
        self.ends.get_mut(at.node)?.get_mut(usize::from(at.port.get()).checked_sub(1)?)
    }

    /// The outlet of `node`, for something that has `hops` behind it.
    pub(super) fn outlet(&mut self, node: usize, hops: u8) -> NodeOutlet<'_> {
        NodeOutlet { wires: self, node, hops }
    }
}

/// Where a node's packets go.
pub(super) struct NodeOutlet<'a> {
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
            Peer::None => {}
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

impl PortEnd {
    /// What the peer has not been told yet; from now on it has.
    pub(super) fn news(&mut self) -> Option<Announcement> {
        let now = Some(self.machine.announcement());
        if self.told == now {
            return None;
        }
        self.told = now;
        now
    }
}
