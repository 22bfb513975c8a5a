//! Subnet administration of a master: records, one by one and as tables, and multicast groups.
#![allow(clippy::unwrap_used, clippy::large_enum_variant)] // what goes wrong fails the test; few nodes are made

mod world;

use std::collections::BTreeMap;

use iba::mad::{AttributeId, Method, Status};
use iba::rmpp::{RmppHeader, RmppType};
use iba::sa::{
    GuidInfoRecord, LinkRecord, McMemberRecord, MulticastForwardingRecord, NodeRecord, PKeyTableRecord, PathRecord,
    PortInfoRecord, Selector, SmInfoRecord,
};
use iba::{Gid, GidPrefix, Guid, Lid, PKey, QKey};
use subnet_manager::Config;
use world::ask::{answer, get, request, table};
use world::{Faults, World};

/// Three switches in a ring with four adapters at each; the manager is at the first, node 3.
fn fabric() -> World {
    let mut world = World::new(1);
    let switches = [world.switch(8), world.switch(8), world.switch(8)];
    for (nth, &switch) in switches.iter().enumerate() {
        world.cable((switch, 1), (switches[(nth + 1) % 3], 2));
        for port in 3..=6 {
            let adapter = world.adapter(1);
            world.cable((switch, port), (adapter, 1));
        }
    }
    let sm = world.manager(3, None, 1, Config::default());
    world.settle(sm);
    world
}

#[test]
fn tables_hold_all_that_there_is() {
    for faults in [Faults::default(), Faults { loss: 30, duplicate: 100, jitter: 2_000_000 }] {
        let mut world = fabric();
        let ends = world.check(3);
        world.faults = faults;
        let nodes = table(&mut world, 5, &NodeRecord::default(), 0);
        assert_eq!(nodes.len(), 15);
        for (_, lid) in &ends {
            assert!(nodes.iter().any(|record| record.lid == *lid));
        }
        assert_eq!(table(&mut world, 5, &PortInfoRecord::default(), 0).len(), 12 + 3 * 9);
        assert_eq!(table(&mut world, 5, &LinkRecord::default(), 0).len(), 2 * (3 + 12));
        assert_eq!(table(&mut world, 5, &SmInfoRecord::default(), 0).len(), 1);
        let paths = table(&mut world, 5, &PathRecord::default(), 0);
        assert_eq!(paths.len(), 15 * 15);
        // Nothing matches: an empty table, which is an answer as well.
        let mut nobody = PathRecord::default();
        nobody.slid = Lid::new(0x999);
        assert!(table(&mut world, 5, &nobody, 1 << PathRecord::SLID).is_empty());
    }
}

fn gid(guid: Guid) -> Gid {
    Gid { prefix: GidPrefix::DEFAULT, guid }
}

#[test]
fn tables_of_ports_and_switches_can_be_read() {
    let mut world = fabric();
    let guids = table(&mut world, 5, &GuidInfoRecord::default(), 0);
    assert_eq!(guids.len(), 15);
    assert!(
        guids.iter().any(|record| record.info.guids[0] == world.guid_of(7) && record.info.guids[1..] == [0.into(); 7])
    );
    // P_Keys are for who knows the key of managers.
    let mut question = request(Method::GET_TABLE, &PKeyTableRecord::default(), 0);
    world.ask(5, &question);
    assert_eq!(answer(&mut world, 5, &question).header.status, Status::SA_DENIED);
    question.sm_key = Config::default().sm_key;
    question.header.transaction_id = 0x1_0000.into();
    world.ask(5, &question);
    let first: PKeyTableRecord = *answer(&mut world, 5, &question).record();
    assert_eq!(first.table.p_keys[0], PKey::DEFAULT);
    // A group of two ports at one switch: two bits in one mask.
    assert!(table(&mut world, 5, &MulticastForwardingRecord::default(), 0).is_empty());
    for member in [4, 5] {
        join(&mut world, member, 1).unwrap();
    }
    let tables = table(&mut world, 5, &MulticastForwardingRecord::default(), 0);
    let masks: Vec<u16> = tables.iter().map(|record| record.table.masks[0].get()).filter(|&mask| mask != 0).collect();
    assert_eq!(masks, [1 << 4 | 1 << 5]);
    assert!(tables.iter().all(|record| (record.position(), record.block()) == (0, 0)));
}

