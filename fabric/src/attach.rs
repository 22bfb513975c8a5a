//! The fabric as the umad server sees it.

use iba::PortNum;
use iba::attr::{NodeInfo, PKeyTable, PortInfo};
use subnet::Outlet as _;

use super::lent::Lent;
use super::net::Net;
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
            // No partition takes the place of a host by its name.
            Some((_, Kind::Hypervisor)) | None => self.lent_by(name?),
        }
    }

    fn node_id(&self, at: NodePort) -> &str {
        self.lent(at)
            .and_then(Lent::name)
            .or(self.topology.nodes.get(at.node).map(|node| &*node.id))
            .unwrap_or_default()
    }

    fn node_info(&self, at: NodePort) -> NodeInfo {
        if let Some(facts) = self.lent(at).and_then(Lent::facts) {
            return facts.node;
        }
        self.node(at).map_or_else(NodeInfo::default, |node| NodeInfo {
            port_guid: node.port_guid(at.port).unwrap_or_default(),
            local_port: at.port,
            ..*node.node_info()
        })
    }

    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo> {
        if self.lent(at).is_some() {
            return self.lent(NodePort { port, ..at })?.facts().map(|facts| facts.port);
        }
        self.node(at)?.port_info(port).copied()
    }

    fn p_keys(&self, at: NodePort) -> PKeyTable {
        match self.lent(at) {
            Some(lent) => lent.facts().map(|facts| facts.p_keys),
            None => self.node(at).and_then(|node| node.p_keys(at.port)).copied(),
        }
        .unwrap_or_default()
    }

    fn set_is_sm(&mut self, at: NodePort, is_sm: bool) {
        let now = self.wires.now;
        match self.lent_mut(at) {
            Some(lent) => lent.set_is_sm(now, is_sm),
            None => self.with_node(at.node, 0, |node, now, out| node.set_is_sm(now, at.port, is_sm, out)),
        }
    }

    fn submit(&mut self, at: NodePort, packet: &mut [u8]) {
        if self.lent(at).is_some() {
            self.wires.outlet(at.node, 0).transmit(at.port, packet);
            return;
        }
        self.with_node(at.node, 0, |node, now, out| node.send(now, at.port, packet, out));
    }
}
