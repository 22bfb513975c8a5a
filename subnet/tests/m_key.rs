//! The M_Key: who may manage a port, what a violation does, and how protection ends (14.2.4).

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::{Notes, adapter, bytes, directed, from_neighbour, lrh, routed, smp, switch};
use iba::attr::{NodeInfo, PortInfo, PortPhysicalState, PortState};
use iba::mad::{Attribute, AttributeId, Method, Status};
use iba::notice::{BadMKey, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::{Lid, MKey, PortNum};
use subnet::{Link, Node, Time};
use zerocopy::IntoBytes;

const KEY: MKey = MKey::new(0x1122_3344_5566_7788);
const WRONG: MKey = MKey::new(1);
const PORT: PortNum = PortNum::new(1);
const SECOND: u64 = 1_000_000_000;

/// Both kinds of node, with the number of the port that holds the key.
fn nodes() -> [(Node, PortNum); 2] {
    [(Node::Switch(switch(3)), PortNum::MANAGEMENT), (Node::ChannelAdapter(adapter(2)), PORT)]
}

/// Sends an SMP from the neighbour at port 1.
fn send(node: &mut Node, now: Time, packet: &SmpPacket) -> Notes {
    let mut notes = Notes::default();
    node.receive(now, PORT, &mut bytes(packet), &mut notes);
    notes
}

/// PortInfo of `port` that a manager sets, with the states as they are.
fn settable(node: &Node, port: PortNum) -> PortInfo {
    let mut info = *node.port_info(port).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(7), Lid::new(1));
    info.set_subnet_timeout(18);
    info
}

/// Protects a node with [`KEY`].
fn protect(node: &mut Node, port: PortNum, level: u8, lease: u16) {
    node.link_up(Time(0), PORT, Link::EDR_4X, &mut Notes::default());
    let mut info = settable(node, port);
    info.m_key = KEY;
    info.set_m_key_protect_bits(level);
    info.m_key_lease_period = lease.into();
    let mut set = from_neighbour(Method::SET, PortInfo::ID, port.get().into());
    set.smp.set_attribute(&info);
    let notes = send(node, Time(0), &set);
    assert_eq!(smp(notes.transmitted().unwrap().1).status(), Status::OK);
}

/// A request with a key.
fn keyed(method: Method, attribute: AttributeId, modifier: u32, key: MKey) -> SmpPacket {
    let mut packet = from_neighbour(method, attribute, modifier);
    packet.smp.m_key = key;
    packet
}

fn violations(node: &Node, port: PortNum) -> u16 {
    node.port_info(port).unwrap().m_key_violations.get()
}

#[test]
fn who_passes_depends_on_level_method_and_key() {
    for (original, port) in nodes() {
        for level in 0..=3 {
            for (key, method) in [KEY, WRONG, MKey::default()]
                .into_iter()
                .flat_map(|key| [Method::GET, Method::SET, Method::TRAP_REPRESS].map(|method| (key, method)))
            {
                let mut node = original.clone();
                protect(&mut node, port, level, 0);
                let attribute =
                    if method == Method::TRAP_REPRESS { AttributeId::NOTICE } else { AttributeId::GUID_INFO };
                let notes = send(&mut node, Time(1), &keyed(method, attribute, 0, key));
                // The table of 14.2.4.1: a Get needs the key from level 2 on, the others always.
                let passes = key == KEY || (method == Method::GET && level < 2);
                let case = format!("{:?}, level {level}, {method:?}, {key:?}", original.kind());
                let answered = method != Method::TRAP_REPRESS && passes;
                assert_eq!(notes.transmitted().is_some(), answered, "{case}");
                assert_eq!(violations(&node, port), u16::from(!passes), "{case}");
            }
        }
    }
}

#[test]
fn a_port_without_a_key_asks_for_none() {
    for (mut node, port) in nodes() {
        protect(&mut node, port, 3, 0);
        let mut info = settable(&node, port);
        info.m_key = MKey::default();
        let mut set = keyed(Method::SET, PortInfo::ID, port.get().into(), KEY);
        set.smp.set_attribute(&info);
        assert!(send(&mut node, Time(1), &set).transmitted().is_some());
        let notes = send(&mut node, Time(1), &keyed(Method::GET, NodeInfo::ID, 0, WRONG));
        assert!(notes.transmitted().is_some());
        assert_eq!(violations(&node, port), 0);
    }
}

#[test]
fn the_key_is_shown_as_the_level_says() {
    for (original, port) in nodes() {
        for (level, key, shown) in
            [(0, KEY, KEY), (0, WRONG, KEY), (1, KEY, KEY), (1, WRONG, MKey::default()), (2, KEY, KEY), (3, KEY, KEY)]
        {
            let mut node = original.clone();
            protect(&mut node, port, level, 0);
            let notes = send(&mut node, Time(1), &keyed(Method::GET, PortInfo::ID, port.get().into(), key));
            let info: PortInfo = *smp(notes.transmitted().unwrap().1).attribute();
            assert_eq!(info.m_key, shown, "{:?}, level {level}, {key:?}", node.kind());
        }
    }
}

