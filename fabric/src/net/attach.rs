//! The fabric behind the umad server.

use iba::PortNum;
use iba::attr::{NodeInfo, PKeyTable, PortInfo};
use subnet::Outlet as _;

use super::Net;
use super::bridge_port::BridgePort;
use crate::topology::Kind;
use umad_server::{Fabric, NodePort};

impl Fabric for Net {
    fn attach(&self, name: Option<&str>) -> Option<NodePort> {
        let nodes = &self.topology.nodes;
        let node = match name {
            Some(name) => self.topology.find(name),
            None => nodes.iter().position(|node| node.kind == Kind::Host),
        };
        match node.map(|node| (node, nodes[node].kind)) {
            Some((node, Kind::Switch)) => Some(NodePort { node, port: PortNum::MANAGEMENT }),
            Some((node, Kind::Host)) => Some(NodePort { node, port: PortNum::new(1) }),
            // A node of the topology comes before a bridge of the same name.
            Some((_, Kind::Hypervisor)) | None => self.find_bridge(name?),
        }
    }

    fn node_id(&self, at: NodePort) -> &str {
        self.bridge(at)
            .and_then(BridgePort::name)
            .or(self.topology.nodes.get(at.node).map(|node| &*node.id))
            .unwrap_or_default()
    }

    fn node_info(&self, at: NodePort) -> NodeInfo {
        if let Some(attributes) = self.bridge(at).and_then(BridgePort::attributes) {
            return attributes.node;
        }
        self.node(at).map_or_else(NodeInfo::default, |node| NodeInfo {
            port_guid: node.port_guid(at.port).unwrap_or_default(),
            local_port: at.port,
            ..*node.node_info()
        })
    }

    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo> {
        if self.bridge(at).is_some() {
            return self.bridge(NodePort { port, ..at })?.attributes().map(|attributes| attributes.port);
        }
        self.node(at)?.port_info(port).copied()
    }

    fn p_keys(&self, at: NodePort) -> PKeyTable {
        match self.bridge(at) {
            Some(bridge) => bridge.attributes().map(|attributes| attributes.p_keys),
            None => self.node(at).and_then(|node| node.p_keys(at.port)).copied(),
        }
        .unwrap_or_default()
    }

    fn set_is_sm(&mut self, at: NodePort, is_sm: bool) {
        let now = self.wires.now;
        match self.bridge_mut(at) {
            Some(bridge) => bridge.set_is_sm(now, is_sm),
            None => self.with_node(at.node, 0, |node, now, out| node.set_is_sm(now, at.port, is_sm, out)),
        }
    }

    fn submit(&mut self, at: NodePort, packet: &mut [u8]) {
        if self.bridge(at).is_some() {
            self.wires.outlet(at.node, 0).transmit(at.port, packet);
            return;
        }
        self.with_node(at.node, 0, |node, now, out| node.send(now, at.port, packet, out));
    }
}
