//! Reports to subscribers, repeated until they respond.
#![allow(clippy::unwrap_used, clippy::large_enum_variant)] // what goes wrong fails the test; few nodes are made

mod world;

use iba::mad::{AttributeId, Class, Method, Status};
use iba::notice::{GidChange, LinkStateChange, NoticeType, ReportedNotice, TrapNumber};
use iba::sa::{InformInfo, InformInfoRecord, McMemberRecord, SaMad};
use iba::{Gid, GidPrefix, Guid, Lid, PKey, ProducerType, QKey, TransactionId};
use subnet_manager::Config;
use world::ask::{get, table};
use world::{Faults, World};
use zerocopy::{IntoBytes, transmute};

const SWITCH: usize = 0;
const ALICE: usize = 2;
const BOB: usize = 3;
const CAROL: usize = 4;

/// A switch with the manager at its port 1, and three adapters; their ports are the switch's with the adapters'
/// numbers.
fn fabric() -> (World, usize) {
    let mut world = World::new(1);
    world.switch(4);
    for port in 1..=4 {
        let adapter = world.adapter(1);
        world.cable((SWITCH, port), (adapter, 1));
    }
    let sm = world.manager(1, None, 1, Config::default());
    world.settle(sm);
    (world, sm)
}

/// A subscription to all that the specification knows.
fn everything() -> InformInfo {
    let mut inform = InformInfo::default();
    (inform.lid_first, inform.is_generic, inform.subscribe) = (Lid::PERMISSIVE, 1, 1);
    (inform.notice_type, inform.trap_number) = (0xffff.into(), TrapNumber::new(0xffff));
    inform.producer = ProducerType::new(0xff_ffff);
    inform
}

fn of(trap_number: TrapNumber) -> InformInfo {
    let mut inform = everything();
    inform.trap_number = trap_number;
    inform
}

fn subscribe(world: &mut World, member: usize, inform: &InformInfo) -> Result<InformInfo, Status> {
    get(world, member, Method::SET, inform, 0)
}

fn end(world: &mut World, member: usize, inform: &InformInfo) -> Result<InformInfo, Status> {
    let mut inform = *inform;
    inform.subscribe = 0;
    inform.set_qpn(1);
    get(world, member, Method::SET, &inform, 0)
}

/// Lets `millis` pass, in which all who get a report say so as it comes; gives who got which.
fn reports(world: &mut World, millis: u64) -> Vec<(usize, ReportedNotice, TransactionId)> {
    let mut all = Vec::new();
    let end = world.now + millis * 1_000_000;
    while world.wait_for((end - world.now) / 1_000_000, |world| !world.others.is_empty()) {
        for (member, mad) in std::mem::take(&mut world.others) {
            let mut mad: SaMad = transmute!(mad);
            assert_eq!((mad.header.class, mad.header.method), (Class::SUBN_ADM, Method::REPORT));
            assert_eq!(mad.header.attribute_id, AttributeId::NOTICE);
            all.push((member, *mad.record(), mad.header.transaction_id));
            mad.header.method = Method::REPORT_RESP;
            world.ask(member, &mad);
        }
    }
    all
}

/// Returns the reports by subscriber and trap, each once.
fn told(world: &mut World, millis: u64) -> Vec<(usize, TrapNumber)> {
    let mut all: Vec<_> =
        reports(world, millis).into_iter().map(|(member, event, _)| (member, event.notice.trap_number)).collect();
    all.sort_by_key(|(member, trap)| (*member, trap.get()));
    all
}

fn gid(world: &World, member: usize) -> Gid {
    Gid { prefix: GidPrefix::DEFAULT, guid: world.guid_of(member) }
}

const GONE: TrapNumber = TrapNumber::GID_OUT_OF_SERVICE;
const COME: TrapNumber = TrapNumber::GID_IN_SERVICE;
const LINK: TrapNumber = TrapNumber::LINK_STATE_CHANGE;

