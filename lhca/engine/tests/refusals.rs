//! Refusals: each check of the engine has a case here, or in other tests, that fails without it.
#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error
#![allow(clippy::cast_possible_truncation)] // the numbers of tests are small

mod support;

use iba::packet::UdHeader;
use iba::{Gid, GidPrefix, Guid, Lid, PortNum, QKey, Qpn, Sl};
use lhca_contract::{
    Access, Call, CompletionStatus, Handle, MemoryRegion, MulticastGroup, QueueConfig, QueuePairChange,
    QueuePairConfig, QueuePairFields, QueuePairKind, QueuePairState, ReceiveEntry, Segment, SendEntry, Status,
    WorkFlags,
};
use lhca_driver::Platform;
use lhca_engine::{Policy, Qp0Policy};
use subnet::{AdapterConfig, Hsma, HsmaOutlet, LhcaId, LogicalPort, NodeConfig, SwitchConfig, Time, UplinkId};
use support::{End, Machine, Q_KEY, SM, lid, segment, world};
use zerocopy::{Immutable, IntoBytes};

/// A hypercall that gets a structure, and perhaps a handle before it.
fn ask<T: IntoBytes + Immutable>(
    machine: &Machine,
    call: Call,
    handle: Option<Handle>,
    what: &T,
) -> Result<u64, Status> {
    // Where hypercalls take structures from: aligned memory whose address is known.
    let mut words = vec![0_u64; size_of::<T>().div_ceil(8)];
    words.as_mut_bytes()[..size_of::<T>()].copy_from_slice(what.as_bytes());
    let address = machine.physical(words.as_ptr().cast());
    let arguments = handle.map_or([address, 0, 0], |Handle(name)| [name.into(), address, 0]);
    match machine.call(call, arguments) {
        (Status::OK, value) => Ok(value),
        (status, _) => Err(status),
    }
}

/// A ring of 16 entries.
fn ring() -> u64 {
    segment(vec![0_u8; 1 << 12].leak()).address.next_multiple_of(64)
}

fn completion_queue(machine: &Machine) -> Handle {
    let config = QueueConfig { ring: ring(), log_entries: 4, vector: 0, reserved: [0; 6] };
    Handle(ask(machine, Call::CREATE_COMPLETION_QUEUE, None, &config).unwrap() as u32)
}

fn pair(queue: Handle) -> QueuePairConfig {
    QueuePairConfig {
        send_ring: ring(),
        receive_ring: ring(),
        send_completions: queue,
        receive_completions: queue,
        kind: QueuePairKind::UD,
        port: 1,
        send_log_entries: 4,
        receive_log_entries: 4,
        vector: 0,
        reserved: [0; 3],
    }
}

#[test]
fn queue_pairs_that_make_no_sense_are_not_created() {
    let (_, machines) = world(1, Policy::default());
    let machine = &machines[0];
    let good = pair(completion_queue(machine));
    let create = |config| ask(machine, Call::CREATE_QUEUE_PAIR, None, &config);
    let cases = [
        (QueuePairConfig { reserved: [0, 0, 1], ..good }, Status::BAD_ARGUMENT),
        (QueuePairConfig { kind: QueuePairKind(3), ..good }, Status::BAD_ARGUMENT),
        (QueuePairConfig { vector: 31, ..good }, Status::BAD_ARGUMENT),
        (QueuePairConfig { send_log_entries: 16, ..good }, Status::BAD_ARGUMENT),
        (QueuePairConfig { receive_ring: good.receive_ring + 8, ..good }, Status::BAD_ADDRESS),
        (QueuePairConfig { send_ring: 0x8000, ..good }, Status::BAD_ADDRESS),
        (QueuePairConfig { send_ring: (1 << 47) - 64, ..good }, Status::BAD_ADDRESS),
        (QueuePairConfig { port: 0, ..good }, Status::BAD_PORT),
        (QueuePairConfig { port: 2, ..good }, Status::BAD_PORT),
        (QueuePairConfig { send_completions: Handle(0), ..good }, Status::BAD_HANDLE),
        (
            QueuePairConfig { receive_completions: Handle(good.send_completions.0 + (1 << 16)), ..good },
            Status::BAD_HANDLE,
        ),
    ];
    for (config, status) in cases {
        assert_eq!(create(config), Err(status), "{config:?}");
    }
    for kind in [QueuePairKind::SMI, QueuePairKind::GSI] {
        let name = create(QueuePairConfig { kind, ..good }).unwrap() & 0xffff_ffff;
        assert_eq!(create(QueuePairConfig { kind, ..good }), Err(Status::EXISTS), "a port has one");
        assert_eq!(machine.call(Call::DESTROY_QUEUE_PAIR, [name, 0, 0]).0, Status::OK);
        create(QueuePairConfig { kind, ..good }).unwrap();
    }
    assert_eq!((0..).find(|_| create(good) == Err(Status::NO_RESOURCES)), Some(64));
}

