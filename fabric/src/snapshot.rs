//! The fabric at one moment, to look at.

use iba::attr::PortInfo;
use iba::{Guid, PortNum};

use super::net::Net;
use super::wires::Peer;
use crate::topology::{Kind, PortRef};
use cable::{Counters, LinkState};
use umad_server::NodePort;

/// The fabric at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The nodes, in the order of the topology.
    pub nodes: Vec<NodeView>,
    /// Packets that were dropped because they went in circles.
    pub strays: u64,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// What it is.
    pub kind: Kind,
    /// Its name in the netlist.
    pub id: String,
    /// Its node GUID.
    pub guid: Guid,
    /// Its ports; a switch's management port first. None of a machine that runs Portico: it speaks for itself.
    pub ports: Vec<PortView>,
}

/// A port.
#[derive(Clone, Debug)]
pub struct PortView {
    /// Its number.
    pub number: PortNum,
    /// Its attributes: LID, states, width and speed, ...
    pub info: PortInfo,
    /// Where its cable leads to.
    pub peer: Option<PortRef>,
    /// Its cable, if that leads to another process.
    pub uplink: Option<UplinkView>,
}

/// A cable to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkView {
    /// Who is at the other end; `None` while nobody is.
    pub peer: Option<Guid>,
    /// The link.
    pub link: LinkState,
    /// What passed.
    pub counters: Counters,
}

impl Net {
    /// The fabric at this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        let nodes = self.topology.nodes.iter().enumerate();
        let nodes = nodes.map(|(index, node)| NodeView {
            kind: node.kind,
            id: node.id.clone(),
            guid: node.guid,
            ports: (0..=254).filter_map(|port| self.port_view(NodePort { node: index, port: port.into() })).collect(),
        });
        Snapshot { nodes: nodes.collect(), strays: self.wires.strays }
    }

    fn port_view(&self, at: NodePort) -> Option<PortView> {
        let info = *self.node(at)?.port_info(at.port)?;
        let uplink = self.wires.end(at).and_then(|end| match end.peer {
            Peer::Uplink(index) => Some(&self.wires.uplinks[index]),
            Peer::Port(_) | Peer::None => None,
        });
        Some(PortView {
            number: at.port,
            info,
            peer: self.topology.port(PortRef { node: at.node, port: at.port }).and_then(|port| port.peer),
            uplink: uplink.map(|uplink| UplinkView {
                peer: uplink.end().peer().map(|peer| peer.node),
                link: uplink.end().state(),
                counters: *uplink.end().counters(),
            }),
        })
    }
}
