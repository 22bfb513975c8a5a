//! The hypervisor's agent: logical adapters come and go, packets walk between them and the cable, and a subnet manager
//! can be anywhere.

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use std::collections::BTreeSet;

use common::sm::Sm;
use common::{Fabric, HOST_PORT, UPLINK, bytes, directed, lhca_config, lrh, request, routed, smp};
use iba::attr::{NodeInfo, PortInfo, PortPhysicalState, PortState, SwitchInfo};
use iba::mad::{Attribute, AttributeId, Class, Method, Status};
use iba::notice::{Notice, TrapNumber};
use iba::packet::{SmpPacket, UdHeader};
use iba::{Guid, Lid, PortNum, Qpn, Sl};
use subnet::{
    AdapterConfig, AddError, ChannelAdapter, ConfigError, Event, Hsma, HsmaOutlet, Key, LhcaId, Link, LinkRequest,
    LogicalPort, NodeConfig, PortError, SwitchConfig, Time, UplinkId,
};
use zerocopy::IntoBytes;

/// A fabric that a manager at the host has brought up.
fn managed(lhcas: u8) -> (Fabric, Sm) {
    let mut fabric = Fabric::new(lhcas);
    let mut sm = Sm::default();
    sm.sweep(&mut fabric);
    fabric.with_host(|host, now, out| host.set_is_sm(now, HOST_PORT, true, out));
    settle(&mut fabric, &mut sm);
    fabric.events.clear();
    (fabric, sm)
}

/// Lets all traps that wait come in, represses them, and returns their numbers and where they came from.
fn settle(fabric: &mut Fabric, sm: &mut Sm) -> Vec<(TrapNumber, u16)> {
    let mut told = collect(fabric, sm);
    for _ in 0..4 {
        fabric.wait(1_100);
        told.extend(collect(fabric, sm));
    }
    told
}

/// Represses the traps that came in.
fn collect(fabric: &mut Fabric, sm: &mut Sm) -> Vec<(TrapNumber, u16)> {
    let traps: Vec<_> = fabric.at_host.drain(..).filter(|packet| smp(packet).header.method == Method::TRAP).collect();
    let mut told = Vec::new();
    for packet in traps {
        let trap = smp(&packet);
        let from = lrh(&packet).slid;
        told.push((trap.attribute::<Notice>().trap_number, from.get()));
        let mut repress = routed(Method::TRAP_REPRESS, AttributeId::NOTICE, 0, sm.lid(host_guid()), from.get());
        repress.smp.header.transaction_id = trap.header.transaction_id;
        fabric.send(&bytes(&repress));
    }
    told
}

fn host_guid() -> Guid {
    Guid::new(0x0200_0000_0000_2001)
}

fn switch_guid() -> Guid {
    Guid::new(0x0200_0000_0000_3000)
}

fn lhca_lid(fabric: &Fabric, lhca: LhcaId) -> u16 {
    fabric.hsma.lhca(lhca).unwrap().port_info(HOST_PORT).unwrap().lid.get()
}

fn state(fabric: &Fabric, port: u8) -> PortState {
    fabric.hsma.switch(UPLINK).unwrap().port_info(PortNum::new(port)).unwrap().port_state()
}

/// A datagram to queue pair 77.
fn datagram(slid: u16, dlid: u16) -> Vec<u8> {
    let mut header = UdHeader::new(Lid::new(slid), Lid::new(dlid), Sl::default(), 64);
    header.bth.dest_qp = Qpn::new(77);
    let mut packet = header.as_bytes().to_vec();
    packet.resize(packet.len() + 64, 0xcd);
    packet
}