#[test]
fn a_name_that_is_gone_does_no_harm_to_its_successor() {
    let (_, machines) = world(1, Policy::default());
    let machine = &machines[0];
    let good = pair(completion_queue(machine));
    let create = || ask(machine, Call::CREATE_QUEUE_PAIR, None, &good).unwrap() & 0xffff_ffff;
    let destroy = |name| machine.call(Call::DESTROY_QUEUE_PAIR, [name, 0, 0]).0;
    let first = create();
    assert_eq!(destroy(first), Status::OK);
    let second = create();
    assert_eq!((first & 0xff, first == second), (second & 0xff, false), "the same place, another name");
    assert_eq!(destroy(first), Status::BAD_HANDLE);
    assert_eq!(destroy(second), Status::OK);
}

#[test]
fn keys_change_only_with_a_state_that_has_them() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    for state in [QueuePairState::RESET, QueuePairState::ERROR] {
        let fields = QueuePairFields::STATE | QueuePairFields::Q_KEY;
        let change = QueuePairChange { fields, state, q_key: QKey::new(1), ..QueuePairChange::default() };
        assert_eq!(end.modify(change), Err(Status::BAD_STATE));
    }
    assert_eq!(end.pair.attributes(&end.lhca).unwrap().q_key, QKey::new(Q_KEY), "all or nothing");
}

#[test]
fn groups_that_make_no_sense_are_not_attached_to() {
    let (_, machines) = world(1, Policy::default());
    let machine = &machines[0];
    let (end, gsi) = (End::new(machine, QueuePairKind::UD), End::new(machine, QueuePairKind::GSI));
    let gid = |nth| Gid { prefix: GidPrefix::new(0xff12 << 48), guid: Guid::new(nth) };
    let good = MulticastGroup { gid: gid(0), lid: Lid::new(0xc005), reserved: [0; 6] };
    let attach = |end: &End, group| ask(machine, Call::ATTACH_MULTICAST, Some(end.pair.handle()), &group);
    assert_eq!(attach(&end, MulticastGroup { lid: lid(0), ..good }), Err(Status::BAD_ARGUMENT));
    assert_eq!(attach(&end, MulticastGroup { reserved: [1; 6], ..good }), Err(Status::BAD_ARGUMENT));
    let unicast = Gid { prefix: GidPrefix::DEFAULT, ..gid(0) };
    assert_eq!(attach(&end, MulticastGroup { gid: unicast, ..good }), Err(Status::BAD_ARGUMENT));
    assert_eq!(attach(&gsi, good), Err(Status::BAD_HANDLE));
    attach(&end, good).unwrap();
    assert_eq!(attach(&end, good), Err(Status::EXISTS));
    let more = |nth| attach(&end, MulticastGroup { gid: gid(nth), ..good });
    assert_eq!((1..).find(|&nth| more(nth) == Err(Status::NO_RESOURCES)), Some(16));
    let detach = |group| ask(machine, Call::DETACH_MULTICAST, Some(end.pair.handle()), &group);
    assert_eq!(detach(MulticastGroup { gid: gid(99), ..good }), Err(Status::BAD_ARGUMENT));
}

