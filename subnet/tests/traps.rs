//! Traps: when they are sent, how often, and what ends them (13.4.9, 14.3).

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::{Notes, Told, adapter, between, bytes, from_neighbour, lrh, over_global_route, routed, smp, switch};
use iba::attr::{CapabilityMask, NodeDescription, PortInfo, PortPhysicalState, PortState};
use iba::mad::{Attribute, AttributeId, Method};
use iba::notice::{BadKey, Changes, LinkStateChange, LocalChange, Notice, NoticeType, TrapNumber};
use iba::packet::MadPacket;
use iba::{Gid, Lid, PKey, PortNum, ProducerType, QKey, Sl, TransactionId};
use subnet::{Event, Key, Link, Node, Time};
use zerocopy::{FromZeros, IntoBytes};

const PORT: PortNum = PortNum::new(1);
const MILLI: u64 = 1_000_000;
/// SubnetTimeOut 18: 4.096 us x 2^18.
const PAUSE: u64 = 1_073_741_824;
const OWN: u16 = 7;
const MANAGER: u16 = 1;

/// Sets PortInfo of `port` through port 1: set up for a manager, and whatever else `change` does.
fn set(node: &mut Node, now: Time, port: u8, change: impl FnOnce(&mut PortInfo)) -> Notes {
    let mut info = *node.port_info(PortNum::new(port)).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(OWN), Lid::new(MANAGER));
    info.set_subnet_timeout(18);
    info.set_master_sm_sl(Sl::new(3));
    change(&mut info);
    let mut packet = from_neighbour(Method::SET, PortInfo::ID, port.into());
    packet.smp.set_attribute(&info);
    let mut notes = Notes::default();
    node.receive(now, PORT, &mut bytes(&packet), &mut notes);
    notes
}

/// An adapter whose port 1 is Active.
fn active_adapter() -> Node {
    let mut node = Node::ChannelAdapter(adapter(1));
    node.link_up(Time(0), PORT, Link::EDR_4X, &mut Notes::default());
    set(&mut node, Time(0), 1, |_| {});
    activate(&mut node, Time(0));
    node
}

fn activate(node: &mut Node, now: Time) {
    for state in [PortState::ARMED, PortState::ACTIVE] {
        set(node, now, 1, |info| info.set_port_state(state));
    }
    assert_eq!(node.port_info(PORT).unwrap().port_state(), PortState::ACTIVE);
}

/// A switch that a manager at port 1 has set up.
fn managed_switch() -> Node {
    let mut node = Node::Switch(switch(4));
    node.link_up(Time(0), PORT, Link::EDR_4X, &mut Notes::default());
    set(&mut node, Time(0), 0, |_| {});
    let mut table = from_neighbour(Method::SET, AttributeId::LINEAR_FORWARDING_TABLE, 0);
    table.smp.data.fill(0xff);
    table.smp.data[usize::from(MANAGER)] = 1;
    node.receive(Time(0), PORT, &mut bytes(&table), &mut Notes::default());
    let mut info = from_neighbour(Method::SET, AttributeId::SWITCH_INFO, 0);
    info.smp.set_attribute(node.switch_info().unwrap());
    info.smp.data[7] = 63; // LinearFDBTop
    node.receive(Time(0), PORT, &mut bytes(&info), &mut Notes::default());
    node
}

/// The trap that was sent by port 1, and its transaction, after all that is not one.
fn trap(notes: &Notes) -> Option<(Notice, TransactionId)> {
    let traps: Vec<_> = notes
        .0
        .iter()
        .filter_map(|told| match told {
            Told::Transmit(1, packet) if smp(packet).header.method == Method::TRAP => Some(packet),
            _ => None,
        })
        .collect();
    assert!(traps.len() <= 1, "traps without a pause between them");
    traps.first().map(|packet| {
        assert_eq!((lrh(packet).slid, lrh(packet).dlid), (Lid::new(OWN), Lid::new(MANAGER)));
        assert_eq!(lrh(packet).sl(), Sl::new(3), "the service level of the path to the SM");
        let smp = smp(packet);
        (*smp.attribute(), smp.header.transaction_id)
    })
}

fn poll(node: &mut Node, now: u64) -> Option<(Notice, TransactionId)> {
    let mut notes = Notes::default();
    node.poll(Time(now), &mut notes);
    trap(&notes)
}

fn repress(node: &mut Node, now: u64, transaction: TransactionId) {
    let mut packet = routed(Method::TRAP_REPRESS, AttributeId::NOTICE, 0, MANAGER, OWN);
    packet.smp.header.transaction_id = transaction;
    let mut notes = Notes::default();
    node.receive(Time(now), PORT, &mut bytes(&packet), &mut notes);
    assert!(notes.0.is_empty(), "o13-7: a repress is not answered");
}

