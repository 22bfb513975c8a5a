//! Packets that are not for queue pair 0: where a switch sends them, what an adapter takes, and what neither lets pass.

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::{Notes, Told, adapter, between, bytes, from_neighbour, lrh, over_global_route, routed, smp, switch};
use iba::attr::{
    LinearForwardingBlock, Mtu, MulticastForwardingBlock, PKeyTable, PortInfo, PortPhysicalState, PortState,
    SlToVlMapping, SwitchInfo, VlCap,
};
use iba::lrh::{Lrh, NextHeader};
use iba::mad::{Attribute, Method, Status};
use iba::notice::{BadPKeySwitch, Notice, TrapNumber};
use iba::packet::UdHeader;
use iba::{Gid, Guid, Lid, PKey, PortNum, Qpn, Sl, Vl};
use subnet::{
    AdapterConfig, ChannelAdapter, Event, Key, Link, Node, NodeConfig, PortError, Route, Switch, SwitchConfig, Time,
};
use zerocopy::{FromBytes, IntoBytes};

const NOW: Time = Time(1);
const OWN: u16 = 0x0005;
const GROUP: u16 = 0xc123;

/// Sets an attribute through port 1.
fn set<A: Attribute>(node: &mut Node, modifier: u32, value: &A) {
    let mut packet = from_neighbour(Method::SET, A::ID, modifier);
    packet.smp.set_attribute(value);
    let mut notes = Notes::default();
    node.receive(NOW, PortNum::new(1), &mut bytes(&packet), &mut notes);
    assert_eq!(smp(notes.transmitted().unwrap().1).status(), Status::OK, "{:?}", A::ID);
}

/// Sets PortInfo of `port` through port 1.
fn set_port(node: &mut Node, port: u8, change: impl FnOnce(&mut PortInfo)) {
    let mut info = *node.port_info(PortNum::new(port)).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(OWN), Lid::new(0x10));
    info.set_subnet_timeout(18);
    change(&mut info);
    set(node, port.into(), &info);
}

fn activate(node: &mut Node, port: u8) {
    node.link_up(NOW, PortNum::new(port), Link::EDR_4X, &mut Notes::default());
    for state in [PortState::ARMED, PortState::ACTIVE] {
        set_port(node, port, |info| info.set_port_state(state));
    }
}

/// A switch with 40 ports, of which 1 to 4 and 33 are Active: LID 0x10 is at port 1, 0x20 at 2, 0x30 at 3, 0x40
/// nowhere, 0x50 at a port that is down; the group is ports 2, 3 and 33.
fn relay() -> Node {
    let mut node = Node::Switch(switch(40));
    node.link_up(NOW, PortNum::new(1), Link::EDR_4X, &mut Notes::default());
    set_port(&mut node, 0, |_| {});
    for port in [1, 2, 3, 4, 33] {
        activate(&mut node, port);
    }
    let mut table = LinearForwardingBlock::default();
    for (lid, port) in [(0x10, 1), (0x20, 2), (0x30, 3), (0x38, 33)] {
        table.ports[lid] = PortNum::new(port);
    }
    table.ports[0] = PortNum::new(3); // no packet's
    set(&mut node, 0, &table);
    let mut table = LinearForwardingBlock::default();
    table.ports[0x10] = PortNum::new(5);
    table.ports[0x11] = PortNum::new(200);
    (table.ports[0x20], table.ports[0x21]) = (PortNum::new(3), PortNum::new(3)); // the top, and above it
    set(&mut node, 1, &table);
    let mut info: SwitchInfo = *node.switch_info().unwrap();
    info.linear_fdb_top = Lid::new(0x60);
    set(&mut node, 0, &info);
    let (block, entry) = (0x123 / 32, 0x123 % 32);
    for (position, mask) in [(0u32, 0b1100u16), (2, 0b10)] {
        let mut table = MulticastForwardingBlock::default();
        table.masks[entry] = mask.into();
        set(&mut node, position << 28 | block, &table);
    }
    node
}

/// A datagram with a payload of this many bytes, a multiple of four.
fn datagram(slid: u16, dlid: u16, payload: usize) -> Vec<u8> {
    let mut header = UdHeader::new(Lid::new(slid), Lid::new(dlid), Sl::default(), payload);
    header.bth.dest_qp = Qpn::new(77);
    let mut packet = header.as_bytes().to_vec();
    packet.resize(packet.len() + payload, 0xab);
    packet
}