#[test]
fn a_pulled_logical_cable_is_told_and_heals() {
    let (mut fabric, mut sm) = managed(3);
    let lhca = fabric.lhcas[1];
    let lid = lhca_lid(&fabric, lhca);
    fabric.with_hsma(|hsma, now, out| hsma.unplug(now, lhca, out));
    assert_eq!(state(&fabric, 3), PortState::DOWN);
    assert_eq!(fabric.events, [(lhca, HOST_PORT, Event::Inactive)]);
    assert_eq!(collect(&mut fabric, &mut sm), [(TrapNumber::LINK_STATE_CHANGE, sm.lid(switch_guid()))]);
    let info: SwitchInfo = sm.get(&mut fabric, &[1], 0);
    assert!(info.port_state_change());
    sm.sweep(&mut fabric);
    assert_eq!(sm.ends.len(), 4);
    fabric.with_hsma(|hsma, now, out| hsma.plug(now, lhca, out));
    assert_eq!(state(&fabric, 3), PortState::INIT);
    assert_eq!(settle(&mut fabric, &mut sm)[0].0, TrapNumber::LINK_STATE_CHANGE);
    sm.sweep(&mut fabric);
    assert_eq!(state(&fabric, 3), PortState::ACTIVE);
    assert_eq!(lhca_lid(&fabric, lhca), lid, "its LID came back");
}

#[test]
fn the_uplink_goes_down_and_up() {
    let (mut fabric, mut sm) = managed(2);
    fabric.cable(false);
    assert_eq!(state(&fabric, 1), PortState::DOWN);
    assert_eq!(state(&fabric, 2), PortState::ACTIVE, "between logical ports nothing changes");
    fabric.cable(true);
    sm.sweep(&mut fabric);
    assert_eq!((state(&fabric, 1), state(&fabric, 2)), (PortState::ACTIVE, PortState::ACTIVE));
}

#[test]
fn a_logical_link_that_is_set_down_passes_through_down_at_both_ends() {
    let (mut fabric, mut sm) = managed(2);
    // From the switch's end, and from the adapter's.
    for (path, port) in [(&[1][..], 2), (&[1, 2][..], 1)] {
        let answer = sm.set_port(&mut fabric, path, port, |info| info.set_port_state(PortState::DOWN));
        assert_eq!(answer.port_state(), PortState::DOWN);
        assert_eq!(state(&fabric, 2), PortState::INIT);
        let info: PortInfo = sm.get(&mut fabric, &[1, 2], 1);
        assert_eq!(info.port_state(), PortState::INIT);
        assert_eq!(settle(&mut fabric, &mut sm)[0].0, TrapNumber::LINK_STATE_CHANGE);
        sm.sweep(&mut fabric);
        assert_eq!(state(&fabric, 2), PortState::ACTIVE);
    }
    assert!(fabric.links.is_empty(), "the physical link was left alone");
}

#[test]
fn a_logical_port_is_switched_off_and_on_by_the_manager() {
    let (mut fabric, mut sm) = managed(2);
    sm.set_port(&mut fabric, &[1], 2, |info| {
        info.set_port_state(PortState::DOWN);
        info.set_physical_state(PortPhysicalState::DISABLED);
    });
    let lhca = fabric.lhcas[0];
    let at_lhca = fabric.hsma.lhca(lhca).unwrap().port_info(HOST_PORT).unwrap();
    assert_eq!((at_lhca.port_state(), at_lhca.physical_state()), (PortState::DOWN, PortPhysicalState::POLLING));
    // Plugging it in again does not help: it is the manager's will.
    fabric.with_hsma(|hsma, now, out| hsma.unplug(now, lhca, out));
    fabric.with_hsma(|hsma, now, out| hsma.plug(now, lhca, out));
    assert_eq!(state(&fabric, 2), PortState::DOWN);
    sm.set_port(&mut fabric, &[1], 2, |info| info.set_physical_state(PortPhysicalState::POLLING));
    assert_eq!(state(&fabric, 2), PortState::INIT);
}