#[test]
fn a_new_name_is_told_with_trap_144() {
    let mut node = active_adapter();
    let mut notes = Notes::default();
    node.set_description(Time(MILLI), NodeDescription::new("renamed"), &mut notes);
    let (notice, _) = trap(&notes).unwrap();
    assert_eq!(notice.trap_number, TrapNumber::LOCAL_CHANGE);
    assert_eq!(notice.notice_type(), NoticeType::INFORMATIONAL);
    assert_eq!(notice.producer, ProducerType::CHANNEL_ADAPTER);
    let details: &LocalChange = notice.details();
    assert_eq!(details.lid, Lid::new(OWN));
    assert!(details.other_local_changes());
    assert_eq!(details.changes(), Changes::NODE_DESCRIPTION);
    assert_eq!(details.capability_mask(), node.port_info(PORT).unwrap().capability_mask());
    // The same name again is no change.
    let mut notes = Notes::default();
    node.set_description(Time(9 * PAUSE), NodeDescription::new("renamed"), &mut notes);
    assert_eq!(trap(&notes).map(|(_, transaction)| transaction.get()), Some(1), "only the first one, again");
}

#[test]
fn a_subnet_manager_that_comes_and_goes_is_told_with_trap_144() {
    let mut node = active_adapter();
    for (now, is_sm) in [(MILLI, true), (2 * PAUSE, false)] {
        let mut notes = Notes::default();
        node.set_is_sm(Time(now), PORT, is_sm, &mut notes);
        let (notice, transaction) = trap(&notes).unwrap();
        let details: &LocalChange = notice.details();
        assert_eq!(details.capability_mask().contains(CapabilityMask::SM), is_sm);
        assert!(!details.other_local_changes());
        repress(&mut node, now + MILLI, transaction);
    }
    let mut notes = Notes::default();
    node.set_is_sm(Time(9 * PAUSE), PORT, false, &mut notes);
    assert!(notes.0.is_empty(), "no change is reported as one");
}

#[test]
fn other_widths_and_speeds_are_told_with_trap_144() {
    let mut node = active_adapter();
    for (number, expected) in [(0, Changes::LINK_WIDTH_ENABLED), (1, Changes::LINK_SPEED_ENABLED)] {
        let now = Time((number + 1) * 2 * PAUSE);
        let notes = set(&mut node, now, 1, |info| match number {
            0 => info.link_width_enabled = iba::attr::LinkWidth::X1,
            _ => info.set_link_speed_enabled(iba::attr::LinkSpeed::SDR),
        });
        let (notice, transaction) = trap(&notes).unwrap();
        assert_eq!(notice.details::<LocalChange>().changes(), expected);
        repress(&mut node, now.0 + MILLI, transaction);
    }
}

#[test]
fn changes_that_wait_are_told_together() {
    let mut node = active_adapter();
    let mut notes = Notes::default();
    node.set_is_sm(Time(MILLI), PORT, true, &mut notes);
    let (_, first) = trap(&notes).unwrap();
    let mut notes = Notes::default();
    node.set_description(Time(2 * MILLI), NodeDescription::new("one"), &mut notes);
    assert_eq!(trap(&notes), None, "there is a pause between traps (o14-2)");
    set(&mut node, Time(3 * MILLI), 1, |info| info.link_width_enabled = iba::attr::LinkWidth::X4);
    let (notice, second) = poll(&mut node, MILLI + PAUSE).unwrap();
    assert_ne!(second, first, "o13-5: a new trap has a new transaction");
    let details: &LocalChange = notice.details();
    assert_eq!(details.changes(), Changes::NODE_DESCRIPTION | Changes::LINK_WIDTH_ENABLED);
    assert!(details.capability_mask().contains(CapabilityMask::SM));
}

#[test]
fn a_trap_is_sent_again_until_it_is_repressed() {
    let mut node = active_adapter();
    let mut notes = Notes::default();
    node.set_is_sm(Time(MILLI), PORT, true, &mut notes);
    let (_, transaction) = trap(&notes).unwrap();
    assert_eq!(node.poll(Time(MILLI), &mut Notes::default()), Some(Time(MILLI + PAUSE)));
    assert_eq!(poll(&mut node, MILLI + PAUSE - 1), None);
    assert_eq!(poll(&mut node, MILLI + PAUSE).unwrap().1, transaction, "it is the same trap");
    repress(&mut node, 2 * PAUSE, TransactionId::new(transaction.get() + 1));
    assert_eq!(poll(&mut node, MILLI + 2 * PAUSE).unwrap().1, transaction, "another's repress is not this one's");
    repress(&mut node, 3 * PAUSE, transaction);
    assert_eq!(poll(&mut node, 9 * PAUSE), None);
    assert_eq!(node.poll(Time(9 * PAUSE), &mut Notes::default()), None);
}

