//! Ways of data that are worked out once: they lead where packets walk, end when the subnet changes, and are counted at
//! each port that they pass.

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::sm::Sm;
use common::{Fabric, HOST_PORT, Said, UPLINK, bytes, directed, lhca_config, lrh, routed};
use iba::attr::{LinearForwardingBlock, Mtu, NodeInfo, PKeyTable, PortState, SlToVlMapping, VlCap};
use iba::mad::{Attribute, Method};
use iba::packet::UdHeader;
use iba::{Lid, PKey, PortNum, Qpn, Sl, Vl};
use subnet::{Hsma, LhcaId, Link, Path, PortError, Time, Traffic};
use zerocopy::IntoBytes;

/// Three LHCAs that a manager at the host has brought up, at ports 2, 3 and 4 of the logical switch.
fn managed() -> (Fabric, Sm) {
    let mut fabric = Fabric::new(3);
    let mut sm = Sm::default();
    sm.sweep(&mut fabric);
    fabric.wait(10_000);
    (fabric, sm)
}

fn lid(fabric: &Fabric, lhca: usize) -> Lid {
    fabric.hsma.lhca(fabric.lhcas[lhca]).unwrap().port_info(HOST_PORT).unwrap().lid
}

/// The path from the first LHCA to `dlid`.
fn path(fabric: &mut Fabric, dlid: Lid, sl: u8, p_key: u16) -> Option<Path> {
    let first = fabric.lhcas[0];
    fabric.hsma.path(first, HOST_PORT, dlid, Sl::new(sl), PKey::new(p_key))
}

fn datagram(slid: Lid, dlid: Lid, sl: u8, p_key: u16, payload: usize) -> Vec<u8> {
    let mut header = UdHeader::new(slid, dlid, Sl::new(sl), payload);
    header.bth.dest_qp = Qpn::new(77);
    header.bth.p_key = PKey::new(p_key);
    let mut packet = header.as_bytes().to_vec();
    packet.resize(packet.len() + payload, 0xcd);
    packet
}

/// The LHCA that a datagram from the first one walks to, if it is another.
fn walked(fabric: &mut Fabric, dlid: Lid, sl: u8, p_key: u16, payload: usize) -> Option<LhcaId> {
    fabric.at_lhcas.clear();
    let (first, slid) = (fabric.lhcas[0], lid(fabric, 0));
    fabric.send_from(first, &datagram(slid, dlid, sl, p_key, payload));
    fabric.at_lhcas.iter().map(|(lhca, ..)| *lhca).find(|&lhca| lhca != first)
}

/// Change of the subnet before a path is resolved.
type Change = fn(&mut Fabric, &mut Sm);

fn enforce(fabric: &mut Fabric, sm: &mut Sm, port: u8, inbound: bool) {
    let mut keys = PKeyTable::default();
    keys.p_keys[1] = PKey::new(0x8001);
    sm.set(fabric, &[1], u32::from(port) << 16, &keys);
    sm.set_port(fabric, &[1], port, |info| {
        info.set_partition_enforcement_inbound(inbound);
        info.set_partition_enforcement_outbound(!inbound);
    });
}

/// Has the logical switch send the second LHCA's LID to `port`.
fn send_second_to(fabric: &mut Fabric, sm: &mut Sm, port: u8) {
    let lid = usize::from(lid(fabric, 1).get());
    let block = u32::try_from(lid / LinearForwardingBlock::LIDS).unwrap();
    let mut table: LinearForwardingBlock = sm.get(fabric, &[1], block);
    table.ports[lid % LinearForwardingBlock::LIDS] = PortNum::new(port);
    sm.set(fabric, &[1], block, &table);
}

/// Puts service level 3 on lane 5.
fn map(fabric: &mut Fabric, sm: &mut Sm, path: &[u8], modifier: u32) {
    let mut map = SlToVlMapping::default();
    map.set_vl(Sl::new(3), Vl::new(5));
    sm.set(fabric, path, modifier, &map);
}