#[test]
fn a_link_is_as_wide_and_fast_as_both_ends_allow() {
    let (mut fabric, mut sm) = managed(1);
    sm.set_port(&mut fabric, &[1, 2], 1, |info| info.link_width_enabled = iba::attr::LinkWidth::X1);
    let told = settle(&mut fabric, &mut sm);
    assert_eq!(told, [(TrapNumber::LOCAL_CHANGE, lhca_lid(&fabric, fabric.lhcas[0]))]);
    let info: PortInfo = sm.get(&mut fabric, &[1], 2);
    assert_eq!(info.link_width_active, iba::attr::LinkWidth::X4, "not before it trains anew");
    sm.set_port(&mut fabric, &[1], 2, |info| info.set_port_state(PortState::DOWN));
    for (path, port) in [(&[1][..], 2), (&[1, 2][..], 1)] {
        let info: PortInfo = sm.get(&mut fabric, path, port);
        assert_eq!(info.link_width_active, iba::attr::LinkWidth::X1);
    }
}

#[test]
fn a_set_of_the_uplink_is_the_physical_ports() {
    let (mut fabric, mut sm) = managed(1);
    sm.set_port(&mut fabric, &[1], 1, |info| info.set_port_state(PortState::DOWN));
    assert_eq!(fabric.links, [LinkRequest::Retrain]);
    assert_eq!(state(&fabric, 1), PortState::DOWN);
}

#[test]
fn data_walks_between_adapters_and_the_cable() {
    let (mut fabric, sm) = managed(3);
    let (a, b) = (fabric.lhcas[0], fabric.lhcas[2]);
    let (lid_a, lid_b, lid_host) = (lhca_lid(&fabric, a), lhca_lid(&fabric, b), sm.lid(host_guid()));
    let crossed = fabric.on_cable;
    let packet = datagram(lid_a, lid_b);
    fabric.send_from(a, &packet);
    assert_eq!(fabric.at_lhcas, [(b, HOST_PORT, packet)]);
    assert_eq!(fabric.on_cable, crossed, "nothing between two logical ports is on the cable");
    fabric.at_lhcas.clear();
    fabric.at_host.clear();
    fabric.send_from(a, &datagram(lid_a, lid_host));
    assert_eq!(fabric.at_host, [datagram(lid_a, lid_host)]);
    fabric.send(&datagram(lid_host, lid_b));
    assert_eq!(fabric.at_lhcas, [(b, HOST_PORT, datagram(lid_host, lid_b))]);
    // A packet to itself stays at home, and one to an unknown LID is dropped.
    fabric.at_lhcas.clear();
    fabric.send_from(a, &datagram(lid_a, lid_a));
    assert_eq!(fabric.at_lhcas.len(), 1);
    fabric.send_from(a, &datagram(lid_a, 0x0fff));
    assert_eq!((fabric.at_lhcas.len(), fabric.at_host.len()), (1, 1));
}

#[test]
fn a_group_gets_its_packets_once_each() {
    let (mut fabric, mut sm) = managed(4);
    let mut table = iba::attr::MulticastForwardingBlock::default();
    table.masks[5] = 0b01_1110.into(); // ports 1 to 4: the uplink, and three of the adapters
    sm.set(&mut fabric, &[1], 2, &table);
    let group = 0xc000 + 2 * 32 + 5;
    let a = fabric.lhcas[0];
    let packet = datagram(lhca_lid(&fabric, a), group);
    fabric.at_host.clear();
    fabric.send_from(a, &packet);
    let others: Vec<_> = [1, 2].map(|index| (fabric.lhcas[index], HOST_PORT, packet.clone())).into();
    assert_eq!(fabric.at_lhcas, others, "port 2 sent it, port 5 is not a member");
    assert_eq!(fabric.at_host, [packet]);
}

#[test]
fn a_group_gets_its_packets_where_one_of_its_links_is_down() {
    let (mut fabric, mut sm) = managed(3);
    let mut table = iba::attr::MulticastForwardingBlock::default();
    table.masks[5] = 0b1_1100.into();
    sm.set(&mut fabric, &[1], 2, &table);
    let first = fabric.lhcas[0];
    fabric.with_hsma(|hsma, now, out| hsma.unplug(now, first, out));
    fabric.send(&datagram(sm.lid(host_guid()), 0xc000 + 2 * 32 + 5));
    let got: Vec<_> = fabric.at_lhcas.iter().map(|(lhca, ..)| *lhca).collect();
    assert_eq!(got, fabric.lhcas[1..]);
}