#[test]
fn what_is_due_is_done_with_whatever_comes() {
    let mut node = active_adapter();
    node.set_is_sm(Time(MILLI), PORT, true, &mut Notes::default());
    for (now, expected) in [(MILLI + PAUSE - 1, 0), (MILLI + PAUSE, 1), (MILLI + PAUSE + 1, 0)] {
        let mut notes = Notes::default();
        let packet = from_neighbour(Method::GET, AttributeId::NODE_INFO, 0);
        node.receive(Time(now), PORT, &mut bytes(&packet), &mut notes);
        let methods: Vec<_> = notes
            .0
            .iter()
            .map(|told| match told {
                Told::Transmit(1, packet) => smp(packet).header.method,
                _ => panic!("{told:?}"),
            })
            .collect();
        assert_eq!(methods, [&[Method::GET_RESP][..], &[Method::TRAP; 1][..expected]].concat(), "at {now}");
    }
}

#[test]
fn trap_without_repress_ends_after_its_repeats() {
    let mut node = active_adapter();
    node.set_is_sm(Time(0), PORT, true, &mut Notes::default());
    let sent = (1..100).filter(|&round| poll(&mut node, round * PAUSE).is_some()).count();
    assert_eq!(sent, 7, "eight times in all");
    assert_eq!(node.poll(Time(200 * PAUSE), &mut Notes::default()), None);
}

#[test]
fn traps_wait_until_the_port_is_active() {
    let mut node = Node::ChannelAdapter(adapter(1));
    node.link_up(Time(0), PORT, Link::EDR_4X, &mut Notes::default());
    let mut notes = Notes::default();
    node.set_is_sm(Time(0), PORT, true, &mut notes);
    assert!(notes.0.is_empty(), "no SM has configured the port: traps have no destination");
    set(&mut node, Time(0), 1, |_| {});
    node.set_description(Time(0), NodeDescription::new("early"), &mut notes);
    set(&mut node, Time(0), 1, |info| info.set_port_state(PortState::ARMED));
    assert_eq!(poll(&mut node, PAUSE), None, "o14-3.2.1");
    let notes = set(&mut node, Time(PAUSE), 1, |info| info.set_port_state(PortState::ACTIVE));
    let (notice, _) = trap(&notes).unwrap();
    assert_eq!(notice.details::<LocalChange>().changes(), Changes::NODE_DESCRIPTION);
    // And what the next manager reads anyway is forgotten with the link.
    node.link_down(Time(PAUSE), PORT, &mut Notes::default());
    assert_eq!(node.poll(Time(9 * PAUSE), &mut Notes::default()), None);
}

#[test]
fn a_switch_tells_of_links_with_trap_128() {
    let mut node = managed_switch();
    let mut notes = Notes::default();
    node.link_up(Time(PAUSE), PortNum::new(2), Link::EDR_4X, &mut notes);
    let (notice, transaction) = trap(&notes).unwrap();
    assert_eq!(notice.trap_number, TrapNumber::LINK_STATE_CHANGE);
    assert_eq!(notice.notice_type(), NoticeType::URGENT);
    assert_eq!(notice.producer, ProducerType::SWITCH);
    assert_eq!(notice.details::<LinkStateChange>().lid, Lid::new(OWN));
    assert!(node.switch_info().unwrap().port_state_change());
    repress(&mut node, PAUSE + MILLI, transaction);
    let mut notes = Notes::default();
    node.link_down(Time(3 * PAUSE), PortNum::new(2), &mut notes);
    assert_ne!(trap(&notes).unwrap().1, transaction);
    let mut notes = Notes::default();
    node.link_down(Time(9 * PAUSE), PortNum::new(2), &mut notes);
    node.link_down(Time(9 * PAUSE), PortNum::new(3), &mut notes);
    assert_eq!(node.counters(PortNum::new(2)).unwrap().total(), subnet::Traffic::default());
}

#[test]
fn a_storm_is_one_trap_for_each_pause() {
    let mut node = managed_switch();
    let mut sent = 0;
    for step in 0..10_000 {
        let now = Time(PAUSE + step * MILLI);
        let mut notes = Notes::default();
        if step % 2 == 0 {
            node.link_up(now, PortNum::new(2), Link::EDR_4X, &mut notes);
        } else {
            node.link_down(now, PortNum::new(2), &mut notes);
        }
        sent += usize::from(trap(&notes).is_some());
    }
    assert_eq!(sent, 10, "ten seconds of changing links");
}