#[test]
fn a_path_leads_where_a_packet_walks() {
    // Whether there is a path from the first LHCA to the second on service level 0, on 3, and with another P_Key.
    let cases: [(&str, Change, [bool; 3]); 12] = [
        ("all is well", |_, _| {}, [true, true, true]),
        ("the way in enforces", |fabric, sm| enforce(fabric, sm, 2, true), [false, false, true]),
        ("the way out enforces", |fabric, sm| enforce(fabric, sm, 3, false), [false, false, true]),
        ("the way in enforces what leaves", |fabric, sm| enforce(fabric, sm, 2, false), [true, true, true]),
        ("the way out enforces what enters", |fabric, sm| enforce(fabric, sm, 3, true), [true, true, true]),
        (
            "the other is unplugged",
            |fabric, _| {
                let second = fabric.lhcas[1];
                fabric.with_hsma(|hsma, now, out| hsma.unplug(now, second, out));
            },
            [false; 3],
        ),
        ("the table has nothing", |fabric, sm| send_second_to(fabric, sm, 0xff), [false; 3]),
        ("the table leads to a third", |fabric, sm| send_second_to(fabric, sm, 4), [false; 3]),
        ("the table leads to the cable", |fabric, sm| send_second_to(fabric, sm, 1), [false; 3]),
        ("the table leads back", |fabric, sm| send_second_to(fabric, sm, 2), [false; 3]),
        (
            "the sender's lane is not in use",
            |fabric, sm| {
                map(fabric, sm, &[1, 2], 0);
                sm.set_port(fabric, &[1, 2], 1, |info| info.set_operational_vls(VlCap::VL0_3));
            },
            [true, false, true],
        ),
        (
            "the lane of the way out is not in use",
            |fabric, sm| {
                map(fabric, sm, &[1], 2 << 8 | 3);
                sm.set_port(fabric, &[1], 3, |info| info.set_operational_vls(VlCap::VL0_3));
            },
            [true, false, true],
        ),
    ];
    for (case, change, expected) in cases {
        let (mut fabric, mut sm) = managed();
        let (second, dlid) = (fabric.lhcas[1], lid(&fabric, 1));
        change(&mut fabric, &mut sm);
        for ((sl, p_key), expected) in [(0, 0xffff), (3, 0xffff), (0, 0x8001)].into_iter().zip(expected) {
            let found = path(&mut fabric, dlid, sl, p_key);
            let case = format!("{case}, service level {sl}, P_Key {p_key:#06x}");
            assert_eq!(found.map(|path| (path.lhca, path.port)), expected.then_some((second, HOST_PORT)), "{case}");
            assert_eq!(walked(&mut fabric, dlid, sl, p_key, 64), expected.then_some(second), "{case}");
        }
    }
}

#[test]
fn only_another_lhca_is_at_the_end_of_a_path() {
    let (mut fabric, _) = managed();
    let switch = fabric.hsma.switch(UPLINK).unwrap().port_info(PortNum::MANAGEMENT).unwrap().lid;
    let host = fabric.host.port_info(HOST_PORT).unwrap().lid;
    for dlid in [lid(&fabric, 0), switch, host, Lid::new(0xbff), Lid::UNASSIGNED, Lid::new(0xc000), Lid::PERMISSIVE] {
        assert_eq!(path(&mut fabric, dlid, 0, 0xffff), None, "{dlid:?}");
    }
    // Nor where another one has that LID, too, and the table leads there.
    for twice in [lid(&fabric, 0), switch] {
        let (mut fabric, mut sm) = managed();
        let table = usize::from(twice.get());
        let block = u32::try_from(table / LinearForwardingBlock::LIDS).unwrap();
        let mut linear: LinearForwardingBlock = sm.get(&mut fabric, &[1], block);
        linear.ports[table % LinearForwardingBlock::LIDS] = PortNum::new(3);
        sm.set(&mut fabric, &[1], block, &linear);
        sm.set_port(&mut fabric, &[1, 3], 1, |info| info.lid = twice);
        assert_eq!(path(&mut fabric, twice, 0, 0xffff), None);
        assert_eq!(walked(&mut fabric, twice, 0, 0xffff, 64), None);
    }
    let (second, dlid) = (fabric.lhcas[1], lid(&fabric, 1));
    for (lhca, port) in [(second, 0), (second, 2), (LhcaId(9), 1)] {
        assert_eq!(fabric.hsma.path(lhca, PortNum::new(port), dlid, Sl::default(), PKey::DEFAULT), None);
    }
}

#[test]
fn the_mtu_of_a_path_is_what_all_its_ports_take() {
    for (change, mtu) in [
        ((|_, _| {}) as Change, 4096),
        (|fabric, sm| _ = sm.set_port(fabric, &[1, 2], 1, |info| info.set_neighbor_mtu(Mtu::B1024)), 1024),
        (|fabric, sm| _ = sm.set_port(fabric, &[1], 3, |info| info.set_neighbor_mtu(Mtu::B256)), 256),
        (|fabric, sm| _ = sm.set_port(fabric, &[1], 2, |info| info.set_neighbor_mtu(Mtu::B256)), 4096),
    ] {
        let (mut fabric, mut sm) = managed();
        let (second, dlid) = (fabric.lhcas[1], lid(&fabric, 1));
        change(&mut fabric, &mut sm);
        assert_eq!(path(&mut fabric, dlid, 0, 0xffff).unwrap().mtu, mtu);
        assert_eq!(walked(&mut fabric, dlid, 0, 0xffff, mtu.into()), Some(second));
    }
}