#[test]
fn a_group_gets_nothing_by_an_uplink_that_is_down() {
    let (mut fabric, mut sm) = managed(2);
    let mut table = iba::attr::MulticastForwardingBlock::default();
    table.masks[5] = 0b1110.into();
    sm.set(&mut fabric, &[1], 2, &table);
    fabric.cable(false);
    let (first, crossed) = (fabric.lhcas[0], fabric.on_cable);
    let packet = datagram(lhca_lid(&fabric, first), 0xc000 + 2 * 32 + 5);
    fabric.send_from(first, &packet);
    assert_eq!(fabric.on_cable, crossed);
    assert_eq!(fabric.at_lhcas, [(fabric.lhcas[1], HOST_PORT, packet)]);
}

#[test]
fn what_comes_of_a_packet_has_come_when_the_call_returns() {
    let (mut fabric, mut sm) = managed(1);
    let lhca = fabric.lhcas[0];
    let mut info = *fabric.hsma.lhca(lhca).unwrap().port_info(HOST_PORT).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    info.set_client_reregister(true);
    // From the host, and from a consumer of the adapter itself.
    sm.set::<PortInfo>(&mut fabric, &[1, 2], 1, &info);
    assert_eq!(fabric.events, [(lhca, HOST_PORT, Event::ClientReregister)]);
    let mut packet = directed(Method::SET, PortInfo::ID, 0, &[]);
    packet.smp.set_attribute(&info);
    fabric.send_from(lhca, &bytes(&packet));
    assert_eq!(fabric.events.len(), 2);
    // A change of the name is reported at once, too.
    let crossed = fabric.on_cable;
    fabric.with_hsma(|hsma, now, out| hsma.set_is_sm(now, lhca, HOST_PORT, true, out));
    assert_eq!(fabric.on_cable, crossed + 1);
}

#[test]
fn errors_of_a_physical_port_are_its_logical_switchs() {
    let mut hsma = Hsma::new(&[logical(1, 4), logical(2, 4)]).unwrap();
    hsma.count(UplinkId(1), PortError::Symbol, 3);
    hsma.count(UplinkId(2), PortError::Symbol, 3);
    let counted: [Vec<u32>; 2] = [UplinkId(0), UplinkId(1)].map(|uplink| {
        let ports = (0..=4).map(PortNum::new);
        ports.map(|port| hsma.switch(uplink).unwrap().counters(port).unwrap().error(PortError::Symbol)).collect()
    });
    assert_eq!(counted, [vec![0; 5], vec![0, 3, 0, 0, 0]]);
}

/// Consumers with another Q_Key, and where the traps come from that leave by the uplink.
#[derive(Default)]
struct Refusing(BTreeSet<u16>);

impl HsmaOutlet for Refusing {
    fn transmit(&mut self, _: UplinkId, packet: &[u8]) {
        assert_eq!(smp(packet).attribute::<Notice>().trap_number, TrapNumber::BAD_Q_KEY);
        self.0.insert(lrh(packet).slid.get());
    }
    fn deliver(&mut self, _: LhcaId, _: &ChannelAdapter, _: PortNum, _: &[u8]) -> Result<(), Key> {
        Err(Key::QKey)
    }
    fn link(&mut self, _: UplinkId, _: LinkRequest) {}
}