#[test]
fn no_subnet_timeout_lets_a_port_babble() {
    let mut node = active_adapter();
    set(&mut node, Time(0), 1, |info| info.set_subnet_timeout(0));
    let mut sent = 0;
    for step in 0..10_000 {
        let mut notes = Notes::default();
        node.set_description(Time(step * 100_000), NodeDescription::new(&step.to_string()), &mut notes);
        sent += usize::from(trap(&notes).is_some());
    }
    assert_eq!(sent, 10, "a second of changing names, with 100 ms between traps at the least");
}

/// A packet of a general service with these keys.
fn gmp(p_key: PKey, q_key: QKey) -> MadPacket {
    let mad = iba::mad::Mad::new_zeroed();
    let mut packet = MadPacket::new(Lid::new(MANAGER), Lid::new(OWN), Sl::new(5), mad);
    (packet.header.bth.p_key, packet.header.deth.q_key) = (p_key, q_key);
    packet
}

#[test]
fn wrong_keys_are_told_with_traps_257_and_258() {
    let cases = [
        (PKey::new(0x8001), QKey::GSI, TrapNumber::BAD_P_KEY, 0x8001, (1, 0)),
        (PKey::DEFAULT, QKey::new(5), TrapNumber::BAD_Q_KEY, 5, (0, 1)),
    ];
    for (p_key, q_key, number, key, violations) in cases {
        for from_outside in [false, true] {
            let mut node = active_adapter();
            let mut packet = gmp(p_key, q_key);
            let mut notes = Notes::default();
            if from_outside {
                packet.header.bth.dest_qp = iba::Qpn::new(99);
                let key = if violations.0 == 1 { Key::PKey } else { Key::QKey };
                node.refused(Time(MILLI), PORT, key, packet.as_bytes(), &mut notes);
            } else {
                node.receive(Time(MILLI), PORT, packet.as_mut_bytes(), &mut notes);
            }
            let (notice, _) = trap(&notes).unwrap();
            assert_eq!((notice.trap_number, notice.notice_type()), (number, NoticeType::SECURITY));
            let details: &BadKey = notice.details();
            assert_eq!((details.lid1, details.lid2), (Lid::new(MANAGER), Lid::new(OWN)));
            assert_eq!((details.key.get(), details.sl()), (key, Sl::new(5)));
            assert_eq!((details.qp1.get(), details.qp2.get()), (1, if from_outside { 99 } else { 1 }));
            let info = node.port_info(PORT).unwrap();
            assert_eq!((info.p_key_violations.get(), info.q_key_violations.get()), violations);
        }
    }
}

#[test]
fn wrong_keys_over_a_global_route_are_told_with_gids() {
    let (sgid, dgid) = (Gid { prefix: 1.into(), guid: 2.into() }, Gid { prefix: 3.into(), guid: 4.into() });
    let packet = over_global_route(gmp(PKey::new(0x8001), QKey::GSI).as_bytes(), between(sgid, dgid));
    let mut node = active_adapter();
    let mut notes = Notes::default();
    node.receive(Time(MILLI), PORT, &mut packet.clone(), &mut notes);
    let (notice, _) = trap(&notes).unwrap();
    let details: &BadKey = notice.details();
    assert_eq!((details.gid1, details.gid2), (sgid, dgid));
}

#[test]
fn violations_of_keys_stop_at_their_greatest_value() {
    let mut node = active_adapter();
    for _ in 0..0x1_0005 {
        node.receive(Time(MILLI), PORT, gmp(PKey::new(0x8001), QKey::GSI).as_mut_bytes(), &mut Notes::default());
        node.receive(Time(MILLI), PORT, gmp(PKey::DEFAULT, QKey::new(1)).as_mut_bytes(), &mut Notes::default());
    }
    let info = node.port_info(PORT).unwrap();
    assert_eq!((info.p_key_violations.get(), info.q_key_violations.get()), (0xffff, 0xffff));
}