#[test]
fn unplugged_cable_is_reported_to_subscribers_alone() {
    let (mut world, _) = fabric();
    subscribe(&mut world, ALICE, &everything()).unwrap();
    subscribe(&mut world, BOB, &of(GONE)).unwrap();
    world.pull((SWITCH, 4));
    let all = reports(&mut world, 5_000);
    let find = |member, trap| all.iter().find(|(to, event, _)| *to == member && event.notice.trap_number == trap);
    assert_eq!(all.len(), 3, "{all:?}");
    // The switch's trap as it came, and whose it is.
    let (_, link, _) = find(ALICE, LINK).unwrap();
    assert_eq!(link.issuer_gid, gid(&world, SWITCH));
    assert_eq!(link.notice.details::<LinkStateChange>().lid, link.notice.issuer_lid);
    assert_eq!(link.notice.producer, ProducerType::SWITCH);
    // What the manager says itself.
    for member in [ALICE, BOB] {
        let (_, gone, _) = find(member, GONE).unwrap();
        assert_eq!(gone.issuer_gid, gid(&world, 1));
        assert_eq!((gone.notice.producer, gone.notice.is_generic()), (ProducerType::CLASS_MANAGER, true));
        assert_eq!(gone.notice.notice_type(), NoticeType::SUBNET_MANAGEMENT);
        assert_eq!(gone.notice.details::<GidChange>().gid, gid(&world, CAROL));
        assert_eq!(&gone.as_bytes()[16..32], gid(&world, CAROL).as_bytes(), "behind 6 bytes that are reserved");
    }
    world.plug((SWITCH, 4));
    let all = told(&mut world, 5_000);
    assert_eq!(all, [(ALICE, COME), (ALICE, LINK)]);
}

#[test]
fn a_report_is_repeated_until_it_is_answered_or_given_up() {
    let (mut world, _) = fabric();
    subscribe(&mut world, ALICE, &of(GONE)).unwrap();
    world.pull((SWITCH, 4));
    world.run(10_000);
    let ids: Vec<_> = world.others.drain(..).map(|(_, mad)| mad.header.transaction_id).collect();
    assert_eq!(ids, [ids[0]; 4], "sent, and repeated three times");
    // It is still subscribed, and one answer is enough for the next report.
    world.plug((SWITCH, 4));
    world.run(2_000);
    world.pull((SWITCH, 4));
    let (mut next, later) = (reports(&mut world, 5_000), reports(&mut world, 5_000));
    assert_eq!((next.len(), later.len()), (1, 0));
    assert_ne!(next.remove(0).2, ids[0]);
}

#[test]
fn reports_arrive_where_links_lose_and_repeat_packets() {
    let (mut world, _) = fabric();
    subscribe(&mut world, ALICE, &of(GONE)).unwrap();
    subscribe(&mut world, BOB, &of(GONE)).unwrap();
    world.faults = Faults { loss: 40, duplicate: 100, jitter: 1_000_000 };
    for _ in 0..20 {
        world.pull((SWITCH, 4));
        let mut all = reports(&mut world, 10_000);
        all.dedup_by_key(|(member, _, id)| (*member, *id));
        let mut who: Vec<_> = all.iter().map(|(member, ..)| *member).collect();
        who.sort_unstable();
        who.dedup();
        assert_eq!(who, [ALICE, BOB]);
        world.plug((SWITCH, 4));
        world.run(10_000);
    }
}

#[test]
fn a_subscription_is_of_what_it_names() {
    let (mut world, _) = fabric();
    let ends = world.check(1);
    let lid = |member| ends.iter().find(|((of, _), _)| *of == member).unwrap().1;
    let other = |change: &dyn Fn(&mut InformInfo)| {
        let mut inform = everything();
        change(&mut inform);
        inform
    };
    let (switch, manager) = (lid(SWITCH), lid(1));
    let cases: [(InformInfo, &[TrapNumber]); 10] = [
        (everything(), &[GONE, LINK]),
        (of(LINK), &[LINK]),
        (of(COME), &[]),
        (other(&|it| it.is_generic = 0), &[]),
        (other(&|it| it.notice_type = u16::from(NoticeType::URGENT.get()).into()), &[LINK]),
        (other(&|it| it.producer = ProducerType::CLASS_MANAGER), &[GONE]),
        (other(&|it| (it.lid_first, it.lid_last) = (switch, switch)), &[LINK]),
        (other(&|it| (it.lid_first, it.lid_last) = (Lid::new(0xb000), Lid::new(0xbfff))), &[]),
        (other(&|it| (it.lid_first, it.lid_last) = (Lid::new(1), Lid::new(0xbfff))), &[GONE, LINK]),
        (other(&|it| (it.gid, it.lid_first, it.lid_last) = (gid(&world, 1), switch, switch)), &[GONE]),
    ];
    assert_ne!(switch, manager);
    for (inform, expected) in cases {
        subscribe(&mut world, ALICE, &inform).unwrap();
        world.pull((SWITCH, 4));
        let all: Vec<_> = told(&mut world, 3_000).into_iter().map(|(_, trap)| trap).collect();
        assert_eq!(all, expected, "{inform:?}");
        end(&mut world, ALICE, &inform).unwrap();
        world.plug((SWITCH, 4));
        assert_eq!(told(&mut world, 3_000), [], "its subscription has ended");
    }
}