/// A port that is Armed becomes Active by the first packet that it gets (7.2.7), which therefore has to walk.
#[test]
fn no_path_leads_through_a_port_that_a_packet_is_yet_to_wake() {
    for (path_to_end, port) in [(&[1][..], 2), (&[1, 3][..], 1)] {
        let (mut fabric, mut sm) = managed();
        let (second, dlid) = (fabric.lhcas[1], lid(&fabric, 1));
        sm.set_port(&mut fabric, path_to_end, port, |info| info.set_port_state(PortState::DOWN));
        // Both ends of the link are Init now; one comes to Armed, the other to Active.
        let (near, far) = if port == 2 { ((&[1, 2][..], 1), (&[1][..], 2)) } else { ((&[1][..], 3), (&[1, 3][..], 1)) };
        for (end, state) in [(near, PortState::ARMED), (far, PortState::ARMED), (near, PortState::ACTIVE)] {
            sm.set_port(&mut fabric, end.0, end.1, |info| info.set_port_state(state));
        }
        assert_eq!(path(&mut fabric, dlid, 0, 0xffff), None);
        assert_eq!(walked(&mut fabric, dlid, 0, 0xffff, 64), Some(second));
        assert!(path(&mut fabric, dlid, 0, 0xffff).is_some());
    }
}

