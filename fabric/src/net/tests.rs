//! The fabric without its thread: packets by directed routes, links, loops.

use std::path::Path;

use iba::attr::{LinearForwardingBlock, NodeInfo, PortInfo, PortPhysicalState, PortState, SwitchInfo};
use iba::mad::{Attribute, AttributeId, Class, Mad, MadHeader, Method};
use iba::packet::{MadPacket, SmpPacket};
use iba::smp::Smp;
use iba::{Lid, PortNum, Sl};
use subnet::Time;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::Net;
use crate::topology::{PortRef, Topology};
use umad_server::{Fabric as _, NodePort};

/// Two switches in a row, with two cables between them, and a host at each.
const TWO_SWITCHES: &str = r#"
Switch 4 "S1"
[1] "H1"[1]
[2] "S2"[2] s=1 e=0
[3] "S2"[3]

Switch 4 "S2"
[1] "H2"[1]
[2] "S1"[2]
[3] "S1"[3]

Ca 1 "H1"
[1] "S1"[1]

Ca 2 "H2"
[1] "S2"[1]
"#;
const S1: usize = 0;
const S2: usize = 1;
const H1: NodePort = NodePort { node: 2, port: PortNum::new(1) };

fn at(node: usize, port: u8) -> NodePort {
    NodePort { node, port: PortNum::new(port) }
}

fn fabric(netlist: &str) -> Net {
    let topology = Topology::parse(netlist).unwrap();
    let mut net = Net::new(topology, Path::new("no uplink here"), None).unwrap();
    net.train_every_cable();
    settle(&mut net);
    net
}

/// Carries every packet; returns the deliveries.
fn settle(net: &mut Net) -> Vec<(NodePort, Vec<u8>)> {
    let mut delivered = Vec::new();
    while net.carry() {}
    net.drain_deliveries(|at, packet| delivered.push((at, packet.to_vec())));
    delivered
}

fn smp(method: Method, id: AttributeId, modifier: u32, path: &[u8]) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = Class::SUBN_DIRECTED_ROUTE;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = id;
    smp.header.attribute_modifier = modifier.into();
    (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
    smp.set_hop_count(u8::try_from(path.len()).unwrap());
    for (to, &from) in smp.initial_path[1..].iter_mut().zip(path) {
        *to = PortNum::new(from);
    }
    smp
}

/// Sends an SMP from H1; returns the response.
fn ask(net: &mut Net, smp: Smp) -> Option<Smp> {
    let mut packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), smp);
    net.submit(H1, packet.as_mut_bytes());
    let delivered = settle(net);
    assert!(delivered.len() <= 1, "{delivered:?}");
    let (to, answer) = delivered.into_iter().next()?;
    assert_eq!(to, H1);
    Some(SmpPacket::read_from_bytes(&answer).unwrap().smp)
}

fn get<A: Attribute>(net: &mut Net, modifier: u32, path: &[u8]) -> Option<A> {
    let answer = ask(net, smp(Method::GET, A::ID, modifier, path))?;
    assert_eq!((answer.header.method, answer.status().get()), (Method::GET_RESP, 0));
    Some(A::read_from_prefix(&answer.data).unwrap().0)
}

fn set<A: Attribute>(net: &mut Net, modifier: u32, path: &[u8], attribute: &A) {
    let mut set = smp(Method::SET, A::ID, modifier, path);
    set.set_attribute(attribute);
    let answer = ask(net, set).expect("an answer");
    assert_eq!((answer.header.method, answer.status().get()), (Method::GET_RESP, 0));
}

#[test]
fn node_at_the_end_of_a_route_responds() {
    let mut net = fabric(TWO_SWITCHES);
    for (path, node, entry) in
        [(&[][..], 2, 1), (&[1], S1, 1), (&[1, 2], S2, 2), (&[1, 3], S2, 3), (&[1, 2, 1], 3, 1), (&[1, 2, 3, 1], 2, 1)]
    {
        let info: NodeInfo = get(&mut net, 0, path).unwrap_or_else(|| panic!("no answer from {path:?}"));
        assert_eq!((info.node_guid, info.local_port.get()), (net.topology.nodes[node].guid, entry), "{path:?}");
    }
    for path in [&[2][..], &[1, 4], &[1, 5], &[1, 2, 1, 1]] {
        assert!(get::<NodeInfo>(&mut net, 0, path).is_none(), "no node at {path:?}");
    }
}