/// A raw packet, which has no header of the transport and no invariant CRC.
fn raw(dlid: u16) -> Vec<u8> {
    let mut packet = datagram(0x10, dlid, 4);
    packet[1] = packet[1] & !3 | NextHeader::RawEthertype as u8;
    let words = u16::try_from(packet.len() / 4).unwrap();
    packet[4..6].copy_from_slice(&words.to_be_bytes());
    packet
}

fn receive(node: &mut Node, port: u8, packet: &[u8]) -> Notes {
    let mut notes = Notes::default();
    node.receive(NOW, PortNum::new(port), &mut packet.to_vec(), &mut notes);
    notes
}

fn errors(node: &Node, port: u8, error: PortError) -> u32 {
    node.counters(PortNum::new(port)).unwrap().error(error)
}

fn header(dlid: u16) -> Lrh {
    let mut header = Lrh::default();
    header.dlid = Lid::new(dlid);
    header
}

#[test]
fn unicast_goes_where_the_table_says() {
    let node = relay();
    let Node::Switch(switch) = &node else { panic!("it is a switch") };
    let route = |switch: &Switch, from: u8, dlid| switch.route(PortNum::new(from), &header(dlid));
    for (from, dlid, expected) in [
        (1, 0x20, Route::Port(PortNum::new(2))),
        (2, 0x10, Route::Port(PortNum::new(1))),
        (1, 0x38, Route::Port(PortNum::new(33))),
        (1, 0x50, Route::Port(PortNum::new(5))),
        (2, 0x20, Route::Loop),
        (1, OWN, Route::Management),
        (1, 0x21, Route::NoRoute),
        (1, 0x60, Route::Port(PortNum::new(3))),
        (1, 0x61, Route::NoRoute), // above LinearFDBTop
        (1, 0xbfff, Route::NoRoute),
        (1, 0x0000, Route::NoRoute),
        (1, 0xffff, Route::NoRoute),
        (1, 0xc000, Route::NoRoute),
    ] {
        assert_eq!(route(switch, from, dlid), expected, "from {from} to {dlid:#06x}");
    }
}

#[test]
fn multicast_goes_to_the_group_but_for_where_it_came_from() {
    let node = relay();
    let Node::Switch(switch) = &node else { panic!("it is a switch") };
    for (from, expected) in [(1, vec![2, 3, 33]), (2, vec![3, 33]), (33, vec![2, 3])] {
        let Route::Multicast(ports) = switch.route(PortNum::new(from), &header(GROUP)) else { panic!("a group") };
        assert_eq!(ports.map(PortNum::get).collect::<Vec<_>>(), expected, "from {from}");
    }
}

#[test]
fn a_group_is_any_of_the_ports_that_a_switch_can_have() {
    let mut node = Node::Switch(switch(254));
    node.link_up(NOW, PortNum::new(1), Link::EDR_4X, &mut Notes::default());
    for port in 0..=254u8 {
        // 16 ports for each position (14.2.5.12).
        for position in 0..16 {
            let mut table = MulticastForwardingBlock::default();
            let mask = if port / 16 == position { 1u16 << (port % 16) } else { 0 };
            table.masks[0x123 % 32] = mask.into();
            set(&mut node, (u32::from(position) << 28) | (0x123 / 32), &table);
        }
        let Node::Switch(switch) = &node else { panic!("it is a switch") };
        let Route::Multicast(ports) = switch.route(PortNum::DISCARD, &header(GROUP)) else { panic!("{port}") };
        assert_eq!(ports.map(PortNum::get).collect::<Vec<_>>(), [port]);
        assert_eq!(switch.route(PortNum::new(port), &header(GROUP)), Route::NoRoute);
    }
}

#[test]
fn a_group_may_have_the_switch_itself() {
    let mut node = relay();
    let mut table = MulticastForwardingBlock::default();
    table.masks[0x123 % 32] = 0b101.into();
    set(&mut node, 0x123 / 32, &table);
    set(&mut node, (2 << 28) | (0x123 / 32), &MulticastForwardingBlock::default());
    let packet = datagram(0x10, GROUP, 64);
    assert_eq!(receive(&mut node, 1, &packet).0, [Told::Deliver(0, packet.clone()), Told::Transmit(2, packet)]);
}

