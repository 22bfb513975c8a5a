//! Tests that look into nodes: exhaustive ones, each against rules that were written apart from what they judge.

mod flips;
mod oracle;
mod parts;
mod port_rules;
mod port_set;
mod random;
mod route_rules;
mod routes;

use alloc::vec::Vec;

use iba::attr::{PortInfo, PortPhysicalState, PortState};
use iba::mad::{AttributeId, Class, MadHeader, Method};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Guid, Lid, MKey, PortNum, Sl};
use zerocopy::IntoBytes;

use crate::body::{Body, Verdict};
use crate::counters::Counters;
use crate::{AdapterConfig, ChannelAdapter, Link, NodeConfig, NodeKind, Switch, SwitchConfig, Time};

/// The moment at which tests send.
const NOW: Time = Time(1_000);

/// LIDs of the tests' subnet: the node's own, the manager's, and two that are beyond the ports 2 and 3 of a switch.
const OWN: u16 = 0x0005;
const MANAGER: u16 = 0x0001;
const BEYOND_2: u16 = 0x0010;
const BEYOND_3: u16 = 0x0020;

/// The key of the tests' nodes.
const KEY: u64 = 0x1234_5678_9abc_def0;

/// A switch with four ports, all Active but port 4, which is Down; or an adapter with two, Active.
fn node(kind: NodeKind) -> Body {
    let config = NodeConfig::new(Guid::new(0x0200_0000_0000_1000), "node");
    let mut body = match kind {
        NodeKind::Switch => {
            Switch::new(&SwitchConfig { node: config, ports: 4, enforced_partitions: 64 }).expect("a switch").body
        }
        NodeKind::ChannelAdapter => {
            let port_guids = [0x0200_0000_0000_1001, 0x0200_0000_0000_1002].map(Guid::new).to_vec();
            ChannelAdapter::new(&AdapterConfig { node: config, port_guids }).expect("an adapter").body
        }
    };
    let up: &[u8] = if kind == NodeKind::Switch { &[1, 2, 3] } else { &[1, 2] };
    for &port in up {
        body.link_up(Time(0), PortNum::new(port), Link::EDR_4X);
    }
    let first = usize::from(kind == NodeKind::Switch);
    for port in &mut body.ports[first..first + up.len()] {
        port.info.set_port_state(PortState::ACTIVE);
    }
    for (port, lid) in body.ports.iter_mut().filter(|port| port.end.is_some()).zip([OWN, OWN + 1]) {
        port.info.lid = Lid::new(lid);
        port.info.master_sm_lid = Lid::new(MANAGER);
        port.info.set_subnet_timeout(18);
    }
    if let Some(relay) = &mut body.relay {
        relay.info.linear_fdb_top = Lid::new(0x3f);
        relay.info.set_port_state_change(true);
        relay.linear[0].ports[usize::from(MANAGER)] = PortNum::new(1);
        relay.linear[0].ports[usize::from(BEYOND_2)] = PortNum::new(2);
        relay.linear[0].ports[usize::from(BEYOND_3)] = PortNum::new(3);
    }
    settle(&mut body);
    body
}

/// Lets a node do all its chores.
fn settle(body: &mut Body) {
    let mut packet = [0; size_of::<SmpPacket>()];
    while body.chore(Time(0), &mut packet).is_some() {}
}

/// Protects all ports of a node with [`KEY`].
fn protect(body: &mut Body, level: u8) {
    for port in body.ports.iter_mut().filter(|port| port.end.is_some()) {
        port.info.m_key = MKey::new(KEY);
        port.info.set_m_key_protect_bits(level);
        port.info.m_key_lease_period = 10.into();
    }
}

/// An SMP without data.
fn request(class: Class, method: Method, attribute: AttributeId, modifier: u32) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = class;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = attribute;
    smp.header.attribute_modifier = modifier.into();
    smp.m_key = MKey::new(KEY);
    smp
}

/// A packet with an SMP.
fn packet(slid: u16, dlid: u16, smp: Smp) -> SmpPacket {
    SmpPacket::new(Lid::new(slid), Lid::new(dlid), Sl::default(), smp)
}

/// PortInfo that leaves states as they are.
fn unchanged(info: &PortInfo) -> PortInfo {
    let mut info = *info;
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    info
}

/// A node but for what it counts, which every packet changes.
fn without_counters(body: &Body) -> Body {
    let mut body = body.clone();
    body.ports.iter_mut().for_each(|port| port.counters = Counters::default());
    body
}

/// Sends a packet into a node twice: the quick way if it takes it, and the long way into a copy. What comes of it has
/// to be the same; it is returned, with the packet as it is then.
fn receive_both_ways(body: &mut Body, port: u8, packet: &SmpPacket) -> (Verdict, Vec<u8>) {
    let mut long = body.clone();
    let (mut one, mut other) = (packet.as_bytes().to_vec(), packet.as_bytes().to_vec());
    let verdict = body.receive(NOW, PortNum::new(port), &mut one);
    let long_verdict = long.receive_any(NOW, PortNum::new(port), &mut other);
    assert_eq!(verdict, long_verdict, "the short way leads elsewhere: {packet:?}");
    if verdict != Verdict::Done {
        assert_eq!(one, other, "the short way answers otherwise: {packet:?}");
    }
    assert!(*body == long, "the short way does otherwise: {packet:?}");
    (verdict, one)
}