#[test]
fn each_consumer_that_refuses_a_groups_packet_is_told_of() {
    let (mut fabric, mut sm) = managed(6);
    let mut table = iba::attr::MulticastForwardingBlock::default();
    table.masks[5] = 0b1111_1100.into();
    sm.set(&mut fabric, &[1], 2, &table);
    let mut packet = datagram(sm.lid(host_guid()), 0xc000 + 2 * 32 + 5);
    let mut out = Refusing::default();
    fabric.hsma.receive(fabric.now, UPLINK, &mut packet, &mut out);
    assert_eq!(out.0, fabric.lhcas.iter().map(|&lhca| lhca_lid(&fabric, lhca)).collect());
    fabric.hsma.reset_q_key_violations(fabric.lhcas[0], HOST_PORT);
    let violations =
        |&lhca: &LhcaId| fabric.hsma.lhca(lhca).unwrap().port_info(HOST_PORT).unwrap().q_key_violations.get();
    assert_eq!(fabric.lhcas.iter().map(violations).collect::<Vec<_>>(), [0, 1, 1, 1, 1, 1]);
}

#[test]
fn answers_go_where_the_route_came_from() {
    let (mut fabric, sm) = managed(2);
    let (a, b) = (fabric.lhcas[0], fabric.lhcas[1]);
    let (lid_a, lid_b) = (lhca_lid(&fabric, a), lhca_lid(&fabric, b));
    let crossed = fabric.on_cable;
    // By LID from one adapter to the other: the agent of the other answers, its consumers see nothing.
    fabric.send_from(a, &bytes(&routed(Method::GET, NodeInfo::ID, 0, lid_a, lid_b)));
    let [(at, port, answer)] = &fabric.at_lhcas[..] else { panic!("{:?}", fabric.at_lhcas) };
    assert_eq!((*at, *port, smp(answer).header.method), (a, HOST_PORT, Method::GET_RESP));
    assert_eq!(smp(answer).attribute::<NodeInfo>().port_guid, lhca_config(1).port_guids[0]);
    fabric.at_lhcas.clear();
    // By directed route, two hops: the logical switch, and the other adapter; and to itself, no hop at all.
    for (path, guid) in [(&[1, 3][..], lhca_config(1).node.node_guid), (&[], lhca_config(0).node.node_guid)] {
        fabric.send_from(a, &bytes(&directed(Method::GET, NodeInfo::ID, 0, path)));
        let (at, _, answer) = fabric.at_lhcas.pop().unwrap();
        let answer = smp(&answer);
        assert_eq!((at, answer.hop_pointer(), answer.attribute::<NodeInfo>().node_guid), (a, 0, guid));
    }
    assert_eq!(fabric.on_cable, crossed, "all of it stayed inside");
    fabric.send_from(a, &bytes(&directed(Method::GET, NodeInfo::ID, 0, &[1, 1])));
    let (_, _, answer) = fabric.at_lhcas.pop().unwrap();
    assert_eq!(smp(&answer).attribute::<NodeInfo>().port_guid, host_guid());
    assert_eq!(fabric.on_cable, crossed + 2);
    assert_ne!(sm.lid(host_guid()), 0);
}

#[test]
fn routes_by_lid_and_then_by_hops_go_and_come_back() {
    let (mut fabric, sm) = managed(3);
    let (host, switch) = (sm.lid(host_guid()), sm.lid(switch_guid()));
    // To the logical switch by LID, from there by port 4 to the third adapter.
    let combined = |slid: Lid, dlid: Lid, first: u16, path: &[u8]| {
        let mut packet = directed(Method::GET, NodeInfo::ID, 0, path);
        (packet.smp.dr_slid, packet.smp.dr_dlid) = (slid, dlid);
        SmpPacket::new(Lid::new(host), Lid::new(first), Sl::default(), packet.smp)
    };
    let permissive = Lid::PERMISSIVE;
    let third = lhca_config(2).port_guids[0];
    let cases = [
        ("LID, hop", combined(Lid::new(host), permissive, switch, &[4]), third),
        ("hops, LID", combined(permissive, Lid::new(lhca_lid(&fabric, fabric.lhcas[2])), 0xffff, &[1]), third),
        ("hops, LID of their end", combined(permissive, Lid::new(switch), 0xffff, &[1]), switch_guid()),
        ("hops, back by LID", combined(permissive, Lid::new(host), 0xffff, &[1]), host_guid()),
    ];
    for (case, packet, guid) in cases {
        fabric.at_host.clear();
        fabric.send(&bytes(&packet));
        let [answer] = &fabric.at_host[..] else { panic!("{case}: {:?}", fabric.at_host) };
        let answer = smp(answer);
        assert_eq!((answer.header.method, answer.status()), (Method::GET_RESP, Status::OK), "{case}");
        assert_eq!(answer.attribute::<NodeInfo>().port_guid, guid, "{case}");
    }
}