#[test]
fn a_layout_ends_with_whatever_may_change_paths() {
    let (mut fabric, _) = managed();
    let (first, second) = (fabric.lhcas[0], fabric.lhcas[1]);
    let (from, to) = (lid(&fabric, 0), lid(&fabric, 1));
    let data = datagram(from, to, 0, 0xffff, 64);
    let smp = bytes(&routed(Method::GET, NodeInfo::ID, 0, from.get(), to.get()));
    let by_cable = bytes(&directed(Method::GET, NodeInfo::ID, 0, &[1]));
    type Act<'a> = Box<dyn Fn(&mut Hsma, Time, &mut Said) + 'a>;
    let cases: [(&str, bool, Act<'_>); 10] = [
        (
            "data from a consumer",
            false,
            Box::new(|hsma, now, out| hsma.send(now, first, HOST_PORT, &mut data.clone(), out)),
        ),
        ("data from the cable", false, Box::new(|hsma, now, out| hsma.receive(now, UPLINK, &mut data.clone(), out))),
        ("nothing that is due", false, Box::new(|hsma, now, out| _ = hsma.poll(now, out))),
        (
            "an SMP from a consumer",
            true,
            Box::new(|hsma, now, out| hsma.send(now, first, HOST_PORT, &mut smp.clone(), out)),
        ),
        (
            "an SMP from the cable",
            true,
            Box::new(|hsma, now, out| hsma.receive(now, UPLINK, &mut by_cable.clone(), out)),
        ),
        ("a cable that is pulled", true, Box::new(|hsma, now, out| hsma.link_down(now, UPLINK, out))),
        ("a cable that is plugged in", true, Box::new(|hsma, now, out| hsma.link_up(now, UPLINK, Link::EDR_4X, out))),
        ("an LHCA that is unplugged", true, Box::new(|hsma, now, out| hsma.unplug(now, second, out))),
        ("an LHCA that is gone", true, Box::new(|hsma, now, out| hsma.remove(now, second, out))),
        ("an LHCA that is new", true, Box::new(|hsma, _, _| _ = hsma.add(&lhca_config(7), &[]))),
    ];
    for (case, ends, act) in cases {
        fabric.wait(60_000); // traps and all
        let now = fabric.now;
        let before = fabric.hsma.routing_epoch(now);
        assert!(before.is_some(), "nothing is due before {case}");
        fabric.with_hsma(|hsma, now, out| act(hsma, now, out));
        fabric.wait(60_000);
        assert_eq!(fabric.hsma.routing_epoch(fabric.now) != before, ends, "{case}");
    }
}

#[test]
fn what_is_due_ends_a_layout_and_is_counted_for() {
    let (mut fabric, _) = managed();
    let (first, dlid) = (fabric.lhcas[0], lid(&fabric, 1));
    fabric.with_hsma(|hsma, now, out| hsma.set_is_sm(now, first, HOST_PORT, true, out));
    // The trap is sent again, since the SM does not repress it.
    let at = |fabric: &Fabric| fabric.hsma.lhca(fabric.lhcas[1]).unwrap().counters(HOST_PORT).unwrap().total();
    for _ in 0..3 {
        let found = path(&mut fabric, dlid, 0, 0xffff).unwrap();
        let (before, counted) = (fabric.hsma.routing_epoch(fabric.now), at(&fabric));
        for _ in 0..5 {
            fabric.hsma.pass(found.deferred, 100);
        }
        let due = fabric.hsma.poll(fabric.now, &mut Said::default()).unwrap();
        assert_eq!(fabric.hsma.routing_epoch(Time(due.0 - 1)), before);
        assert_eq!(fabric.hsma.routing_epoch(due), None, "at that very moment no path is valid");
        assert_eq!(at(&fabric), counted);
        fabric.now = due;
        let crossed = fabric.on_cable;
        fabric.wait(0);
        assert_eq!(fabric.on_cable, crossed + 1);
        assert_ne!(fabric.hsma.routing_epoch(due), before);
        assert_eq!(at(&fabric).rcv_packets, counted.rcv_packets + 5);
    }
}

/// Counters of every port of the logical switch and of the LHCAs.
fn totals(fabric: &Fabric) -> Vec<Traffic> {
    let switch = fabric.hsma.switch(UPLINK).unwrap();
    let ports = (0..=4).map(|port| switch.counters(PortNum::new(port)).unwrap().total());
    let lhcas = fabric.lhcas.iter().map(|&lhca| fabric.hsma.lhca(lhca).unwrap().counters(HOST_PORT).unwrap().total());
    ports.chain(lhcas).collect()
}

#[test]
fn what_went_by_a_path_is_counted_as_what_walked() {
    let (mut walking, _) = managed();
    let (mut passing, _) = managed();
    let dlid = lid(&walking, 1);
    let words = u64::from(lrh(&datagram(dlid, dlid, 0, 0xffff, 64)).packet_length());
    for _ in 0..5 {
        walked(&mut walking, dlid, 0, 0xffff, 64);
    }
    let path = path(&mut passing, dlid, 0, 0xffff).unwrap();
    for _ in 0..2 {
        passing.hsma.pass(path.deferred, words);
    }
    for _ in 0..3 {
        passing.hsma.pass(path.deferred, words);
    }
    passing.hsma.apply_deferred();
    assert_eq!(totals(&passing), totals(&walking));
    passing.hsma.apply_deferred();
    assert_eq!(totals(&passing), totals(&walking), "once");
    passing.hsma.pass(path.deferred, words);
    passing.hsma.apply_deferred();
    walked(&mut walking, dlid, 0, 0xffff, 64);
    assert_eq!(totals(&passing), totals(&walking), "and again");
}

#[test]
fn what_went_by_paths_is_counted_before_anything_else_is_done() {
    let acts: [fn(&mut Fabric); 6] = [
        |fabric| fabric.send(&bytes(&directed(Method::GET, NodeInfo::ID, 0, &[1]))),
        |fabric| {
            let third = fabric.lhcas[2];
            fabric.send_from(third, &bytes(&directed(Method::GET, NodeInfo::ID, 0, &[])));
        },
        |fabric| {
            let third = fabric.lhcas[2];
            fabric.with_hsma(|hsma, now, out| hsma.plug(now, third, out));
        },
        |fabric| fabric.with_hsma(|hsma, now, out| hsma.link_up(now, UPLINK, Link::EDR_4X, out)),
        |fabric| {
            let third = fabric.lhcas[2];
            fabric.with_hsma(|hsma, now, out| hsma.set_is_sm(now, third, HOST_PORT, true, out));
        },
        // More paths than are counted apart: all begin anew, and nothing is lost.
        |fabric| {
            let dlid = lid(fabric, 1);
            let before = fabric.hsma.routing_epoch(fabric.now);
            for _ in 0..1023 {
                assert!(path(fabric, dlid, 0, 0xffff).is_some());
                assert_eq!(fabric.hsma.routing_epoch(fabric.now), before);
            }
            let dlid = lid(fabric, 2);
            let third = path(fabric, dlid, 0, 0xffff).unwrap();
            assert_ne!(fabric.hsma.routing_epoch(fabric.now), before);
            for _ in 0..7 {
                fabric.hsma.pass(third.deferred, 100);
            }
            let at = |fabric: &Fabric| fabric.hsma.lhca(fabric.lhcas[2]).unwrap().counters(HOST_PORT).unwrap().total();
            let before = at(fabric).rcv_packets;
            fabric.hsma.apply_deferred();
            assert_eq!(at(fabric).rcv_packets, before + 7, "each is its own again");
        },
    ];
    for (index, act) in acts.into_iter().enumerate() {
        let (mut fabric, _) = managed();
        let dlid = lid(&fabric, 1);
        let at = |fabric: &Fabric| fabric.hsma.lhca(fabric.lhcas[1]).unwrap().counters(HOST_PORT).unwrap().total();
        let before = at(&fabric).rcv_packets;
        let path = path(&mut fabric, dlid, 0, 0xffff).unwrap();
        for _ in 0..5 {
            fabric.hsma.pass(path.deferred, 100);
        }
        act(&mut fabric);
        assert_eq!(at(&fabric).rcv_packets, before + 5, "act {index}");
        assert_eq!(fabric.hsma.switch(UPLINK).unwrap().counters(PortNum::new(2)).unwrap().error(PortError::Rcv), 0);
    }
}