#[test]
fn cable_trains_to_the_netlists_width_and_speed() {
    let mut net = fabric(TWO_SWITCHES);
    let active = |net: &mut Net, port| {
        let info: PortInfo = get(net, port, &[1]).unwrap();
        let speeds = (info.link_speed_active().bits(), info.link_speed_ext_active().bits());
        (info.port_state(), info.link_width_active.bits(), speeds)
    };
    assert_eq!(active(&mut net, 2), (PortState::INIT, 2, (1, 0)), "the netlist says SDR");
    assert_eq!(active(&mut net, 3), (PortState::INIT, 2, (4, 2)));
    assert_eq!(active(&mut net, 4).0, PortState::DOWN, "no cable");
}

#[test]
fn unplugged_cable_is_down_at_both_ends() {
    let mut net = fabric(TWO_SWITCHES);
    let states =
        |net: &Net| [at(S1, 3), at(S2, 3)].map(|at| net.node(at).unwrap().port_info(at.port).unwrap().port_state());
    net.unplug(at(S2, 3));
    settle(&mut net);
    assert_eq!(states(&net), [PortState::DOWN; 2]);
    assert!(get::<NodeInfo>(&mut net, 0, &[1, 3]).is_none());
    let info: SwitchInfo = get(&mut net, 0, &[1]).unwrap();
    assert!(info.port_state_change());
    net.plug(at(S1, 3));
    settle(&mut net);
    assert_eq!(states(&net), [PortState::INIT; 2]);
    assert!(get::<NodeInfo>(&mut net, 0, &[1, 3]).is_some());
}

#[test]
fn link_down_request_takes_effect_after_its_response() {
    let mut net = fabric(TWO_SWITCHES);
    // The response leaves by the same link, so its arrival shows the order.
    let mut info: PortInfo = get(&mut net, 2, &[1, 2]).unwrap();
    info.set_port_state(PortState::DOWN);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(5), Lid::new(1));
    set(&mut net, 2, &[1, 2], &info);
    let info: PortInfo = get(&mut net, 2, &[1, 2]).unwrap();
    assert_eq!(info.port_state(), PortState::INIT, "it was trained anew");
    let info: SwitchInfo = get(&mut net, 0, &[1]).unwrap();
    assert!(info.port_state_change(), "the other end saw it go down");
}

#[test]
fn packet_in_a_forwarding_loop_is_dropped() {
    let mut net = fabric(TWO_SWITCHES);
    // LID 9 leads round and round between the switches, out by one cable and back by the other.
    for (path, port) in [(&[1][..], 2), (&[1, 2], 3)] {
        let mut info: SwitchInfo = get(&mut net, 0, path).unwrap();
        info.linear_fdb_top = 9.into();
        set(&mut net, 0, path, &info);
        let mut block = LinearForwardingBlock::default();
        block.ports[9] = PortNum::new(port);
        set(&mut net, 0, path, &block);
    }
    activate(&mut net);
    let mut packet = MadPacket::new(Lid::new(1), Lid::new(9), Sl::default(), Mad::new_zeroed());
    net.submit(H1, packet.as_mut_bytes());
    assert!(settle(&mut net).is_empty());
    assert_eq!(net.wires.strays, 1);
}

/// Sets the ports from H1 into the loop to Active, so that data passes.
fn activate(net: &mut Net) {
    let ports: [(&[u8], u32); 6] = [(&[], 1), (&[1], 1), (&[1], 2), (&[1], 3), (&[1, 2], 2), (&[1, 2], 3)];
    for state in [PortState::ARMED, PortState::ACTIVE] {
        for (path, port) in ports {
            let mut info: PortInfo = get(net, port, path).unwrap();
            info.set_port_state(state);
            info.set_physical_state(PortPhysicalState::NO_CHANGE);
            (info.lid, info.master_sm_lid) = (Lid::new(1), Lid::new(1));
            set(net, port, path, &info);
        }
    }
}

#[test]
fn snapshot_has_every_port_and_its_peer() {
    let net = fabric(TWO_SWITCHES);
    let snapshot = net.snapshot();
    let ports: Vec<_> = snapshot.nodes.iter().map(|node| node.ports.len()).collect();
    assert_eq!(ports, [5, 5, 1, 2]);
    let port = &snapshot.nodes[S1].ports[1];
    assert_eq!((port.number.get(), port.info.port_state()), (1, PortState::INIT));
    assert_eq!(port.peer, Some(PortRef { node: 2, port: PortNum::new(1) }));
}

#[test]
fn fabric_at_rest_has_no_deadline() {
    let mut net = fabric(TWO_SWITCHES);
    net.set_time(Time(1));
    assert_eq!(net.deadline(), None);
}