#[test]
fn packets_pass_and_are_counted() {
    let mut node = relay();
    let before = [1, 2].map(|port| node.counters(PortNum::new(port)).unwrap().total());
    let packet = datagram(0x10, 0x20, 256);
    let notes = receive(&mut node, 1, &packet);
    assert_eq!(notes.transmitted(), Some((2, &packet[..])));
    let after = [1, 2].map(|port| node.counters(PortNum::new(port)).unwrap().total());
    let words = u64::from(lrh(&packet).packet_length());
    assert_eq!(words, (28 + 256 + 4) / 4);
    assert_eq!(after[0].rcv_data - before[0].rcv_data, words);
    assert_eq!(after[0].unicast_rcv_packets - before[0].unicast_rcv_packets, 1);
    assert_eq!(after[1].xmit_data - before[1].xmit_data, words);
    assert_eq!(after[1].xmit_packets - before[1].xmit_packets, 1);
    assert_eq!((after[0].xmit_packets, after[1].rcv_packets), (before[0].xmit_packets, before[1].rcv_packets));
}

#[test]
fn a_group_gets_a_packet_each() {
    let mut node = relay();
    let packet = datagram(0x10, GROUP, 64);
    let notes = receive(&mut node, 1, &packet);
    let expected: Vec<_> = [2, 3, 33].map(|port| Told::Transmit(port, packet.clone())).into();
    assert_eq!(notes.0, expected);
    for port in [2, 3, 33] {
        let total = node.counters(PortNum::new(port)).unwrap().total();
        assert_eq!((total.xmit_packets, total.unicast_xmit_packets, total.multicast_xmit_packets), (1, 0, 1));
    }
    let total = node.counters(PortNum::new(1)).unwrap().total();
    assert_eq!((total.rcv_packets - total.unicast_rcv_packets, total.multicast_rcv_packets), (1, 1));
}

#[test]
fn what_cannot_be_relayed_is_counted() {
    let mut node = relay();
    for dlid in [0x10, 0x21, 0x62, 0xc000] {
        assert!(receive(&mut node, 1, &datagram(0x10, dlid, 0)).0.is_empty(), "{dlid:#x}");
    }
    assert_eq!(errors(&node, 1, PortError::RcvSwitchRelay), 4);
    // A port that is down, and one that there is not.
    for dlid in [0x50, 0x51] {
        assert!(receive(&mut node, 1, &datagram(0x10, dlid, 0)).0.is_empty(), "{dlid:#x}");
    }
    assert_eq!(errors(&node, 5, PortError::XmitDiscard), 1);
    // DLID 0 is no packet's.
    assert!(receive(&mut node, 1, &datagram(0x10, 0, 0)).0.is_empty());
    assert_eq!(errors(&node, 1, PortError::Rcv), 1);
}

#[test]
fn a_length_that_is_not_the_packets_is_an_error() {
    let mut node = relay();
    let packet = datagram(0x10, 0x20, 16);
    for wrong in [&packet[..packet.len() - 4], &packet[..7], &packet[..0], &[&packet[..], &[0; 4]].concat()] {
        assert!(receive(&mut node, 1, wrong).0.is_empty());
    }
    let mut version = packet.clone();
    version[0] |= 1;
    assert!(receive(&mut node, 1, &version).0.is_empty());
    assert_eq!(errors(&node, 1, PortError::Rcv), 5);
    // Nor does a consumer send such a thing: neither through an adapter, nor to itself.
    let mut node = host();
    for dlid in [0x20, 4] {
        let mut notes = Notes::default();
        let mut packet = [datagram(4, dlid, 16), vec![0; 4]].concat();
        node.send(NOW, PortNum::new(1), &mut packet, &mut notes);
        assert!(notes.0.is_empty(), "{dlid:#x}");
    }
    assert_eq!(node.counters(PortNum::new(1)).unwrap().dropped(), 2);
}