#[test]
fn a_subnet_manager_in_a_partition_is_found_asked_and_told() {
    let (mut fabric, mut sm) = managed(2);
    let lhca = fabric.lhcas[0];
    let lid = lhca_lid(&fabric, lhca);
    let ask = |fabric: &mut Fabric| {
        fabric.at_lhcas.clear();
        fabric.at_host.clear();
        fabric.send(&bytes(&directed(Method::GET, AttributeId::SM_INFO, 0, &[1, 2])));
    };
    ask(&mut fabric);
    assert_eq!(smp(&fabric.at_host[0]).status(), Status::BAD_METHOD_ATTRIBUTE, "there is none yet");
    fabric.with_hsma(|hsma, now, out| hsma.set_is_sm(now, lhca, HOST_PORT, true, out));
    assert_eq!(settle(&mut fabric, &mut sm), [(TrapNumber::LOCAL_CHANGE, lid)]);
    let info: PortInfo = sm.get(&mut fabric, &[1, 2], 1);
    assert!(info.capability_mask().contains(iba::attr::CapabilityMask::SM));
    ask(&mut fabric);
    assert!(fabric.at_host.is_empty());
    let (at, port, asked) = fabric.at_lhcas.pop().unwrap();
    assert_eq!((at, port), (lhca, HOST_PORT));
    // It answers, and the answer finds its way.
    let mut answer = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), smp(&asked));
    answer.smp.header.method = Method::GET_RESP;
    answer.smp.set_returning(true);
    answer.smp.data.fill(0x5a);
    fabric.send_from(lhca, &bytes(&answer));
    assert_eq!(smp(&fabric.at_host[0]).data, [0x5a; 64]);
    // A trap is for the SM alone.
    for (to, delivered) in [(lhca, 1), (fabric.lhcas[1], 0)] {
        fabric.at_lhcas.clear();
        let trap = request(Class::SUBN_LID_ROUTED, Method::TRAP, AttributeId::NOTICE, 0);
        let to = lhca_lid(&fabric, to);
        fabric.send(&bytes(&SmpPacket::new(Lid::new(1), Lid::new(to), Sl::default(), trap)));
        assert_eq!(fabric.at_lhcas.len(), delivered);
    }
}

/// A logical switch with this GUID and this many ports.
fn logical(guid: u64, ports: u8) -> SwitchConfig {
    SwitchConfig { node: NodeConfig::new(Guid::new(guid), "logical"), ports, enforced_partitions: 0 }
}

fn place(uplink: u8, port: u8) -> LogicalPort {
    LogicalPort { uplink: UplinkId(uplink), port: PortNum::new(port) }
}

fn two_ports(guid: u64) -> AdapterConfig {
    let port_guids = vec![Guid::new(guid + 1), Guid::new(guid + 2)];
    AdapterConfig { node: NodeConfig::new(Guid::new(guid), "two ports"), port_guids }
}