#[test]
fn memory_that_is_not_there_is_not_registered() {
    let (_, machines) = world(1, Policy::default());
    let physical = ring();
    let good = MemoryRegion { physical, address: 0, length: 64, ..MemoryRegion::default() };
    let register = |region| ask(&machines[0], Call::REGISTER_MEMORY, None, &region);
    for (region, status) in [
        (MemoryRegion { reserved: 1, ..good }, Status::BAD_ARGUMENT),
        (MemoryRegion { length: 0, ..good }, Status::BAD_ARGUMENT),
        (MemoryRegion { access: Access::from_bits_retain(2), ..good }, Status::BAD_ARGUMENT),
        (MemoryRegion { address: u64::MAX - 62, ..good }, Status::BAD_ARGUMENT),
        (MemoryRegion { length: 1 << 60, ..good }, Status::BAD_ADDRESS),
        (MemoryRegion { physical: u64::MAX - 62, ..good }, Status::BAD_ADDRESS),
    ] {
        assert_eq!(register(region), Err(status), "{region:?}");
    }
    assert!(register(MemoryRegion { address: u64::MAX - 64, ..good }).is_ok());
}

/// A sender and a receiver.
fn two() -> (&'static support::World, End, End) {
    let (world, machines) = world(2, Policy { qp0: Qp0Policy::Manager, ..Policy::default() });
    let [from, to] = [0, 1].map(|nth: usize| End::new(&machines[nth], QueuePairKind::UD));
    (world, from, to)
}

fn to(end: &End, payload: &mut [u8]) -> SendEntry {
    let (remote_qp, segment) = (end.pair.number(), segment(payload));
    SendEntry { segments: 1, dlid: lid(1), q_key: Q_KEY.into(), remote_qp, segment, ..SendEntry::default() }
}

fn status(end: &mut End, entry: &SendEntry) -> CompletionStatus {
    end.send(entry);
    end.next().unwrap().status
}

#[test]
fn segments_stay_within_their_regions() {
    let (_, mut from, receiver) = two();
    let mut data = vec![7; 256];
    let physical = segment(&mut data).address;
    let region = MemoryRegion { physical, address: 0x1000, length: 64, ..MemoryRegion::default() };
    let l_key = from.lhca.register(&region).unwrap();
    let good = to(&receiver, &mut data);
    for (address, length, expected) in [
        (0x1000, 64, CompletionStatus::SUCCESS),
        (0x1001, 64, CompletionStatus::PROTECTION),
        (0x0fff, 4, CompletionStatus::PROTECTION),
        (0x1000 + 65, 4, CompletionStatus::PROTECTION),
        (u64::MAX, 4, CompletionStatus::PROTECTION),
    ] {
        let segment = Segment { address, length, l_key };
        assert_eq!(status(&mut from, &SendEntry { segment, ..good }), expected, "{address:#x}");
    }
    let mut list = [segment(&mut data[..8]); 2];
    let list = Segment { address: segment(list.as_mut_bytes()).address + 4, length: 32, l_key: 0 };
    let crooked = SendEntry { flags: WorkFlags::INDIRECT, segment: list, ..good };
    assert_eq!(status(&mut from, &crooked), CompletionStatus::MALFORMED, "a list begins at a multiple of 8");
}