/// Lane 15 is for SMPs alone (C14-1): nothing else passes by it.
#[test]
fn what_is_on_lane_15_and_no_smp_is_dropped() {
    for (mut node, dlid) in [(relay(), 0x20), (relay(), OWN), (relay(), GROUP), (host(), 4), (host(), GROUP)] {
        let mut packet = datagram(0x10, dlid, 16);
        packet[0] |= 0xf0;
        let before = node.counters(PortNum::new(1)).unwrap().dropped();
        assert!(receive(&mut node, 1, &packet).0.is_empty(), "{dlid:#x}");
        assert_eq!(node.counters(PortNum::new(1)).unwrap().dropped(), before + 1);
    }
}

#[test]
fn a_switchs_consumers_are_at_its_management_port() {
    for port in [1, 41, 255] {
        let (before, mut node) = (relay(), relay());
        let mut notes = Notes::default();
        node.send(NOW, PortNum::new(port), &mut datagram(OWN, 0x20, 0), &mut notes);
        node.set_is_sm(NOW, PortNum::new(port), true, &mut notes);
        node.refused(NOW, PortNum::new(port), Key::PKey, &datagram(0x10, 0x20, 0), &mut notes);
        assert!(notes.0.is_empty() && node == before, "port {port}");
    }
    let mut notes = Notes::default();
    relay().send(NOW, PortNum::MANAGEMENT, &mut datagram(OWN, 0x20, 0), &mut notes);
    assert_eq!(notes.transmitted().map(|(port, _)| port), Some(2));
}

#[test]
fn nothing_longer_than_the_other_end_takes_leaves() {
    let mut node = relay();
    set_port(&mut node, 2, |info| info.set_neighbor_mtu(Mtu::B256));
    // NeighborMTU and 124 bytes of headers, of which a datagram has 28 and the CRC.
    for (payload, passes) in [(256, true), (256 + 124 - 32, true), (256 + 124 - 28, false), (4096, false)] {
        let notes = receive(&mut node, 1, &datagram(0x10, 0x20, payload));
        assert_eq!(notes.transmitted().is_some(), passes, "{payload} bytes");
    }
    assert_eq!(errors(&node, 2, PortError::XmitDiscard), 2);
    assert!(receive(&mut node, 1, &datagram(0x10, 0x30, 4096)).transmitted().is_some(), "to another port it may go");
}

#[test]
fn the_lane_is_that_of_the_service_level() {
    let mut node = relay();
    let mut map = SlToVlMapping::default();
    map.set_vl(Sl::new(3), Vl::new(6));
    map.set_vl(Sl::new(4), Vl::new(9));
    map.set_vl(Sl::new(5), Vl::MANAGEMENT);
    map.set_vl(Sl::new(6), Vl::new(7));
    map.set_vl(Sl::new(7), Vl::new(8));
    // From port 1 to port 2; not from port 4.
    set(&mut node, 1 << 8 | 2, &map);
    let cases = [(3, Some(6)), (4, None), (5, None), (6, Some(7)), (7, None), (0, Some(0))];
    for (from, sl, lane) in cases.map(|(sl, lane)| (1, sl, lane)).into_iter().chain([(4, 3, Some(0))]) {
        let mut packet = datagram(0x10, 0x20, 0);
        packet[1] |= sl << 4;
        let notes = receive(&mut node, from, &packet);
        let vl = notes.transmitted().map(|(_, packet)| lrh(packet).vl().get());
        assert_eq!(vl, lane, "service level {sl} from {from}");
    }
    set_port(&mut node, 2, |info| info.set_operational_vls(VlCap::VL0_3));
    let mut packet = datagram(0x10, 0x20, 0);
    packet[1] |= 3 << 4;
    assert!(receive(&mut node, 1, &packet).0.is_empty(), "a lane that is not in use");
}

#[test]
fn no_data_leaves_by_lane_15_of_a_port_with_all_lanes() {
    let node = NodeConfig { vl_cap: VlCap::VL0_14, ..NodeConfig::new(Guid::new(1), "host") };
    let adapter = ChannelAdapter::new(&AdapterConfig { node, port_guids: vec![Guid::new(2)] }).unwrap();
    let mut node = Node::ChannelAdapter(adapter);
    activate(&mut node, 1);
    let mut map = SlToVlMapping::default();
    map.set_vl(Sl::new(4), Vl::new(14));
    map.set_vl(Sl::new(5), Vl::MANAGEMENT);
    set(&mut node, 0, &map);
    for (sl, lane) in [(4, Some(14)), (5, None)] {
        let mut packet = datagram(OWN, 0x20, 0);
        packet[1] |= sl << 4;
        let mut notes = Notes::default();
        node.send(NOW, PortNum::new(1), &mut packet, &mut notes);
        assert_eq!(notes.transmitted().map(|(_, packet)| lrh(packet).vl().get()), lane);
    }
}