#[test]
fn a_receiver_that_acknowledges_whole_windows_is_not_waited_for() {
    let mut world = fabric();
    world.others.clear();
    let request = request(Method::GET_TABLE, &PathRecord::default(), 0);
    let begin = world.now;
    world.ask(5, &request);
    let mut window = 1;
    loop {
        let mad = answer(&mut world, 5, &request);
        assert!(world.now - begin < 10_000_000, "{} ns", world.now - begin);
        if mad.rmpp.segment.get() == window {
            window += 64;
            let mut ack = mad;
            (ack.rmpp.kind, ack.rmpp.length_or_window) = (RmppType::ACK, window.into());
            world.ask(5, &ack);
        }
        if mad.rmpp.is_last() {
            break;
        }
    }
}

#[test]
fn a_path_is_found_by_gid_and_by_lid_and_is_what_packets_take() {
    let mut world = fabric();
    let ends = world.check(3);
    let lid = |member| ends.iter().find(|((of, _), _)| *of == member).unwrap().1;
    let mut wanted = PathRecord::default();
    (wanted.sgid, wanted.dgid) = (gid(world.guid_of(5)), gid(world.guid_of(12)));
    let by_gid = 1 << PathRecord::SGID | 1 << PathRecord::DGID;
    let found = get(&mut world, 5, Method::GET, &wanted, by_gid).unwrap();
    assert_eq!((found.slid, found.dlid, found.p_key), (lid(5), lid(12), PKey::DEFAULT));
    assert_eq!((found.mtu_code(), found.rate()), (5, 16), "4096 bytes, 4 lanes of EDR");
    assert!(found.is_reversible());
    let by_lid = 1 << PathRecord::SLID | 1 << PathRecord::DLID;
    assert_eq!(get(&mut world, 5, Method::GET, &found, by_lid).unwrap(), found);
    // A bound that it does not keep, a partition that there is not, and a Get that fits many.
    wanted.set_mtu_code(5);
    let mtu = 1 << PathRecord::MTU_SELECTOR | 1 << PathRecord::MTU;
    assert_eq!(get(&mut world, 5, Method::GET, &wanted, by_gid | mtu), Err(Status::SA_NO_RECORDS), "greater than 4096");
    wanted.p_key = PKey::new(0x8001);
    let other = by_gid | 1 << PathRecord::P_KEY;
    assert_eq!(get(&mut world, 5, Method::GET, &wanted, other), Err(Status::SA_NO_RECORDS));
    assert_eq!(get(&mut world, 5, Method::GET, &PathRecord::default(), 0), Err(Status::SA_TOO_MANY_RECORDS));
}

#[test]
fn what_is_not_known_is_refused() {
    let mut world = fabric();
    for (id, method, status) in [
        (0x31, Method::GET_TABLE, Status::BAD_METHOD_ATTRIBUTE), // ServiceRecord
        (0x35, Method::SET, Status::BAD_METHOD_ATTRIBUTE),
        (0x35, Method::TRAP, Status::BAD_METHOD),
    ] {
        let mut mad = request(method, &PathRecord::default(), 0);
        mad.header.attribute_id = AttributeId::new(id);
        world.ask(6, &mad);
        assert_eq!(answer(&mut world, 6, &mad).header.status, status);
    }
    // GetMulti, whose requests may take more than a segment.
    let mut mad = request(Method::new(0x14), &PathRecord::default(), 0);
    (mad.rmpp.version, mad.rmpp.kind, mad.rmpp.segment) = (RmppHeader::VERSION, RmppType::DATA, 1.into());
    mad.rmpp.set_active(true);
    mad.rmpp.set_first(true);
    world.ask(6, &mad);
    let refusal = answer(&mut world, 6, &mad);
    assert_eq!((refusal.header.method.get(), refusal.header.status), (0x94, Status::BAD_METHOD));
    assert!(!refusal.rmpp.is_active());
    let mut mad = request(Method::GET, &PathRecord::default(), 0);
    mad.header.class_version = 1;
    world.ask(6, &mad);
    assert_eq!(answer(&mut world, 6, &mad).header.status, Status::BAD_VERSION);
}

