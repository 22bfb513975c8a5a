//! Answers one kind of SMP again and again, for callgrind to count instructions: `smp KIND TIMES`.
//!
//! The cost of one is what two runs differ by, divided by what their counts differ by.

use iba::attr::{LinearForwardingBlock, PortInfo, PortState};
use iba::mad::{AttributeId, Class, MadHeader, Method};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Guid, Lid, MKey, PortNum, Sl};
use subnet::{AdapterConfig, ChannelAdapter, Link, LinkRequest, Node, NodeConfig, Outlet, Switch, SwitchConfig, Time};
use zerocopy::{FromBytes, IntoBytes};

/// Counts packets.
struct Sink(u64);

impl Outlet for Sink {
    fn transmit(&mut self, _: PortNum, _: &[u8]) {
        self.0 += 1;
    }
    fn deliver(&mut self, _: PortNum, _: &[u8]) {}
    fn link(&mut self, _: PortNum, _: LinkRequest) {}
}

const KEY: MKey = MKey::new(0x1234_5678_9abc_def0);

/// A request that ends at the neighbour of who sent it, with the right key.
fn request(method: Method, attribute: AttributeId, modifier: u32) -> SmpPacket {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = Class::SUBN_DIRECTED_ROUTE;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = attribute;
    smp.header.attribute_modifier = modifier.into();
    smp.m_key = KEY;
    (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
    smp.set_hop_count(1);
    smp.set_hop_pointer(1);
    smp.initial_path[1] = PortNum::new(1);
    SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), smp)
}

/// A node with a key, and its link up.
fn set_up(mut node: Node, key_port: PortNum) -> Node {
    let mut sink = Sink(0);
    node.link_up(Time(0), PortNum::new(1), Link::EDR_4X, &mut sink);
    let mut packet = request(Method::SET, AttributeId::PORT_INFO, key_port.get().into());
    let mut info: PortInfo = *node.port_info(key_port).expect("it has the port");
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(iba::attr::PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid, info.m_key) = (Lid::new(2), Lid::new(1), KEY);
    packet.smp.set_attribute(&info);
    node.receive(Time(0), PortNum::new(1), packet.as_mut_bytes(), &mut sink);
    assert_eq!(node.port_info(key_port).expect("it has the port").m_key, KEY);
    node
}

fn main() {
    let usage = "usage: smp node-info|port-info|set-lft|adapter-node-info|forward TIMES";
    let kind = std::env::args().nth(1).expect(usage);
    let times: u64 = std::env::args().nth(2).and_then(|times| times.parse().ok()).expect(usage);
    let config = NodeConfig::new(Guid::new(0x0200_0000_0000_1000), "node");
    let switch = SwitchConfig { node: config.clone(), ports: 254, enforced_partitions: 32 };
    let switch = || set_up(Node::Switch(Switch::new(&switch).expect("a switch")), PortNum::MANAGEMENT);
    let (mut node, packet) = match kind.as_str() {
        "node-info" => (switch(), request(Method::GET, AttributeId::NODE_INFO, 0)),
        "port-info" => (switch(), request(Method::GET, AttributeId::PORT_INFO, 1)),
        "set-lft" => {
            let mut packet = request(Method::SET, AttributeId::LINEAR_FORWARDING_TABLE, 3);
            packet.smp.set_attribute(&LinearForwardingBlock::default());
            (switch(), packet)
        }
        "adapter-node-info" => {
            let port_guids = vec![Guid::new(0x0200_0000_0000_1001)];
            let adapter = ChannelAdapter::new(&AdapterConfig { node: config, port_guids }).expect("an adapter");
            let node = set_up(Node::ChannelAdapter(adapter), PortNum::new(1));
            (node, request(Method::GET, AttributeId::NODE_INFO, 0))
        }
        "forward" => {
            let mut node = switch();
            node.link_up(Time(0), PortNum::new(2), Link::EDR_4X, &mut Sink(0));
            let mut packet = request(Method::GET, AttributeId::NODE_INFO, 0);
            packet.smp.set_hop_count(2);
            packet.smp.initial_path[2] = PortNum::new(2);
            (node, packet)
        }
        _ => panic!("{usage}"),
    };
    let mut sink = Sink(0);
    for _ in 0..times {
        let mut packet = SmpPacket::read_from_bytes(packet.as_bytes()).expect("it is one");
        match &mut node {
            Node::Switch(switch) => receive_switch(switch, &mut packet, &mut sink),
            Node::ChannelAdapter(adapter) => receive_adapter(adapter, &mut packet, &mut sink),
        }
    }
    assert_eq!(sink.0, times, "each was answered");
}

/// What is counted.
#[inline(never)]
fn receive_switch(switch: &mut Switch, packet: &mut SmpPacket, sink: &mut Sink) {
    switch.receive(Time(1), PortNum::new(1), packet.as_mut_bytes(), sink);
}

/// What is counted.
#[inline(never)]
fn receive_adapter(adapter: &mut ChannelAdapter, packet: &mut SmpPacket, sink: &mut Sink) {
    adapter.receive(Time(1), PortNum::new(1), packet.as_mut_bytes(), sink);
}