#[test]
fn data_passes_only_where_ports_are_active() {
    let mut node = relay();
    node.link_down(NOW, PortNum::new(2), &mut Notes::default());
    assert!(receive(&mut node, 1, &datagram(0x10, 0x20, 0)).0.is_empty());
    node.link_up(NOW, PortNum::new(2), Link::EDR_4X, &mut Notes::default());
    assert!(receive(&mut node, 1, &datagram(0x10, 0x20, 0)).0.is_empty(), "Init");
    assert!(receive(&mut node, 2, &datagram(0x20, 0x10, 0)).0.is_empty(), "Init");
    set_port(&mut node, 2, |info| info.set_port_state(PortState::ARMED));
    assert!(receive(&mut node, 1, &datagram(0x10, 0x20, 0)).0.is_empty(), "Armed sends no data");
    assert!(receive(&mut node, 2, &datagram(0x20, 0x10, 0)).transmitted().is_some(), "but takes it");
    assert_eq!(node.port_info(PortNum::new(2)).unwrap().port_state(), PortState::ACTIVE, "and is Active by it");
    assert!(receive(&mut node, 1, &datagram(0x10, 0x20, 0)).transmitted().is_some());
}

#[test]
fn a_switch_lets_only_its_ports_partitions_pass() {
    let node = relay();
    let mut table = PKeyTable::default();
    table.p_keys[7] = PKey::new(0x8042);
    let keyed = |p_key: u16| {
        let mut packet = datagram(0x10, 0x20, 0);
        packet[10..12].copy_from_slice(&p_key.to_be_bytes());
        packet
    };
    for (port, inbound, error) in [(1, true, PortError::RcvConstraint), (2, false, PortError::XmitConstraint)] {
        let mut node = node.clone();
        set(&mut node, u32::from(port) << 16, &table);
        assert!(receive(&mut node, 1, &keyed(0xffff)).transmitted().is_some(), "nothing is enforced yet");
        set_port(&mut node, port, |info| {
            info.set_partition_enforcement_inbound(inbound);
            info.set_partition_enforcement_outbound(!inbound);
        });
        for (p_key, passes) in [(0x8042, true), (0x0042, true), (0x8043, false), (0xffff, false), (0x8000, false)] {
            assert_eq!(
                receive(&mut node, 1, &keyed(p_key)).0.iter().any(|told| matches!(told, Told::Transmit(2, _))),
                passes,
                "{p_key:#x}"
            );
        }
        assert_eq!(errors(&node, port, error), 3);
        let violations = |node: &Node| node.port_info(PortNum::new(port)).unwrap().p_key_violations.get();
        assert_eq!(violations(&node), 3);
        // A raw packet has no P_Key to be judged by, and one that is cut off is not let through for that.
        assert!(receive(&mut node, 1, &raw(0x20)).transmitted().is_some());
        let mut cut = datagram(0x10, 0x20, 0)[..16].to_vec();
        cut[5] = 5;
        assert!(receive(&mut node, 1, &cut).0.is_empty());
        assert_eq!((errors(&node, port, error), violations(&node)), (4, 3));
        for _ in 0..0x1_0000 {
            receive(&mut node, 1, &keyed(0x8043));
        }
        assert_eq!(violations(&node), 0xffff, "it stops at its greatest value");
        // Management packets have no partition to be judged by.
        let notes = receive(&mut node, 1, &bytes(&routed(Method::GET, PortInfo::ID, 0, 0x10, 0x20)));
        assert_eq!(notes.transmitted().map(|(port, _)| port), Some(2));
    }
}