const MGID: Gid = Gid { prefix: GidPrefix::new(0xff12_401b_ffff_0000), guid: Guid::new(0x1234) };

fn membership(world: &World, member: usize, state: u8) -> McMemberRecord {
    let mut record = McMemberRecord::default();
    (record.mgid, record.port_gid) = (MGID, gid(world.guid_of(member)));
    (record.q_key, record.p_key) = (QKey::new(0xb1b), PKey::DEFAULT);
    record.set_join_state(state);
    record
}

fn join(world: &mut World, member: usize, state: u8) -> Result<McMemberRecord, Status> {
    let record = membership(world, member, state);
    get(world, member, Method::SET, &record, McMemberRecord::TO_CREATE)
}

fn leave(world: &mut World, member: usize) -> Result<McMemberRecord, Status> {
    let record = membership(world, member, 1);
    get(world, member, Method::DELETE, &record, McMemberRecord::TO_CREATE)
}

/// Checks that a packet of each of `members` to `lid` comes to all others once, and to no other port.
fn check_group(world: &World, lid: Lid, members: &[usize]) {
    for &from in members {
        let wanted: BTreeMap<usize, usize> = members.iter().filter(|to| **to != from).map(|to| (*to, 1)).collect();
        assert_eq!(world.flood(from, lid), wanted, "from {from}");
    }
}