#[test]
fn violations_stop_at_their_greatest_value_and_are_reset_by_zero() {
    let (mut node, port) = nodes()[1].clone();
    protect(&mut node, port, 1, 0);
    for _ in 0..0x1_0005 {
        send(&mut node, Time(1), &keyed(Method::SET, AttributeId::GUID_INFO, 0, WRONG));
    }
    assert_eq!(violations(&node, port), 0xffff);
    for (written, left) in [(5, 0xffff), (0, 0)] {
        let mut info = settable(&node, port);
        info.m_key_violations = written.into();
        let mut set = keyed(Method::SET, PortInfo::ID, port.get().into(), KEY);
        set.smp.set_attribute(&info);
        assert!(send(&mut node, Time(1), &set).transmitted().is_some());
        assert_eq!(violations(&node, port), left, "after writing {written}");
    }
}

#[test]
fn a_lease_that_runs_out_ends_protection() {
    for (mut node, port) in nodes() {
        protect(&mut node, port, 2, 3);
        let level = |node: &Node| node.port_info(port).unwrap().m_key_protect_bits();
        assert_eq!(node.poll(Time(SECOND), &mut Notes::default()), None, "no lease runs without a violation");
        send(&mut node, Time(SECOND), &keyed(Method::GET, NodeInfo::ID, 0, WRONG));
        let end = Time(4 * SECOND);
        // A switch has a trap to send again, too.
        let next = node.poll(Time(SECOND), &mut Notes::default()).unwrap();
        assert!(next == end || port == PortNum::MANAGEMENT && next < end, "{next:?}");
        // Another violation does not put it off.
        send(&mut node, Time(2 * SECOND), &keyed(Method::SET, AttributeId::GUID_INFO, 0, WRONG));
        assert_eq!(node.poll(Time(end.0 - 1), &mut Notes::default()), Some(end));
        assert_eq!(level(&node), 2);
        let next = node.poll(end, &mut Notes::default());
        assert!(next.is_none_or(|next| next > end), "it has run out: {next:?}");
        assert_eq!(level(&node), 0);
        // The key is set yet: a requester that reads it may set it.
        let notes = send(&mut node, end, &keyed(Method::GET, PortInfo::ID, port.get().into(), WRONG));
        assert_eq!(smp(notes.transmitted().unwrap().1).attribute::<PortInfo>().m_key, KEY);
        // A new protection is not ended by the old lease.
        let mut info = settable(&node, port);
        info.set_m_key_protect_bits(2);
        let mut set = keyed(Method::SET, PortInfo::ID, port.get().into(), KEY);
        set.smp.set_attribute(&info);
        assert!(send(&mut node, end, &set).transmitted().is_some());
        node.poll(Time(end.0 + 1), &mut Notes::default());
        assert_eq!(level(&node), 2);
    }
}

#[test]
fn a_lease_that_ran_out_unseen_ends_protection_all_the_same() {
    for (original, port) in nodes() {
        // It began at one second, and is of three.
        for (now, passes) in [(4 * SECOND - 1, false), (4 * SECOND, true), (5 * SECOND, true)] {
            let mut node = original.clone();
            protect(&mut node, port, 2, 3);
            send(&mut node, Time(SECOND), &keyed(Method::SET, AttributeId::GUID_INFO, 0, WRONG));
            let mut same = node.clone();
            let notes = send(&mut node, Time(now), &keyed(Method::GET, NodeInfo::ID, 0, WRONG));
            assert_eq!(notes.transmitted().is_some(), passes, "{:?}, after {now}, from a neighbour", node.kind());
            let mut own = directed(Method::GET, NodeInfo::ID, 0, &[]);
            own.smp.m_key = WRONG;
            let mut notes = Notes::default();
            same.send(Time(now), port, &mut bytes(&own), &mut notes);
            assert_eq!(notes.delivered().is_some(), passes, "{:?}, after {now}, from a consumer", node.kind());
        }
    }
}

#[test]
fn the_right_key_stops_the_lease() {
    for (original, port) in nodes() {
        for method in [Method::GET, Method::SET, Method::TRAP_REPRESS] {
            let mut node = original.clone();
            protect(&mut node, port, 2, 3);
            send(&mut node, Time(SECOND), &keyed(Method::GET, NodeInfo::ID, 0, WRONG));
            let attribute = if method == Method::TRAP_REPRESS { AttributeId::NOTICE } else { AttributeId::GUID_INFO };
            send(&mut node, Time(2 * SECOND), &keyed(method, attribute, 0, KEY));
            node.poll(Time(9 * SECOND), &mut Notes::default());
            assert_eq!(node.port_info(port).unwrap().m_key_protect_bits(), 2, "{:?}, {method:?}", node.kind());
        }
    }
}