#[test]
fn trap_259_tells_of_a_partition_that_a_switch_lets_not_pass() {
    let mut node = relay();
    set(&mut node, 1 << 16, &PKeyTable::default());
    set_port(&mut node, 1, |info| info.set_partition_enforcement_inbound(true));
    let mut packet = datagram(0x10, 0x20, 0);
    packet[1] |= 5 << 4; // service level
    packet[25..28].copy_from_slice(&[0, 3, 33]); // source queue pair
    let mut connected = packet.clone();
    connected[8] = 0x04; // RC SEND Only has no source queue pair
    let (sgid, dgid) = (Gid { prefix: 1.into(), guid: 2.into() }, Gid { prefix: 3.into(), guid: 4.into() });
    let global = over_global_route(&packet, between(sgid, dgid));
    let none = (Gid::default(), Gid::default());
    // DataValid: a bit for each of LIDs, P_Key, SL, queue pairs and GIDs that follow (14.2.5.1).
    for (mut packet, valid, qp1, gids) in [
        (packet, 0b0011_1111, 0x321, none),
        (connected, 0b0010_1111, 0, none),
        (global, 0b1111_1111, 0x321, (sgid, dgid)),
    ] {
        let mut node = node.clone();
        let mut notes = Notes::default();
        node.receive(NOW, PortNum::new(1), &mut packet, &mut notes);
        for seconds in 2..5 {
            node.poll(Time(seconds * 1_000_000_000), &mut notes); // others wait before it
        }
        let notices = notes.0.iter().map(|told| match told {
            Told::Transmit(1, packet) => *smp(packet).attribute::<Notice>(),
            _ => panic!("{told:?}"),
        });
        let notice = notices.into_iter().find(|notice| notice.trap_number == TrapNumber::BAD_P_KEY_SWITCH).unwrap();
        let details: &BadPKeySwitch = notice.details();
        assert_eq!((details.lid1, details.lid2, details.p_key), (Lid::new(0x10), Lid::new(0x20), PKey::DEFAULT));
        assert_eq!((details.qp1.get(), details.qp2.get(), details.sl()), (qp1, 77, Sl::new(5)));
        assert_eq!((details.gid1, details.gid2), gids);
        assert_eq!((details.switch_lid, details.port), (Lid::new(OWN), PortNum::new(1)));
        assert_eq!(details.data_valid.get(), valid);
    }
}

/// PartitionEnforcementCap 0: there are no tables of ports, and their bits of PortInfo cannot be set (14.2.5.4,
/// 14.2.5.6).
#[test]
fn a_switch_without_tables_of_ports_enforces_nothing() {
    let config = NodeConfig::new(Guid::new(1), "switch");
    let mut node = Node::Switch(Switch::new(&SwitchConfig { node: config, ports: 2, enforced_partitions: 0 }).unwrap());
    assert_eq!(node.switch_info().unwrap().partition_enforcement_cap.get(), 0);
    assert!(node.p_keys(PortNum::new(1)).is_none());
    activate(&mut node, 1);
    set_port(&mut node, 1, |info| {
        info.set_partition_enforcement_inbound(true);
        info.set_partition_enforcement_outbound(true);
    });
    let info = node.port_info(PortNum::new(1)).unwrap();
    assert!(!info.partition_enforcement_inbound() && !info.partition_enforcement_outbound());
}

#[test]
fn management_packets_follow_the_table_too() {
    let mut node = relay();
    let packet = bytes(&routed(Method::GET, PortInfo::ID, 0, 0x10, 0x20));
    assert_eq!(receive(&mut node, 1, &packet).transmitted(), Some((2, &packet[..])));
    // To the switch itself; and it answers as its table says, though that be the port where it came from.
    let notes = receive(&mut node, 1, &bytes(&routed(Method::GET, PortInfo::ID, 0, 0x10, OWN)));
    let (port, packet) = notes.transmitted().unwrap();
    assert_eq!((port, lrh(packet).slid, lrh(packet).dlid), (1, Lid::new(OWN), Lid::new(0x10)));
    // By the permissive LID it is for who is next, and the answer goes back by it.
    let notes = receive(&mut node, 3, &bytes(&routed(Method::GET, PortInfo::ID, 0, 0xffff, 0xffff)));
    let (port, packet) = notes.transmitted().unwrap();
    assert_eq!((port, lrh(packet).slid, lrh(packet).dlid), (3, Lid::new(OWN), Lid::PERMISSIVE));
    for dlid in [0x21, GROUP, 0] {
        assert!(receive(&mut node, 1, &bytes(&routed(Method::GET, PortInfo::ID, 0, 0x10, dlid))).0.is_empty());
    }
}