#[test]
fn receive_requests_that_make_no_sense_complete_as_such_and_touch_nothing() {
    let (_, mut from, mut receiver) = two();
    let mut data = vec![7; 64];
    let send = to(&receiver, &mut data);
    let mut room = vec![0xee; 40 + 64];
    let mut good = ReceiveEntry { segments: 1, ..ReceiveEntry::default() };
    good.segment[0] = segment(&mut room);
    let short = Segment { length: 40 + 63, ..good.segment[0] };
    let mut too_short = good;
    too_short.segment[0] = short;
    for (entry, expected) in [
        (ReceiveEntry { reserved: [0, 0, 0, 0, 0, 1], ..good }, CompletionStatus::MALFORMED),
        (ReceiveEntry { flags: WorkFlags::GRH, ..good }, CompletionStatus::MALFORMED),
        (too_short, CompletionStatus::LENGTH),
    ] {
        receiver.pair.receive(&receiver.lhca, &entry).unwrap();
        assert_eq!(status(&mut from, &send), CompletionStatus::SUCCESS);
        assert_eq!(receiver.next().unwrap().status, expected);
        assert!(room.iter().all(|&byte| byte == 0xee));
    }
}

#[test]
fn a_datagram_finds_only_a_queue_pair_for_datagrams() {
    let (world, mut from, receiver) = two();
    let mut data = vec![7; 64];
    let mut smi = End::new(receiver.lhca.platform(), QueuePairKind::SMI);
    let Handle(name) = smi.pair.handle();
    let mut room = vec![0; 40 + 256];
    smi.receive(1, &mut room);
    // The number that its name would stand for if it were one for datagrams.
    let remote_qp = Qpn::new(name >> 16 << 8 | name & 0xff);
    let entry = SendEntry { remote_qp, q_key: QKey::new(0), ..to(&receiver, &mut data) };
    assert_eq!(status(&mut from, &entry), CompletionStatus::SUCCESS, "the sender does not know");
    assert!(smi.next().is_none());
    assert_eq!(world.logical.lock().unwrap().drops(receiver.lhca.platform().id).unwrap().no_queue_pair, 1);
}

