//! The fabric as the umad server sees it.

use iba::PortNum;
use iba::attr::{NodeInfo, PKeyTable, PortInfo};

use super::net::Net;
use crate::topology::Kind;
use crate::umad::{Fabric, NodePort};

impl Fabric for Net {
    fn attach(&self, name: Option<&str>) -> Option<NodePort> {
        let nodes = &self.topology.nodes;
        let node = match name {
            Some(name) => self.topology.find(name)?,
            None => nodes.iter().position(|node| node.kind == Kind::Host)?,
        };
        let port = match nodes[node].kind {
            Kind::Switch => PortNum::MANAGEMENT,
            Kind::Host => PortNum::new(1),
            Kind::Hypervisor => return None,
        };
        Some(NodePort { node, port })
    }

    fn node_id(&self, at: NodePort) -> &str {
        self.topology.nodes.get(at.node).map_or("", |node| &node.id)
    }

    fn node_info(&self, at: NodePort) -> NodeInfo {
        self.node(at).map_or_else(NodeInfo::default, |node| NodeInfo {
            port_guid: node.port_guid(at.port).unwrap_or_default(),
            local_port: at.port,
            ..*node.node_info()
        })
    }

    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo> {
        self.node(at)?.port_info(port).copied()
    }

    fn p_keys(&self, at: NodePort) -> PKeyTable {
        self.node(at).and_then(|node| node.p_keys(at.port)).copied().unwrap_or_default()
    }

    fn set_is_sm(&mut self, at: NodePort, is_sm: bool) {
        self.with_node(at.node, 0, |node, now, out| node.set_is_sm(now, at.port, is_sm, out));
    }

    fn submit(&mut self, at: NodePort, packet: &mut [u8]) {
        self.with_node(at.node, 0, |node, now, out| node.send(now, at.port, packet, out));
    }
}
