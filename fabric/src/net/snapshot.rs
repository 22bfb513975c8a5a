//! State of the fabric at one moment.

use iba::attr::PortInfo;
use iba::{Guid, PortNum};

use super::Net;
use super::wires::Peer;
use crate::topology::{Kind, PortRef};
use cable::{Counters, LinkState};
use umad_server::NodePort;

/// State of the fabric at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The nodes, in the order of the topology.
    pub nodes: Vec<NodeView>,
    /// Packets dropped because they looped.
    pub strays: u64,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Kind of node.
    pub kind: Kind,
    /// Id in the netlist.
    pub id: String,
    /// Node GUID.
    pub guid: Guid,
    /// Ports; a switch's management port first. Empty for a hypervisor, which answers for itself.
    pub ports: Vec<PortView>,
}

/// A port.
#[derive(Clone, Debug)]
pub struct PortView {
    /// Port number.
    pub number: PortNum,
    /// Attributes: LID, states, width, speed and more.
    pub info: PortInfo,
    /// Other end of the cable.
    pub peer: Option<PortRef>,
    /// State of the cable, if it leads to another process.
    pub uplink: Option<UplinkView>,
}

/// State of a cable to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkView {
    /// Node GUID of the other end; `None` while it is not connected.
    pub peer: Option<Guid>,
    /// State of the link.
    pub link: LinkState,
    /// Counters of the cable.
    pub counters: Counters,
}

impl Net {
    /// Returns the state of the fabric at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
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
            Peer::Port(_) | Peer::Absent => None,
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