#[test]
fn a_queue_pair_receives_at_its_own_port_alone() {
    let switches = [1, 2].map(|nth| SwitchConfig {
        node: NodeConfig::new(Guid::new(nth << 8), "switch"),
        ports: 2,
        enforced_partitions: 0,
    });
    let mut hsma = Hsma::new(&switches).unwrap();
    let config = AdapterConfig {
        node: NodeConfig::new(Guid::new(0x1000), "lhca"),
        port_guids: vec![Guid::new(0x1001), Guid::new(0x1002)],
    };
    let places = [0, 1].map(|nth| LogicalPort { uplink: UplinkId(nth), port: PortNum::new(2) });
    hsma.add(&config, &places).unwrap();
    let (world, machines) = support::world_of(hsma, 1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    let mut room = vec![0; 40 + 64];
    end.receive(1, &mut room);
    let mut header = UdHeader::new(SM, lid(0), Sl::new(0), 64);
    (header.bth.dest_qp, header.deth.q_key) = (end.pair.number(), Q_KEY.into());
    let packet = [header.as_bytes(), &[7; 64]].concat();
    let mut logical = world.logical.lock().unwrap();
    let mut cable = support::Cable::default();
    for (port, arrives) in [(2, false), (1, true)] {
        let (hsma, mut out) = logical.split(Time(1), &mut cable);
        out.deliver(LhcaId(0), hsma.lhca(LhcaId(0)).unwrap(), PortNum::new(port), &packet).unwrap();
        assert_eq!(room[40] == 7, arrives, "port {port}");
    }
}

#[test]
fn a_group_is_known_by_lid_and_gid() {
    let (world, mut from, mut receiver) = two();
    world.ask(iba::mad::Method::SET, iba::mad::AttributeId::MULTICAST_FORWARDING_TABLE, 0, &[], |smp| {
        (smp.data[11], smp.data[13]) = (0b1100, 0b1100);
    });
    let gid = |nth| Gid { prefix: GidPrefix::new(0xff12 << 48), guid: Guid::new(nth) };
    receiver
        .pair
        .attach(&receiver.lhca, &MulticastGroup { gid: gid(1), lid: Lid::new(0xc005), reserved: [0; 6] })
        .unwrap();
    let mut data = vec![7; 64];
    let mut room = vec![0; 40 + 64];
    receiver.receive(1, &mut room);
    let good = to(&receiver, &mut data);
    for (dlid, guid, arrives) in [(0xc005, 2, false), (0xc006, 1, false), (0xc005, 1, true)] {
        let (dlid, destination_gid) = (Lid::new(dlid), gid(guid));
        let entry = SendEntry { flags: WorkFlags::GRH, remote_qp: Qpn::MULTICAST, dlid, destination_gid, ..good };
        assert_eq!(status(&mut from, &entry), CompletionStatus::SUCCESS);
        assert_eq!(receiver.next().is_some(), arrives, "{dlid} {guid}");
    }
}

#[test]
fn management_queue_pairs_send_datagrams_of_management_alone() {
    use CompletionStatus as Is;
    let (world, from, _) = two();
    let machine = from.lhca.platform();
    let mut data = vec![0; 256];
    let segment_of = |data: &mut [u8], length| Segment { length, ..segment(data) };
    let mut gsi = End::new(machine, QueuePairKind::GSI);
    let good =
        SendEntry { segments: 1, dlid: SM, remote_qp: Qpn::GSI, segment: segment(&mut data), ..SendEntry::default() };
    let cases = [
        (good, Is::SUCCESS),
        (SendEntry { segment: segment_of(&mut data, 255), ..good }, Is::LENGTH),
        (SendEntry { segment: segment_of(&mut data, 0), ..good }, Is::LENGTH),
        (SendEntry { flags: WorkFlags::IMMEDIATE, ..good }, Is::MALFORMED),
        (SendEntry { remote_qp: Qpn::SMI, ..good }, Is::BAD_ADDRESS),
        (SendEntry { p_key_index: 5, ..good }, Is::BAD_P_KEY),
        (SendEntry { p_key_index: 99, ..good }, Is::BAD_P_KEY),
    ];
    for (nth, (entry, expected)) in cases.into_iter().enumerate() {
        assert_eq!(status(&mut gsi, &entry), expected, "case {nth}");
    }
    let mut smi = End::new(machine, QueuePairKind::SMI);
    data[..4].copy_from_slice(&[1, 1, 1, 1]); // a question of subnet management
    let good = SendEntry { remote_qp: Qpn::SMI, ..good };
    let cases = [
        (good, Is::SUCCESS),
        (SendEntry { remote_qp: Qpn::GSI, ..good }, Is::BAD_ADDRESS),
        (SendEntry { dlid: Lid::new(0xc001), ..good }, Is::BAD_ADDRESS),
        (SendEntry { flags: WorkFlags::GRH, ..good }, Is::MALFORMED),
    ];
    for (nth, (entry, expected)) in cases.into_iter().enumerate() {
        assert_eq!(status(&mut smi, &entry), expected, "case {nth}");
    }
    assert_eq!(world.take().len(), 2, "nothing else came to the cable");
}

#[test]
fn a_q_key_with_its_upper_bit_set_stands_for_the_queue_pairs_own() {
    let (world, mut from, receiver) = two();
    let mut data = vec![7; 64];
    let beyond = SendEntry { dlid: SM, ..to(&receiver, &mut data) };
    for (asked, sent) in [(5, 5), (1 << 31, Q_KEY), (u32::MAX, Q_KEY)] {
        assert_eq!(status(&mut from, &SendEntry { q_key: asked.into(), ..beyond }), CompletionStatus::SUCCESS);
        // Behind the local route header and the base transport header.
        assert_eq!(world.take()[0][20..24], sent.to_be_bytes());
    }
}

#[test]
fn nothing_of_one_packet_is_in_the_next() {
    let (world, mut from, receiver) = two();
    let mut data = vec![0xff; 64];
    let beyond = SendEntry { dlid: SM, ..to(&receiver, &mut data) };
    let short = SendEntry { segment: Segment { length: 5, ..beyond.segment }, ..beyond };
    for entry in [beyond, short] {
        assert_eq!(status(&mut from, &entry), CompletionStatus::SUCCESS);
    }
    assert_eq!(world.take()[1][28..], [0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]);
}