/// An adapter whose port 1 is Active, with LIDs 4 to 7.
fn host() -> Node {
    let mut node = Node::ChannelAdapter(adapter(1));
    node.link_up(NOW, PortNum::new(1), Link::EDR_4X, &mut Notes::default());
    set_port(&mut node, 1, |info| {
        info.lid = Lid::new(4);
        info.set_lmc(2);
    });
    for state in [PortState::ARMED, PortState::ACTIVE] {
        set_port(&mut node, 1, |info| {
            info.lid = Lid::new(4);
            info.set_lmc(2);
            info.set_port_state(state);
        });
    }
    node
}

#[test]
fn an_adapter_takes_what_is_for_it() {
    let mut node = host();
    for (dlid, taken) in [(3, false), (4, true), (7, true), (8, false), (GROUP, true), (0xffff, false)] {
        let packet = datagram(0x20, dlid, 8);
        let notes = receive(&mut node, 1, &packet);
        assert_eq!(notes.delivered(), taken.then_some((1, &packet[..])), "{dlid:#x}");
    }
    // Raw packets have no queue pair; any consumer may take them.
    assert!(receive(&mut node, 1, &raw(4)).delivered().is_some());
    // Queue pair 0 takes nothing from a data lane.
    let mut packet = datagram(0x20, 4, 256);
    packet[13..16].fill(0);
    assert!(receive(&mut node, 1, &packet).0.is_empty());
}

#[test]
fn what_an_adapter_sends_to_itself_does_not_leave() {
    let mut node = host();
    let mut notes = Notes::default();
    let packet = datagram(5, 6, 8);
    node.send(NOW, PortNum::new(1), &mut packet.clone(), &mut notes);
    assert_eq!(notes.delivered(), Some((1, &packet[..])));
    let mut notes = Notes::default();
    node.send(NOW, PortNum::new(1), &mut datagram(5, 0x20, 8), &mut notes);
    assert_eq!(notes.transmitted().map(|(port, _)| port), Some(1));
}

#[test]
fn packet_with_a_foreign_source_lid_is_dropped() {
    let mut node = host();
    for (claimed, sent) in [(4, 4), (7, 7), (8, 4), (0, 4), (0x1234, 4)] {
        let mut notes = Notes::default();
        node.send(NOW, PortNum::new(1), &mut datagram(claimed, 0x20, 8), &mut notes);
        assert_eq!(lrh(notes.transmitted().unwrap().1).slid, Lid::new(sent), "claimed {claimed:#x}");
        let mut notes = Notes::default();
        let mut packet = bytes(&routed(Method::GET, PortInfo::ID, 0, claimed, 0x20));
        node.send(NOW, PortNum::new(1), &mut packet, &mut notes);
        assert_eq!(lrh(notes.transmitted().unwrap().1).slid, Lid::new(sent), "claimed {claimed:#x}");
    }
}

#[test]
fn to_its_neighbour_anyone_may_send_without_a_name() {
    let mut node = host();
    let packet = bytes(&routed(Method::GET, PortInfo::ID, 0, 0xffff, 0xffff));
    let mut notes = Notes::default();
    node.send(NOW, PortNum::new(1), &mut packet.clone(), &mut notes);
    assert_eq!(notes.transmitted(), Some((1, &packet[..])));
}

#[test]
fn data_makes_an_armed_adapter_active() {
    let mut node = host();
    node.link_down(NOW, PortNum::new(1), &mut Notes::default());
    node.link_up(NOW, PortNum::new(1), Link::EDR_4X, &mut Notes::default());
    set_port(&mut node, 1, |info| {
        info.lid = Lid::new(4);
        info.set_port_state(PortState::ARMED);
    });
    let notes = receive(&mut node, 1, &datagram(0x20, 4, 8));
    assert!(notes.delivered().is_some());
    assert_eq!(notes.events(), [Event::Active]);
    let (lrh, _) = Lrh::ref_from_prefix(notes.delivered().unwrap().1).unwrap();
    assert_eq!(lrh.dlid, Lid::new(4));
}
