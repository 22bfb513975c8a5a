//! Queue pair 0 and its policy, and the subnet manager behind it.

#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error

mod support;

use iba::attr::{CapabilityMask, NodeInfo, PortState, SmInfo};
use iba::mad::{AttributeId, Class, MadHeader, Method, Status as MadStatus};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, PortNum, Qpn};
use lhca_contract::{CompletionStatus, EventKind, QueuePairKind, SendEntry, Status};
use lhca_driver::EventQueue;
use lhca_engine::{Policy, Qp0Policy, RefusalPolicy};
use support::{End, PORT, SM, lid, memory, segment, world};
use zerocopy::{FromBytes, IntoBytes};

fn policy(qp0: Qp0Policy) -> Policy {
    Policy { qp0, ..Policy::default() }
}

fn smp(class: Class, method: Method, attribute: AttributeId) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    (smp.header.class, smp.header.class_version) = (class, 1);
    (smp.header.method, smp.header.attribute_id) = (method, attribute);
    smp
}

/// A question along the directed route that leaves by these ports, the LHCA's own first.
fn directed(method: Method, attribute: AttributeId, route: &[u8]) -> Smp {
    let mut smp = smp(Class::SUBN_DIRECTED_ROUTE, method, attribute);
    (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
    smp.set_hop_count(u8::try_from(route.len()).unwrap());
    for (hop, &port) in smp.initial_path[1..].iter_mut().zip(route) {
        *hop = PortNum::new(port);
    }
    smp
}

fn send(end: &mut End, dlid: Lid, smp: &mut Smp) -> CompletionStatus {
    let segment = segment(smp.as_mut_bytes());
    end.send(&SendEntry { segments: 1, dlid, remote_qp: Qpn::SMI, segment, ..SendEntry::default() });
    end.next().unwrap().status
}

#[test]
fn a_partition_discovers_the_subnet_through_its_queue_pair_0() {
    let (world, machines) = world(2, policy(Qp0Policy::Query));
    let mut end = End::new(&machines[0], QueuePairKind::SMI);
    for (route, ports) in [(&[][..], 1), (&[1], 3), (&[1, 3], 1)] {
        let mut room = vec![0; 40 + 256];
        end.receive(1, &mut room);
        let mut question = directed(Method::GET, AttributeId::NODE_INFO, route);
        assert_eq!(send(&mut end, Lid::PERMISSIVE, &mut question), CompletionStatus::SUCCESS);
        assert_eq!(end.next().unwrap().length, 296);
        let answer = Smp::read_from_bytes(&room[40..]).unwrap();
        assert_eq!(answer.header.method, Method::GET_RESP);
        assert_eq!(answer.attribute::<NodeInfo>().num_ports, ports, "{route:?}");
    }
    assert!(world.take().is_empty(), "what is between logical ports is not on the cable");
    let mut beyond = directed(Method::GET, AttributeId::NODE_INFO, &[1, 1]);
    assert_eq!(send(&mut end, Lid::PERMISSIVE, &mut beyond), CompletionStatus::SUCCESS);
    assert_eq!(world.take().len(), 1);
}

#[test]
fn what_the_policy_forbids_goes_nowhere_and_is_counted() {
    for (qp0, methods) in
        [(Qp0Policy::Closed, &[Method::GET, Method::SET][..]), (Qp0Policy::Query, &[Method::SET, Method::TRAP])]
    {
        let (world, machines) = world(2, policy(qp0));
        let mut end = End::new(&machines[0], QueuePairKind::SMI);
        for &method in methods {
            let mut smp = smp(Class::SUBN_LID_ROUTED, method, AttributeId::NODE_INFO);
            assert_eq!(send(&mut end, lid(1), &mut smp), CompletionStatus::REFUSED);
            assert_eq!(send(&mut end, SM, &mut smp), CompletionStatus::REFUSED);
        }
        assert!(world.take().is_empty());
        assert_eq!(world.logical.lock().unwrap().drops(machines[0].id).unwrap().refused, 4);
        assert_eq!(end.lhca.set_is_sm(PORT, true).unwrap_err().status, Status::NOT_PERMITTED);
    }
}

#[test]
fn a_refused_request_is_answered_where_the_policy_says_so() {
    let (world, machines) = world(2, Policy { refused: RefusalPolicy::Answer, ..policy(Qp0Policy::Closed) });
    let mut end = End::new(&machines[0], QueuePairKind::SMI);
    let questions = [
        (directed(Method::GET, AttributeId::NODE_INFO, &[1, 3]), Lid::PERMISSIVE),
        (smp(Class::SUBN_LID_ROUTED, Method::SET, AttributeId::PORT_INFO), SM),
    ];
    for (mut question, dlid) in questions {
        let mut room = vec![0; 40 + 256];
        end.receive(1, &mut room);
        question.header.transaction_id = iba::TransactionId::new(77);
        assert_eq!(send(&mut end, dlid, &mut question), CompletionStatus::SUCCESS);
        let answered = end.next().unwrap();
        assert_eq!((answered.slid, answered.source_qp, answered.length), (dlid, Qpn::SMI, 296));
        let answer = Smp::read_from_bytes(&room[40..]).unwrap();
        assert_eq!((answer.header.method, answer.status()), (Method::GET_RESP, MadStatus::BAD_METHOD_ATTRIBUTE));
        assert_eq!(answer.header.transaction_id, question.header.transaction_id);
        assert_eq!(answer.is_returning(), dlid == Lid::PERMISSIVE);
    }
    let mut trap = smp(Class::SUBN_LID_ROUTED, Method::TRAP, AttributeId::NOTICE);
    assert_eq!(send(&mut end, SM, &mut trap), CompletionStatus::REFUSED, "no sender waits for a response");
    assert!(world.take().is_empty());
    let mut logical = world.logical.lock().unwrap();
    assert_eq!(logical.drops(machines[0].id).unwrap().refused, 3);
    let (lhca, refusal) = logical.take_refusal().unwrap();
    assert_eq!(
        (lhca, refusal.method, refusal.attribute, refusal.dlid),
        (machines[0].id, Method::TRAP, AttributeId::NOTICE, SM)
    );
    assert!(logical.take_refusal().is_none());
}

#[test]
fn a_flood_of_management_packets_is_held_to_its_rate() {
    let (world, machines) = world(1, Policy { smps_per_second: 10, traps_per_second: 2, ..policy(Qp0Policy::Manager) });
    let mut end = End::new(&machines[0], QueuePairKind::SMI);
    for (method, allowed) in [(Method::GET, 10), (Method::TRAP, 2)] {
        let mut smp = smp(Class::SUBN_LID_ROUTED, method, AttributeId::NODE_INFO);
        let statuses: Vec<_> = (0..50).map(|_| send(&mut end, SM, &mut smp)).collect();
        assert_eq!(statuses.iter().filter(|status| **status == CompletionStatus::SUCCESS).count(), allowed);
        assert_eq!(world.take().len(), allowed);
    }
}

#[test]
fn a_subnet_manager_in_a_partition_is_seen_and_asked() {
    let (world, machines) = world(1, policy(Qp0Policy::Manager));
    let mut end = End::new(&machines[0], QueuePairKind::SMI);
    let mut room = vec![0; 40 + 256];
    end.receive(1, &mut room);
    let question = smp(Class::SUBN_LID_ROUTED, Method::GET, AttributeId::SM_INFO);
    let question = SmpPacket::new(SM, lid(0), iba::Sl::new(0), question);
    world.receive(question.as_bytes());
    let refusal = SmpPacket::read_from_bytes(&world.take()[0]).unwrap();
    assert_ne!(refusal.smp.header.status.get(), 0, "no manager yet");
    end.lhca.set_is_sm(PORT, true).unwrap();
    assert!(world.port_info(1, &[2]).capability_mask().contains(CapabilityMask::SM));
    world.take();
    world.receive(question.as_bytes());
    assert!(world.take().is_empty(), "the partition is to answer");
    assert_eq!(end.next().unwrap().slid, SM);
    let mut answer = Smp::read_from_bytes(&room[40..]).unwrap();
    answer.header.method = Method::GET_RESP;
    let mut info = SmInfo::default();
    info.act_count = 5.into();
    answer.set_attribute(&info);
    assert_eq!(send(&mut end, SM, &mut answer), CompletionStatus::SUCCESS);
    let packet = SmpPacket::read_from_bytes(&world.take()[0]).unwrap();
    assert_eq!(packet.smp.attribute::<SmInfo>().act_count.get(), 5);
}

#[test]
fn events_tell_what_the_manager_did_and_none_is_lost_silently() {
    let (world, machines) = world(1, Policy::default());
    let lhca = lhca_driver::Lhca::probe(machines[0]).unwrap();
    let mut events = EventQueue::create(&lhca, memory(2), 50).unwrap();
    assert_eq!(EventQueue::create(&lhca, memory(2), 50).unwrap_err().status, Status::EXISTS);
    assert!(!events.arm());
    world.set_port(1, &[2], |info| info.lid = Lid::new(40));
    world.set_port(1, &[2], |info| info.set_client_reregister(true));
    let got: Vec<_> = std::iter::from_fn(|| events.next(&lhca)).map(|event| (event.kind, event.source)).collect();
    assert_eq!(got, [(EventKind::LID_CHANGE, 1), (EventKind::CLIENT_REREGISTER, 1)]);
    assert_eq!(*machines[0].guest.interrupts.lock().unwrap(), [50]);
    for nth in 0..9 {
        world.set_port(1, &[2], |info| info.lid = Lid::new(41 + nth % 2));
    }
    let mut kinds = Vec::new();
    while let Some(event) = events.next(&lhca) {
        kinds.push(event.kind);
    }
    assert_eq!(kinds, [[EventKind::LID_CHANGE; 4].as_slice(), &[EventKind::OVERRUN]].concat());
    world.set_port(1, &[2], |info| info.lid = Lid::new(50));
    assert_eq!(events.next(&lhca).unwrap().kind, EventKind::LID_CHANGE);
}

#[test]
fn each_thing_that_happens_to_a_port_is_an_event() {
    let (world, machines) = world(1, Policy::default());
    let lhca = lhca_driver::Lhca::probe(machines[0]).unwrap();
    let mut events = EventQueue::create(&lhca, memory(4), 0).unwrap();
    let mut told = |what: &str, kinds: &[EventKind]| {
        let got: Vec<_> = std::iter::from_fn(|| events.next(&lhca)).map(|event| event.kind).collect();
        assert_eq!(got, kinds, "{what}");
    };
    world.set_port(1, &[2], |info| info.master_sm_lid = Lid::new(9));
    told("another manager", &[EventKind::SM_CHANGE]);
    world.set_port(1, &[2], |info| (info.master_sm_lid, info.gid_prefix) = (Lid::new(9), iba::GidPrefix::new(7)));
    told("another subnet", &[EventKind::GID_CHANGE]);
    world.ask(Method::SET, AttributeId::P_KEY_TABLE, 0, &[2], |smp| {
        smp.data.fill(0);
        smp.data[..4].copy_from_slice(&[0xff, 0xff, 0x80, 0x01]);
    });
    told("another P_Key", &[EventKind::P_KEY_CHANGE]);
    assert_eq!(lhca.p_key(PORT, 1).unwrap().get(), 0x8001);
    let mut cable = support::Cable::default();
    let mut plug = |plugged| {
        let mut logical = world.logical.lock().unwrap();
        let (hsma, mut out) = logical.split(subnet::Time(1), &mut cable);
        if plugged {
            hsma.plug(subnet::Time(1), machines[0].id, &mut out)
        } else {
            hsma.unplug(subnet::Time(1), machines[0].id, &mut out)
        }
    };
    plug(false);
    told("a cable that is pulled", &[EventKind::PORT_DOWN]);
    plug(true);
    told("a link that is up is not Active yet", &[]);
    for state in [PortState::ARMED, PortState::ACTIVE] {
        world.set_port(2, &[], |info| info.set_port_state(state));
        world.set_port(1, &[2], |info| (info.master_sm_lid, info.gid_prefix) = (Lid::new(9), iba::GidPrefix::new(7)));
        world.set_port(1, &[2], |info| {
            (info.master_sm_lid, info.gid_prefix) = (Lid::new(9), iba::GidPrefix::new(7));
            info.set_port_state(state);
        });
    }
    told("a port that a manager activates", &[EventKind::PORT_ACTIVE]);
}

/// A sender with wrong keys makes receivers send traps. These must stay so few that no SM takes a port for one that
/// babbles.
#[test]
fn wrong_keys_make_few_traps() {
    let (world, machines) = world(2, Policy::default());
    let (mut from, to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    let mut payload = vec![0; 8];
    let wrong = SendEntry {
        segments: 1,
        dlid: lid(1),
        q_key: 1.into(),
        remote_qp: to.pair.number(),
        segment: segment(&mut payload),
        ..SendEntry::default()
    };
    for _ in 0..10_000 {
        world.now.fetch_add(1_000_000, std::sync::atomic::Ordering::Relaxed);
        from.send(&wrong);
        assert_eq!(from.next().unwrap().status, CompletionStatus::SUCCESS);
    }
    let traps = world.take().len();
    assert!((1..=100).contains(&traps), "{traps} traps in 10 seconds");
    assert_eq!(world.logical.lock().unwrap().drops(machines[1].id).unwrap().bad_key, 10_000);
}

#[test]
fn a_partition_that_ends_leaves_its_port_down_and_no_manager() {
    let (world, machines) = world(2, policy(Qp0Policy::Manager));
    let end = End::new(&machines[0], QueuePairKind::SMI);
    end.lhca.set_is_sm(PORT, true).unwrap();
    let mut cable = support::Cable::default();
    world.logical.lock().unwrap().detach(subnet::Time(2), machines[0].id, &mut cable).unwrap();
    assert_eq!(world.port_info(2, &[]).port_state(), PortState::DOWN);
    assert_eq!(end.lhca.port(PORT).unwrap_err().status, Status::UNKNOWN_CALL);
    let mut logical = world.logical.lock().unwrap();
    logical.attach(subnet::Time(3), machines[0].id, machines[0].guest, Policy::default(), &mut cable);
    drop(logical);
    assert_eq!(world.port_info(2, &[]).port_state(), PortState::INIT);
    let info = world.port_info(1, &[2]);
    assert_eq!((info.lid, info.capability_mask().contains(CapabilityMask::SM)), (lid(0), false), "its LID stays");
}