#[test]
fn members_of_a_group_get_what_is_sent_to_it_once() {
    let mut world = fabric();
    let members = [4, 5, 8, 13, 14];
    let lids: Vec<Lid> = members.iter().map(|&member| join(&mut world, member, 1).unwrap().mlid).collect();
    assert!(lids.iter().all(|&lid| lid == lids[0] && lid.is_multicast()), "{lids:?}");
    world.run(100);
    check_group(&world, lids[0], &members);
    // One leaves, another's cable is pulled, and a link of the ring fails.
    assert_eq!(leave(&mut world, 8).unwrap().join_state(), 0);
    world.run(100);
    check_group(&world, lids[0], &[4, 5, 13, 14]);
    world.pull((2, 6));
    world.pull((0, 2));
    world.run(5_000);
    check_group(&world, lids[0], &[4, 5, 13]);
    // Who comes back has to join again; the others need not.
    world.plug((2, 6));
    world.plug((0, 2));
    world.run(5_000);
    check_group(&world, lids[0], &[4, 5, 13]);
    join(&mut world, 14, 1).unwrap();
    world.run(100);
    check_group(&world, lids[0], &[4, 5, 13, 14]);
    // One that only sends gets nothing, and is heard by all.
    join(&mut world, 10, 4).unwrap();
    world.run(100);
    check_group(&world, lids[0], &[4, 5, 13, 14]);
    assert_eq!(world.flood(10, lids[0]).len(), 4);
    // With the last member the group is gone.
    for member in [4, 5, 13, 14] {
        leave(&mut world, member).unwrap();
    }
    world.run(100);
    assert!(world.flood(10, lids[0]).is_empty());
    let all = table(&mut world, 5, &McMemberRecord::default(), 0);
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn only_a_port_itself_joins_and_only_as_the_group_is() {
    let mut world = fabric();
    let wanted = membership(&world, 5, 1);
    let mask = McMemberRecord::TO_CREATE;
    assert_eq!(get(&mut world, 6, Method::SET, &wanted, mask), Err(Status::SA_DENIED));
    let few = mask & !(1 << 2); // without the Q_Key
    assert_eq!(get(&mut world, 5, Method::SET, &wanted, few), Err(Status::SA_INSUFFICIENT_COMPONENTS));
    let sender = membership(&world, 5, 4);
    assert_eq!(get(&mut world, 5, Method::SET, &sender, mask), Err(Status::SA_INVALID_REQUEST), "a group of none");
    let made = get(&mut world, 5, Method::SET, &wanted, mask).unwrap();
    assert_eq!((made.mtu_code(), made.rate(), made.scope()), (5, 16, 2));
    let mut other = membership(&world, 6, 1);
    assert_eq!(get(&mut world, 6, Method::SET, &other, few).unwrap().q_key, wanted.q_key, "who joins may say less");
    other.q_key = QKey::new(1);
    assert_eq!(get(&mut world, 6, Method::SET, &other, mask), Err(Status::SA_INVALID_REQUEST));
    assert_eq!(leave(&mut world, 7), Err(Status::SA_INVALID_REQUEST), "it is not a member");
    // A stranger sees the group, and who has the key its members.
    let groups = table(&mut world, 8, &McMemberRecord::default(), 0);
    assert_eq!(groups.iter().map(|record| record.port_gid).collect::<Vec<_>>(), [Gid::default()]);
}

#[test]
fn a_group_is_made_within_the_bounds_that_are_asked_for_or_not_at_all() {
    let mut world = fabric();
    let (mtu, rate) = (1 << 4 | 1 << 5, 1 << 8 | 1 << 9);
    // Of MTUs 1 is 256 bytes, 5 is 4096; of rates 2 is 2.5 Gb/s, 12 is 56, 8 is 60, 9 is 80, 16 is 100, 18 is 300.
    // Ports do 5 and 16.
    let cases = [
        (Selector::GREATER, 1, 2, Some((5, 16))),
        (Selector::LESS, 5, 16, Some((4, 9))),
        (Selector::LESS, 2, 8, Some((1, 12))),
        (Selector::EXACTLY, 3, 3, Some((3, 3))),
        (Selector::BEST, 0, 0, Some((5, 16))),
        (Selector::GREATER, 5, 2, None),
        (Selector::LESS, 1, 16, None),
        (Selector::EXACTLY, 6, 16, None),
        (Selector::GREATER, 1, 18, None),
        (Selector::LESS, 5, 2, None),
        (Selector::EXACTLY, 5, 63, None),
    ];
    for (selector, mtu_code, rate_code, expected) in cases {
        let mut wanted = membership(&world, 5, 1);
        wanted.set_mtu_selector(selector);
        wanted.set_mtu_code(mtu_code);
        wanted.set_rate_selector(selector);
        wanted.set_rate(rate_code);
        let made = get(&mut world, 5, Method::SET, &wanted, McMemberRecord::TO_CREATE | mtu | rate);
        assert_eq!(made.map(|made| (made.mtu_code(), made.rate())).ok(), expected, "{wanted:?}");
        if expected.is_some() {
            // Who joins it later may not ask for more than it has.
            wanted = membership(&world, 6, 1);
            wanted.set_mtu_code(5);
            let more = get(&mut world, 6, Method::SET, &wanted, McMemberRecord::TO_CREATE | mtu);
            assert_eq!(more, Err(Status::SA_INVALID_REQUEST));
            leave(&mut world, 5).unwrap();
        }
    }
}

#[test]
fn a_port_that_is_too_slow_for_a_group_does_not_join_it() {
    let mut world = fabric();
    world.pull((0, 6));
    world.slow.extend([(0, 6), (6, 1)]);
    world.plug((0, 6));
    world.run(2_000);
    join(&mut world, 5, 1).unwrap();
    assert_eq!(join(&mut world, 6, 1), Err(Status::SA_INVALID_REQUEST));
    leave(&mut world, 5).unwrap();
    // A lane of EDR, which it can have, is enough for the others.
    assert_eq!(join(&mut world, 6, 1).unwrap().rate(), 15);
    join(&mut world, 5, 1).unwrap();
}

#[test]
fn a_member_takes_back_what_it_joined_as_and_nothing_else() {
    let mut world = fabric();
    join(&mut world, 5, 3).unwrap();
    let take = |world: &mut World, state| {
        let record = membership(world, 5, state);
        get(world, 5, Method::DELETE, &record, McMemberRecord::TO_CREATE).map(|record| record.join_state())
    };
    assert_eq!(take(&mut world, 6), Err(Status::SA_INVALID_REQUEST), "it never was one that only sends");
    assert_eq!(take(&mut world, 2), Ok(1));
    assert_eq!(take(&mut world, 1), Ok(0));
    let flags = Gid { prefix: GidPrefix::new(0xff22_401b_ffff_0000), guid: Guid::new(1) };
    let mut wanted = membership(&world, 5, 1);
    wanted.mgid = flags;
    let made = get(&mut world, 5, Method::SET, &wanted, McMemberRecord::TO_CREATE);
    assert_eq!(made, Err(Status::SA_INVALID_REQUEST), "a flag that is not defined");
}