#[test]
fn a_subscription_is_one_however_often_it_is_made_and_ends_with_its_port() {
    let (mut world, _) = fabric();
    for _ in 0..3 {
        subscribe(&mut world, ALICE, &of(GONE)).unwrap();
    }
    subscribe(&mut world, CAROL, &of(COME)).unwrap();
    subscribe(&mut world, CAROL, &everything()).unwrap();
    let all: Vec<InformInfoRecord> = table(&mut world, BOB, &InformInfoRecord::default(), 0);
    let of_whom: Vec<_> = all.iter().map(|record| record.subscriber).collect();
    assert_eq!(of_whom, [gid(&world, ALICE), gid(&world, CAROL), gid(&world, CAROL)]);
    assert_eq!((all[0].inform.trap_number, all[0].inform.qpn()), (GONE, 1));
    let mut wanted = InformInfoRecord::default();
    wanted.subscriber = gid(&world, CAROL);
    assert_eq!(table(&mut world, BOB, &wanted, 1).len(), 2);
    assert_eq!(end(&mut world, BOB, &of(GONE)), Err(Status::SA_INVALID_REQUEST), "it is another's");
    assert_eq!(end(&mut world, ALICE, &of(LINK)), Err(Status::SA_INVALID_REQUEST), "there is none");
    let mut strange = of(LINK);
    strange.subscribe = 2;
    assert_eq!(subscribe(&mut world, ALICE, &strange), Err(Status::SA_INVALID_REQUEST));
    world.pull((SWITCH, 4));
    assert_eq!(told(&mut world, 3_000), [(ALICE, GONE)]);
    world.plug((SWITCH, 4));
    world.run(3_000);
    assert_eq!(table(&mut world, BOB, &InformInfoRecord::default(), 0).len(), 1);
}

#[test]
fn there_are_no_more_subscriptions_than_there_is_room_for() {
    let (mut world, _) = fabric();
    for number in 0..1024 {
        subscribe(&mut world, ALICE, &of(TrapNumber::new(1000 + number))).unwrap();
    }
    assert_eq!(subscribe(&mut world, BOB, &of(GONE)), Err(Status::SA_NO_RESOURCES));
    subscribe(&mut world, ALICE, &of(TrapNumber::new(1000))).unwrap();
    end(&mut world, ALICE, &of(TrapNumber::new(1000))).unwrap();
    subscribe(&mut world, BOB, &of(GONE)).unwrap();
    world.pull((SWITCH, 4));
    assert_eq!(told(&mut world, 3_000), [(BOB, GONE)]);
}

#[test]
fn groups_that_come_and_go_are_told_of() {
    let (mut world, _) = fabric();
    for trap in [TrapNumber::GROUP_CREATED, TrapNumber::GROUP_DELETED] {
        subscribe(&mut world, ALICE, &of(trap)).unwrap();
    }
    let mut membership = McMemberRecord::default();
    membership.mgid = Gid { prefix: GidPrefix::new(0xff12_401b_ffff_0000), guid: Guid::new(0x1234) };
    (membership.q_key, membership.p_key) = (QKey::new(0xb1b), PKey::DEFAULT);
    membership.set_join_state(McMemberRecord::FULL_MEMBER);
    let ask = |world: &mut World, member, method| {
        let mut own = membership;
        own.port_gid = gid(world, member);
        get(world, member, method, &own, McMemberRecord::TO_CREATE).unwrap();
    };
    let next = |world: &mut World| {
        let all = reports(world, 3_000);
        assert!(all.iter().all(|(_, event, _)| event.notice.details::<GidChange>().gid == membership.mgid));
        all.iter().map(|(_, event, _)| event.notice.trap_number).collect::<Vec<_>>()
    };
    ask(&mut world, BOB, Method::SET);
    assert_eq!(next(&mut world), [TrapNumber::GROUP_CREATED]);
    ask(&mut world, CAROL, Method::SET);
    ask(&mut world, BOB, Method::DELETE);
    assert_eq!(next(&mut world), [], "there is one member left");
    // The last one's cable is pulled.
    world.pull((SWITCH, 4));
    assert_eq!(next(&mut world), [TrapNumber::GROUP_DELETED]);
    ask(&mut world, BOB, Method::SET);
    ask(&mut world, BOB, Method::DELETE);
    let both = next(&mut world);
    assert_eq!(both.last(), Some(&TrapNumber::GROUP_DELETED));
}