#[test]
fn guids_are_given_once_and_never_zero() {
    assert_eq!(Hsma::new(&[logical(0, 2)]).err(), Some(ConfigError::ZeroGuid));
    assert_eq!(Hsma::new(&[logical(1, 0)]).err(), Some(ConfigError::Ports(0)));
    assert_eq!(Hsma::new(&[logical(1, 255)]).err(), Some(ConfigError::Ports(255)));
    let twice = Hsma::new(&[logical(1, 2), logical(1, 2)]).err();
    assert_eq!(twice, Some(ConfigError::DuplicateGuid(Guid::new(1))));
    let mut hsma = Hsma::new(&[logical(1, 4), logical(2, 4)]).unwrap();
    let both = [place(0, 2), place(1, 2)];
    hsma.add(&two_ports(0x10), &both).unwrap();
    for (guid, again) in [(0x10, 0x10), (0x11, 0x11), (0x0f, 0x10), (0x01, 0x01), (0x0e, 0x10)] {
        let refused = hsma.add(&two_ports(guid), &[place(0, 3), place(1, 3)]);
        assert!(matches!(refused, Err(AddError::Config(ConfigError::DuplicateGuid(_)))), "{guid:#x}, {again:#x}");
    }
    let mut config = two_ports(0x20);
    config.port_guids[1] = Guid::default();
    assert_eq!(hsma.add(&config, &both), Err(AddError::Config(ConfigError::ZeroGuid)));
    config.port_guids[1] = config.port_guids[0];
    let refused = hsma.add(&config, &[place(0, 3), place(1, 3)]);
    assert_eq!(refused, Err(AddError::Config(ConfigError::DuplicateGuid(Guid::new(0x21)))));
    for ports in [0, 255] {
        config.port_guids = (0x100..0x100 + ports).map(Guid::new).collect();
        let ports = config.port_guids.len();
        assert_eq!(hsma.add(&config, &[]), Err(AddError::Config(ConfigError::Ports(ports))));
    }
    config.port_guids.truncate(254);
    assert_eq!(hsma.add(&config, &[]), Err(AddError::Ports { guids: 254, ports: 0 }));
    config.node.node_guid = Guid::default();
    assert_eq!(hsma.add(&config, &[]), Err(AddError::Config(ConfigError::ZeroGuid)));
}

#[test]
fn an_adapter_has_a_place_of_its_own_for_each_port() {
    let mut hsma = Hsma::new(&[logical(1, 4), logical(2, 4)]).unwrap();
    let config = two_ports(0x10);
    let refused = |hsma: &mut Hsma, places: &[LogicalPort]| hsma.add(&config, places).unwrap_err();
    assert_eq!(refused(&mut hsma, &[place(0, 2)]), AddError::Ports { guids: 2, ports: 1 });
    for wrong in [place(0, 0), place(0, 1), place(0, 5), place(0, 255), place(2, 2)] {
        assert_eq!(refused(&mut hsma, &[place(1, 2), wrong]), AddError::NoSuchPort(wrong));
    }
    assert_eq!(refused(&mut hsma, &[place(0, 2), place(0, 2)]), AddError::PortTaken(place(0, 2)));
    let lhca = hsma.add(&config, &[place(0, 2), place(1, 3)]).unwrap();
    assert_eq!(hsma.places(lhca).collect::<Vec<_>>(), [place(0, 2), place(1, 3)]);
    let again = hsma.add(&two_ports(0x20), &[place(0, 3), place(1, 3)]);
    assert_eq!(again, Err(AddError::PortTaken(place(1, 3))));
    let other = hsma.add(&two_ports(0x20), &[place(1, 2), place(1, 4)]).unwrap();
    assert_eq!(hsma.lhcas().collect::<Vec<_>>(), [lhca, other]);
    let free = |hsma: &Hsma| [0, 1, 2].map(|uplink| hsma.free_port(UplinkId(uplink)));
    assert_eq!(free(&hsma), [Some(place(0, 3)), None, None]);
    // A removed LHCA frees its port and its GUIDs.
    hsma.remove(Time(0), lhca, &mut common::Said::default());
    assert_eq!(hsma.lhcas().collect::<Vec<_>>(), [other]);
    assert_eq!(free(&hsma), [Some(place(0, 2)), Some(place(1, 3)), None]);
    assert_eq!(hsma.add(&config, &[place(0, 2), place(1, 3)]), Ok(lhca));
    // An LHCA is plugged in by request, and its links go down with its removal.
    let mut said = common::Said::default();
    assert!(!hsma.is_plugged(lhca) && !hsma.is_plugged(LhcaId(9)));
    hsma.plug(Time(0), lhca, &mut said);
    assert!(hsma.is_plugged(lhca) && !hsma.is_plugged(other));
    let state = |hsma: &Hsma| hsma.switch(UplinkId(1)).unwrap().port_info(PortNum::new(3)).unwrap().port_state();
    assert_eq!(state(&hsma), PortState::INIT);
    hsma.remove(Time(0), lhca, &mut said);
    assert_eq!(state(&hsma), PortState::DOWN);
}

