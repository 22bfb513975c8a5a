//! The server with a fabric of two hosts and a switch that records calls, and its sockets with clients.

mod core;
mod sockets;

use std::collections::BTreeSet;

use iba::attr::{NodeInfo, PKeyTable, PortInfo, PortState};
use iba::mad::{Class, Mad, MadHeader, Method};
use iba::{Guid, Lid, PKey, PortNum};
use zerocopy::transmute;

use super::{Fabric, NodePort};

/// A fabric of two hosts, `H1` with LID 1 and `H2` with LID 2, and LID 12 at a second port; and a switch `S1`.
#[derive(Default)]
struct Hosts {
    /// Packets of clients, with their ports.
    submitted: Vec<(NodePort, Vec<u8>)>,
    sms: BTreeSet<(usize, u8)>,
}

fn host(number: usize) -> NodePort {
    NodePort { node: number - 1, port: PortNum::new(1) }
}

impl Fabric for Hosts {
    fn attach(&self, name: Option<&str>) -> Option<NodePort> {
        match name {
            None | Some("H1") => Some(host(1)),
            Some("H2") => Some(host(2)),
            Some("S1") => Some(NodePort { node: 2, port: PortNum::MANAGEMENT }),
            Some(_) => None,
        }
    }

    fn node_id(&self, at: NodePort) -> &str {
        ["H1", "H2", "S1"][at.node]
    }

    fn node_info(&self, at: NodePort) -> NodeInfo {
        let mut info =
            NodeInfo { node_guid: Guid::new(0x0200_0000_0000_0010), local_port: at.port, ..NodeInfo::default() };
        info.port_guid = Guid::new(info.node_guid.get() + 1);
        info.device_id.set(0x1234);
        info
    }

    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo> {
        let mut info = PortInfo::default();
        info.lid = Lid::new(u16::try_from(at.node).unwrap() + 1 + 10 * u16::from(port.get().saturating_sub(1)));
        info.local_port = port;
        info.set_port_state(PortState::ACTIVE);
        [1..=1, 1..=2, 0..=4][at.node].contains(&port.get()).then_some(info)
    }

    fn p_keys(&self, at: NodePort) -> PKeyTable {
        let mut table = PKeyTable::default();
        table.p_keys[0] = if at.port == PortNum::new(1) { PKey::DEFAULT } else { PKey::new(0x8002) };
        table
    }

    fn set_is_sm(&mut self, at: NodePort, is_sm: bool) {
        let changed = {
            let at = (at.node, at.port.get());
            if is_sm { self.sms.insert(at) } else { self.sms.remove(&at) }
        };
        assert!(changed, "set twice");
    }

    fn submit(&mut self, at: NodePort, packet: &mut [u8]) {
        self.submitted.push((at, packet.to_vec()));
    }
}

fn mad(class: Class, method: Method, transaction: u64) -> [u8; 256] {
    let mut mad: Mad = transmute!([0_u8; 256]);
    mad.header.base_version = MadHeader::BASE_VERSION;
    (mad.header.class, mad.header.method) = (class, method);
    mad.header.transaction_id = transaction.into();
    transmute!(mad)
}