#[test]
fn each_port_of_an_adapter_has_a_key_of_its_own() {
    let mut node = Node::ChannelAdapter(adapter(2));
    protect(&mut node, PORT, 2, 0);
    // Port 2 has none, and may be read through port 1 with port 1's key.
    assert!(send(&mut node, Time(1), &keyed(Method::GET, PortInfo::ID, 2, KEY)).transmitted().is_some());
    let other = PortNum::new(2);
    let through = |node: &mut Node, packet: &SmpPacket| {
        let mut notes = Notes::default();
        node.receive(Time(1), other, &mut bytes(packet), &mut notes);
        notes.transmitted().is_some()
    };
    node.link_up(Time(1), other, Link::EDR_4X, &mut Notes::default());
    assert!(through(&mut node, &keyed(Method::GET, NodeInfo::ID, 0, WRONG)), "port 2 asks for no key of its own");
    assert!(
        !through(&mut node, &keyed(Method::GET, PortInfo::ID, 1, WRONG)),
        "but port 1 does, through port 2 as well"
    );
    assert!(through(&mut node, &keyed(Method::GET, PortInfo::ID, 1, KEY)));
    assert_eq!(violations(&node, PORT), 1);
    assert_eq!(violations(&node, other), 0);
}

/// An adapter that is Active, so that it may send traps, and protected.
fn active() -> Node {
    let (mut node, port) = nodes()[1].clone();
    protect(&mut node, port, 1, 0);
    for state in [PortState::ARMED, PortState::ACTIVE] {
        let mut info = settable(&node, port);
        info.set_port_state(state);
        let mut set = keyed(Method::SET, PortInfo::ID, 0, KEY);
        set.smp.set_attribute(&info);
        assert!(send(&mut node, Time(1), &set).transmitted().is_some());
    }
    node
}

fn trap(notes: &Notes) -> (Notice, SmpPacket) {
    let (port, packet) = notes.transmitted().expect("a trap, and no answer");
    assert_eq!(port, 1);
    let trap = smp(packet);
    assert_eq!((trap.header.method, trap.header.attribute_id), (Method::TRAP, AttributeId::NOTICE));
    assert_eq!(trap.m_key, MKey::default(), "o14-1");
    assert_eq!((lrh(packet).slid, lrh(packet).dlid), (Lid::new(7), Lid::new(1)));
    (
        *trap.attribute(),
        SmpPacket { header: SmpPacket::new(Lid::new(7), Lid::new(1), lrh(packet).sl(), trap).header, smp: trap },
    )
}

#[test]
fn trap_256_tells_of_a_violation_by_lid() {
    let mut node = active();
    let mut packet = routed(Method::SET, AttributeId::P_KEY_TABLE, 0x0102_0304, 0x1234, 7);
    packet.smp.m_key = WRONG;
    let notes = send(&mut node, Time(SECOND), &packet);
    let (notice, _) = trap(&notes);
    assert!(notice.is_generic());
    assert_eq!(notice.trap_number, TrapNumber::BAD_M_KEY);
    assert_eq!(notice.issuer_lid, Lid::new(7));
    let details: &BadMKey = notice.details();
    assert_eq!(details.lid, Lid::new(0x1234));
    assert_eq!(details.method, Method::SET);
    assert_eq!(details.attribute_id, AttributeId::P_KEY_TABLE);
    assert_eq!(details.attribute_modifier.get(), 0x0102_0304);
    assert_eq!(details.m_key, WRONG);
    assert!(!details.is_directed_route());
    assert_eq!(details.hop_count(), 0);
    assert!(details.return_path.iter().all(|&port| port == PortNum::default()));
}

#[test]
fn trap_256_tells_of_a_violation_by_directed_route() {
    for (hops, truncated) in [(1, false), (30, false), (31, true), (63, true)] {
        let mut node = active();
        let mut packet = keyed(Method::SET, AttributeId::GUID_INFO, 0, WRONG);
        packet.smp.set_hop_count(hops);
        packet.smp.set_hop_pointer(hops);
        for (entry, port) in packet.smp.return_path.iter_mut().zip(100..) {
            *entry = PortNum::new(port);
        }
        let notes = send(&mut node, Time(SECOND), &packet);
        let (notice, _) = trap(&notes);
        let details: &BadMKey = notice.details();
        assert_eq!(details.lid, Lid::PERMISSIVE);
        assert_eq!(details.dr_slid, Lid::PERMISSIVE);
        assert!(details.is_directed_route());
        assert_eq!(details.hop_count(), hops);
        assert_eq!(details.is_path_truncated(), truncated, "{hops} hops");
        // The path from its first entry on: where it came through, and last the port here.
        let last = usize::from(hops.min(30));
        let mut expected: Vec<u8> = (101..101 + u8::try_from(last).unwrap()).collect();
        if hops <= 30 {
            expected[last - 1] = 1;
        }
        expected.resize(30, 0);
        assert_eq!(details.return_path.as_bytes(), expected, "{hops} hops");
    }
}