#[test]
fn two_uplinks_are_two_switches_and_meet_only_in_adapters() {
    let mut hsma = Hsma::new(&[logical(1, 4), logical(2, 4)]).unwrap();
    let mut said = common::Said::default();
    let lhca = hsma.add(&two_ports(0x10), &[place(0, 2), place(1, 3)]).unwrap();
    hsma.plug(Time(0), lhca, &mut said);
    for uplink in [UplinkId(0), UplinkId(1)] {
        hsma.link_up(Time(0), uplink, Link::EDR_4X, &mut said);
    }
    for (uplink, port, guid, number) in [(0, 2, 0x11, 1), (1, 3, 0x12, 2)] {
        let mut packet = directed(Method::GET, NodeInfo::ID, 0, &[1, port]);
        packet.smp.set_hop_pointer(1);
        let mut said = common::Said::default();
        hsma.receive(Time(1), UplinkId(uplink), &mut bytes(&packet), &mut said);
        let answer = smp(&said.cable()[0]);
        let info: &NodeInfo = answer.attribute();
        assert_eq!((info.port_guid, info.local_port.get()), (Guid::new(guid), number));
    }
    // An adapter is an end: no route leads through it.
    let mut packet = directed(Method::GET, NodeInfo::ID, 0, &[1, 2, 2]);
    packet.smp.set_hop_pointer(1);
    let mut said = common::Said::default();
    hsma.receive(Time(1), UplinkId(0), &mut bytes(&packet), &mut said);
    assert!(said.cable().is_empty());
}

#[test]
fn what_does_not_exist_is_no_ones_fault() {
    let mut hsma = Hsma::new(&[logical(1, 4)]).unwrap();
    let mut said = common::Said::default();
    let packet = || bytes(&directed(Method::GET, NodeInfo::ID, 0, &[]));
    hsma.receive(Time(0), UplinkId(7), &mut packet(), &mut said);
    hsma.send(Time(0), LhcaId(3), PortNum::new(1), &mut packet(), &mut said);
    hsma.plug(Time(0), LhcaId(3), &mut said);
    hsma.remove(Time(0), LhcaId(3), &mut said);
    hsma.set_is_sm(Time(0), LhcaId(3), PortNum::new(1), true, &mut said);
    hsma.link_down(Time(0), UplinkId(9), &mut said);
    let lhca = hsma.add(&two_ports(0x10), &[place(0, 2), place(0, 3)]).unwrap();
    // An LHCA is no logical switch, whatever number it has among the members.
    hsma.plug(Time(0), lhca, &mut said);
    let counted = |hsma: &Hsma| hsma.lhca(lhca).unwrap().counters(HOST_PORT).cloned();
    let before = counted(&hsma);
    hsma.receive(Time(0), UplinkId(1), &mut packet(), &mut said);
    hsma.link_down(Time(0), UplinkId(1), &mut said);
    assert_eq!(counted(&hsma), before);
    for port in [0, 3, 255] {
        hsma.send(Time(0), lhca, PortNum::new(port), &mut packet(), &mut said);
        hsma.set_is_sm(Time(0), lhca, PortNum::new(port), true, &mut said);
    }
    assert!(said.cable().is_empty());
    assert_eq!(hsma.poll(Time(1), &mut said), None);
}