#[test]
fn a_storm_of_violations_does_not_crowd_out_what_matters() {
    let mut node = active_adapter();
    for _ in 0..1000 {
        node.receive(Time(MILLI), PORT, gmp(PKey::new(0x8001), QKey::GSI).as_mut_bytes(), &mut Notes::default());
        node.receive(Time(MILLI), PORT, gmp(PKey::DEFAULT, QKey::new(1)).as_mut_bytes(), &mut Notes::default());
    }
    node.set_description(Time(2 * MILLI), NodeDescription::new("heard"), &mut Notes::default());
    let mut numbers = Vec::new();
    for round in 1..=4 {
        let (notice, transaction) = poll(&mut node, round * (PAUSE + MILLI)).unwrap();
        repress(&mut node, round * (PAUSE + MILLI), transaction);
        numbers.push(notice.trap_number);
    }
    assert!(numbers.contains(&TrapNumber::LOCAL_CHANGE), "{numbers:?}");
    assert_eq!(node.port_info(PORT).unwrap().p_key_violations.get(), 1000);
}

#[test]
fn a_port_that_went_down_has_nothing_left_to_tell() {
    let mut node = active_adapter();
    node.set_description(Time(MILLI), NodeDescription::new("renamed"), &mut Notes::default());
    node.link_down(Time(2 * MILLI), PORT, &mut Notes::default());
    node.link_up(Time(3 * MILLI), PORT, Link::EDR_4X, &mut Notes::default());
    activate(&mut node, Time(4 * MILLI));
    assert_eq!(poll(&mut node, 9 * PAUSE), None);
}

#[test]
fn traps_without_repress_take_turns() {
    let mut node = active_adapter();
    for (p_key, q_key) in [(PKey::new(0x8001), QKey::GSI), (PKey::DEFAULT, QKey::new(1))] {
        node.receive(Time(MILLI), PORT, gmp(p_key, q_key).as_mut_bytes(), &mut Notes::default());
    }
    // The first left at once.
    let numbers: Vec<_> =
        (1..=4).map(|round| poll(&mut node, round * (PAUSE + MILLI)).unwrap().0.trap_number).collect();
    let [p_key, q_key] = [TrapNumber::BAD_P_KEY, TrapNumber::BAD_Q_KEY];
    assert_eq!(numbers, [q_key, p_key, q_key, p_key]);
}

#[test]
fn what_tells_of_a_state_takes_the_place_of_its_like_alone() {
    let mut node = active_adapter();
    for wrong in [1u64, 2] {
        // Two requests with a wrong key are reported, each.
        let mut packet = from_neighbour(Method::SET, AttributeId::GUID_INFO, 0);
        packet.smp.header.attribute_modifier = u32::MAX.into();
        packet.smp.m_key = (u64::MAX - wrong).into();
        set(&mut node, Time(0), 1, |info| info.m_key = 77.into());
        node.receive(Time(MILLI), PORT, &mut bytes(&packet), &mut Notes::default());
    }
    node.receive(Time(MILLI), PORT, gmp(PKey::new(0x8001), QKey::GSI).as_mut_bytes(), &mut Notes::default());
    for name in ["one", "other"] {
        node.set_description(Time(MILLI), NodeDescription::new(name), &mut Notes::default());
    }
    let mut told = Vec::new();
    for round in 1..=6 {
        let Some((notice, transaction)) = poll(&mut node, round * (PAUSE + MILLI)) else { break };
        if notice.trap_number == TrapNumber::LOCAL_CHANGE {
            assert_eq!(notice.details::<LocalChange>().changes(), Changes::NODE_DESCRIPTION);
        }
        let mut packet = routed(Method::TRAP_REPRESS, AttributeId::NOTICE, 0, MANAGER, OWN);
        (packet.smp.header.transaction_id, packet.smp.m_key) = (transaction, 77.into());
        node.receive(Time(round * (PAUSE + MILLI)), PORT, &mut bytes(&packet), &mut Notes::default());
        told.push(notice.trap_number);
    }
    told.sort();
    let [m_key, p_key, change] = [TrapNumber::BAD_M_KEY, TrapNumber::BAD_P_KEY, TrapNumber::LOCAL_CHANGE];
    assert_eq!(told, [change, m_key, m_key, p_key]);
}

#[test]
fn a_manager_on_the_node_itself_gets_the_traps() {
    let mut node = active_adapter();
    let mut info = *node.port_info(PORT).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    info.master_sm_lid = Lid::new(OWN);
    let mut packet = from_neighbour(Method::SET, PortInfo::ID, 1);
    packet.smp.set_attribute(&info);
    node.receive(Time(0), PORT, &mut bytes(&packet), &mut Notes::default());
    let mut notes = Notes::default();
    node.set_is_sm(Time(MILLI), PORT, true, &mut notes);
    let (port, packet) = notes.delivered().unwrap();
    assert_eq!((port, smp(packet).header.method), (1, Method::TRAP));
    assert!(!notes.events().contains(&Event::Active));
}
