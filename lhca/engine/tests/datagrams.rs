//! Datagrams between partitions, and between a partition and the cable.

#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error
#![allow(clippy::cast_possible_truncation)] // the numbers of tests are small

mod support;

use std::sync::atomic::Ordering;

use iba::mad::{Class, Mad, MadHeader, Method};
use iba::packet::MadPacket;
use iba::{Gid, GidPrefix, Guid, Lid, QKey, Qpn, Sl, TransactionId};
use lhca_contract::{
    Access, CompletionFlags, CompletionKind, CompletionStatus, MemoryRegion, MulticastGroup, QueuePairKind,
    ReceiveEntry, Segment, SendEntry, WorkFlags,
};
use lhca_engine::Policy;
use support::{End, Q_KEY, SM, lid, segment, world};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

fn entry(to: &End, at: Lid, payload: &mut [u8]) -> SendEntry {
    let (q_key, remote_qp) = (QKey::new(Q_KEY), to.pair.number());
    SendEntry { id: 7, segments: 1, dlid: at, q_key, remote_qp, segment: segment(payload), ..SendEntry::default() }
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|nth| ((nth * 7 + seed) % 251) as u8).collect()
}

#[test]
fn every_size_arrives_with_and_without_grh_and_immediate_data() {
    let (world, machines) = world(2, Policy::default());
    let (mut from, mut to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    for (round, length) in (0..=4096).step_by(37).chain([1, 2, 3, 4, 5, 4093, 4094, 4095, 4096]).enumerate() {
        let flags = [WorkFlags::empty(), WorkFlags::GRH, WorkFlags::IMMEDIATE, WorkFlags::GRH | WorkFlags::IMMEDIATE];
        let flags = flags[round % 4];
        let mut payload = pattern(length, round);
        let mut room = vec![0xee; 40 + 4096];
        to.receive(round as u64, &mut room);
        let destination_gid = Gid { prefix: GidPrefix::DEFAULT, guid: Guid::new(0x0200_0000_0000_1011) };
        let mut entry = SendEntry { flags, sl: Sl::new(0), immediate: *b"abcd", ..entry(&to, lid(1), &mut payload) };
        if flags.contains(WorkFlags::GRH) {
            entry.destination_gid = destination_gid;
        }
        from.send(&entry);
        let sent = from.next().unwrap();
        assert_eq!((sent.id, sent.kind, sent.status), (7, CompletionKind::SEND, CompletionStatus::SUCCESS));
        let got = to.next().unwrap();
        assert_eq!((got.id, got.kind, got.status), (round as u64, CompletionKind::RECEIVE, CompletionStatus::SUCCESS));
        assert_eq!((got.length as usize, got.slid, got.source_qp), (40 + length, lid(0), from.pair.number()));
        assert_eq!(&room[40..40 + length], &payload, "{length} bytes");
        assert!(room[40 + length..].iter().all(|&byte| byte == 0xee), "nothing behind the end");
        assert_eq!(got.flags.contains(CompletionFlags::GRH), flags.contains(WorkFlags::GRH));
        if flags.contains(WorkFlags::GRH) {
            assert_eq!(room[24..40], *destination_gid.as_bytes());
        } else {
            assert_eq!(room[..40], [0xee; 40]);
        }
        let immediate = if flags.contains(WorkFlags::IMMEDIATE) { *b"abcd" } else { [0; 4] };
        assert_eq!(got.immediate, immediate);
        assert!(from.next().is_none() && to.next().is_none());
    }
    assert!(world.take().is_empty(), "nothing of it came to the cable");
}

#[test]
fn a_partition_reaches_itself() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    let (mut payload, mut room) = (pattern(100, 1), vec![0; 140]);
    end.receive(1, &mut room);
    let entry = entry(&end, lid(0), &mut payload);
    end.send(&entry);
    let kinds = [end.next().unwrap().kind, end.next().unwrap().kind];
    assert_eq!(kinds, [CompletionKind::SEND, CompletionKind::RECEIVE]);
    assert_eq!(&room[40..], &payload);
}

#[test]
fn a_management_datagram_from_the_cable_is_answered_over_it() {
    let (world, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::GSI);
    let mut room = vec![0; 40 + 256];
    end.receive(1, &mut room);
    let mut mad = Mad::new_zeroed();
    mad.header.base_version = MadHeader::BASE_VERSION;
    (mad.header.class, mad.header.method) = (Class::new(0x32), Method::GET);
    mad.header.transaction_id = TransactionId::new(99);
    world.receive(MadPacket::new(SM, lid(0), Sl::new(0), mad).as_bytes());
    let got = end.next().unwrap();
    assert_eq!((got.slid, got.source_qp, got.length), (SM, Qpn::GSI, 296));
    let mut answer = Mad::read_from_bytes(&room[40..]).unwrap();
    answer.header.method = Method::GET_RESP;
    let mut bytes = answer.as_bytes().to_vec();
    end.send(&SendEntry {
        dlid: got.slid,
        q_key: QKey::GSI,
        remote_qp: got.source_qp,
        segments: 1,
        segment: segment(&mut bytes),
        ..SendEntry::default()
    });
    assert_eq!(end.next().unwrap().status, CompletionStatus::SUCCESS);
    let [packet] = &world.take()[..] else { panic!("one packet") };
    let mut expected = MadPacket::new(lid(0), SM, Sl::new(0), answer);
    expected.header.bth.psn = MadPacket::ref_from_bytes(packet).unwrap().header.bth.psn;
    assert_eq!(packet, expected.as_bytes());
}

#[test]
fn segments_are_gathered_and_scattered_within_their_regions() {
    let (_, machines) = world(2, Policy::default());
    let (mut from, mut to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    let mut data = pattern(64, 0);
    let physical = segment(&mut data).address;
    let l_key =
        from.lhca.register(&MemoryRegion { physical, address: 0x1000, length: 64, ..MemoryRegion::default() }).unwrap();
    let mut list =
        [10_u64, 0, 54].map(|length| Segment { address: 0x1000 + 64 - length, length: length as u32, l_key });
    let mut room = vec![0; 200];
    let room_at = segment(&mut room).address;
    let region = MemoryRegion { physical: room_at, address: room_at, length: 200, ..MemoryRegion::default() };
    let writable = to.lhca.register(&MemoryRegion { access: Access::LOCAL_WRITE, ..region }).unwrap();
    let read_only = to.lhca.register(&region).unwrap();
    let parts =
        |l_key| [(0, 30), (100, 30), (130, 70)].map(|(at, length)| Segment { address: room_at + at, length, l_key });
    let mut send = entry(&to, lid(1), list.as_mut_bytes());
    (send.flags, send.segments) = (WorkFlags::INDIRECT, 3);
    for (l_key, status) in [(writable, CompletionStatus::SUCCESS), (read_only, CompletionStatus::PROTECTION)] {
        let receive = ReceiveEntry { segments: 3, segment: parts(l_key), ..ReceiveEntry::default() };
        to.pair.receive(&to.lhca, &receive).unwrap();
        from.send(&send);
        assert_eq!(from.next().unwrap().status, CompletionStatus::SUCCESS);
        assert_eq!(to.next().unwrap().status, status);
    }
    let expected = [&data[54..64], &data[10..64]].concat();
    assert_eq!(room[110..174], expected);
    from.lhca.deregister(l_key).unwrap();
    from.send(&send);
    assert_eq!(from.next().unwrap().status, CompletionStatus::PROTECTION);
}

#[test]
fn a_wrong_request_completes_with_a_named_error() {
    use CompletionStatus as Is;
    let (world, machines) = world(2, Policy::default());
    let (mut from, to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    let mut payload = pattern(64, 0);
    let good = entry(&to, lid(1), &mut payload);
    let with = |change: fn(&mut SendEntry)| {
        let mut entry = good;
        change(&mut entry);
        entry
    };
    let multicast = with(|entry| (entry.dlid, entry.remote_qp) = (Lid::new(0xc005), Qpn::MULTICAST));
    let cases = [
        (good, Is::SUCCESS),
        (with(|entry| entry.segments = 3), Is::MALFORMED),
        (with(|entry| (entry.flags, entry.segments) = (WorkFlags::GRH, 2)), Is::MALFORMED),
        (with(|entry| entry.flags = WorkFlags::from_bits_retain(0x80)), Is::MALFORMED),
        (with(|entry| (entry.flags, entry.segments) = (WorkFlags::INDIRECT, 17)), Is::MALFORMED),
        (with(|entry| (entry.flags, entry.segment.length) = (WorkFlags::INDIRECT, 15)), Is::MALFORMED),
        (with(|entry| entry.sl = Sl::new(16)), Is::MALFORMED),
        (with(|entry| entry.segment.address = u64::MAX - 5), Is::PROTECTION),
        (with(|entry| entry.segment.address = 0x1000), Is::PROTECTION),
        (with(|entry| entry.segment.l_key = 0x1_0000), Is::PROTECTION),
        (with(|entry| entry.segment.length = 4097), Is::LENGTH),
        (with(|entry| entry.segment.length = u32::MAX), Is::LENGTH),
        (with(|entry| entry.dlid = Lid::UNASSIGNED), Is::BAD_ADDRESS),
        (with(|entry| entry.dlid = Lid::PERMISSIVE), Is::BAD_ADDRESS),
        (with(|entry| entry.remote_qp = Qpn::SMI), Is::BAD_ADDRESS),
        (with(|entry| entry.source_path = 1), Is::BAD_ADDRESS),
        (with(|entry| (entry.flags, entry.grh_word[0]) = (WorkFlags::GRH, 0x30)), Is::BAD_ADDRESS),
        (multicast, Is::BAD_ADDRESS),
    ];
    for (nth, (entry, status)) in cases.into_iter().enumerate() {
        from.send(&entry);
        assert_eq!(from.next().unwrap().status, status, "case {nth}");
        assert!(from.next().is_none());
    }
    world.set_port(1, &[2], |info| info.set_port_state(iba::attr::PortState::DOWN));
    from.send(&good);
    assert_eq!(from.next().unwrap().status, Is::PORT_DOWN);
}

#[test]
fn keys_that_do_not_fit_are_counted_and_told() {
    let (world, machines) = world(2, Policy::default());
    let (mut from, mut to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    let (mut payload, mut room) = (pattern(64, 0), vec![0; 200]);
    to.receive(1, &mut room);
    from.send(&SendEntry { q_key: QKey::new(Q_KEY + 1), ..entry(&to, lid(1), &mut payload) });
    assert_eq!(from.next().unwrap().status, CompletionStatus::SUCCESS, "the sender does not know");
    assert!(to.next().is_none());
    assert_eq!(to.lhca.port(support::PORT).unwrap().q_key_violations, 1);
    let traps = world.take();
    let trap = iba::packet::SmpPacket::ref_from_bytes(&traps[0]).unwrap();
    assert_eq!((traps.len(), trap.smp.header.method, trap.header.lrh.slid), (1, Method::TRAP, lid(1)));
    // With the upper bit set, the queue pair's own goes.
    from.send(&SendEntry { q_key: QKey::new(1 << 31), ..entry(&to, lid(1), &mut payload) });
    assert_eq!(to.next().unwrap().id, 1);
}

#[test]
fn what_was_meant_for_a_partition_does_not_reach_its_successor() {
    let (world, machines) = world(2, Policy::default());
    let mut from = End::new(&machines[0], QueuePairKind::UD);
    let (mut payload, mut room) = (pattern(64, 0), vec![0; 200]);
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let mut to = End::new(&machines[1], QueuePairKind::UD);
        to.receive(1, &mut room);
        for &remote_qp in &numbers {
            from.send(&SendEntry { remote_qp, ..entry(&to, lid(1), &mut payload) });
            assert_eq!(from.next().unwrap().status, CompletionStatus::SUCCESS, "the sender does not know");
            assert!(to.next().is_none(), "{remote_qp} reaches the successor");
        }
        from.send(&entry(&to, lid(1), &mut payload));
        assert_eq!(from.next().unwrap().status, CompletionStatus::SUCCESS);
        assert_eq!(to.next().unwrap().id, 1);
        numbers.push(to.pair.number());
        world.restart(&machines[1]);
    }
}

#[test]
fn a_datagram_to_a_group_comes_to_each_member_once() {
    let (world, machines) = world(3, Policy::default());
    let group_lid = Lid::new(0xc005);
    world.ask(Method::SET, iba::mad::AttributeId::MULTICAST_FORWARDING_TABLE, 0, &[], |smp| {
        smp.data[11] = 0b1_1110; // the uplink and the three LHCAs
    });
    world.take();
    let mut ends: Vec<_> = machines.iter().map(|machine| End::new(machine, QueuePairKind::UD)).collect();
    let gid = Gid { prefix: GidPrefix::new(0xff12 << 48), guid: Guid::new(5) };
    let group = MulticastGroup { gid, lid: group_lid, reserved: [0; 6] };
    let mut rooms = vec![vec![0; 200]; 3];
    for (end, room) in ends.iter_mut().zip(&mut rooms) {
        end.pair.attach(&end.lhca, &group).unwrap();
        end.receive(1, room);
    }
    ends[2].pair.detach(&ends[2].lhca, &group).unwrap();
    let mut payload = pattern(64, 0);
    let send = SendEntry {
        flags: WorkFlags::GRH,
        remote_qp: Qpn::MULTICAST,
        destination_gid: gid,
        ..entry(&ends[0], group_lid, &mut payload)
    };
    ends[0].send(&send);
    assert_eq!(ends[0].next().unwrap().kind, CompletionKind::SEND);
    for end in &mut ends[..2] {
        assert_eq!(end.next().unwrap().kind, CompletionKind::RECEIVE);
        assert!(end.next().is_none());
    }
    assert!(ends[2].next().is_none(), "no member any more");
    assert!(rooms[..2].iter().all(|room| room[40..104] == payload[..]));
    assert_eq!(world.take().len(), 1, "and once over the cable");
}

#[test]
fn partitions_under_load_do_not_notify() {
    let (world, machines) = world(2, Policy::default());
    world.logical.lock().unwrap().start_polling();
    let (mut from, mut to) = (End::new(&machines[0], QueuePairKind::UD), End::new(&machines[1], QueuePairKind::UD));
    let (mut payload, mut room) = (pattern(64, 1), vec![0; 40 + 64]);
    let before = world.bells.load(Ordering::Relaxed);
    let mut round = || {
        world.now.fetch_add(1_000, Ordering::Relaxed);
        to.receive(1, &mut room);
        let entry = entry(&to, lid(1), &mut payload);
        from.send(&entry);
        let busy = world.serve();
        let done = [&mut from, &mut to].map(|end| end.next().map(|done| done.status));
        assert_eq!(done, [Some(CompletionStatus::SUCCESS); 2]);
        busy
    };
    let rounds: Vec<_> = (0..1_000).map(|_| round()).collect();
    let rung = world.bells.load(Ordering::Relaxed) - before;
    assert!(rung < 100, "{rung} times for 1000 datagrams");
    assert!(!rounds[0] && rounds[999], "first it is served when it rings, then it is watched");

    world.now.fetch_add(1_000_000_000, Ordering::Relaxed);
    assert!(world.serve(), "no processor polled it");
    let is_quiet = || {
        (0..1_000).any(|_| {
            world.now.fetch_add(1_000_000, Ordering::Relaxed);
            !world.serve()
        })
    };
    assert!(is_quiet(), "it was looked at, and had nothing to send");
    let rung = world.bells.load(Ordering::Relaxed);
    assert!(round(), "it is watched again with its first ring");
    assert_eq!(world.bells.load(Ordering::Relaxed), rung + 1);
    assert!(is_quiet());
    world.now.fetch_add(1_000_000_000, Ordering::Relaxed);
    assert!(!round(), "that was long ago");
}

#[test]
fn polled_partition_delays_no_other() {
    let (world, machines) = world(3, Policy::default());
    world.logical.lock().unwrap().start_polling();
    let mut ends: Vec<_> =
        machines.iter().map(|machine| End::with_room(machine, QueuePairKind::UD, 10, 11).ready()).collect();
    let mut payload = vec![0; 8];
    let lost = SendEntry {
        segments: 1,
        dlid: lid(0),
        remote_qp: 0x99.into(),
        segment: segment(&mut payload),
        ..SendEntry::default()
    };
    for end in &mut ends {
        (0..200).for_each(|_| end.send(&lost));
    }
    let mut completed: [_; 3] = [0; 3];
    for turn in 0..12 {
        let more = ends.iter_mut().map(|end| std::iter::from_fn(|| end.next()).count());
        let more: Vec<_> = more.collect();
        assert!(turn == 0 || more.iter().filter(|&&count| count > 0).count() <= 1, "one at a time: {more:?}");
        assert!(turn == 0 || more.iter().all(|&count| count <= 64), "and one batch: {more:?}");
        completed.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        world.serve();
    }
    assert_eq!(completed, [200; 3]);
    let mut logical = world.logical.lock().unwrap();
    let mut cable = support::Cable::default();
    logical.detach(subnet::Time(1), machines[0].id, &mut cable);
    assert!(logical.has_pending(), "the others are still watched");
    for machine in &machines[1..] {
        logical.detach(subnet::Time(1), machine.id, &mut cable);
    }
    assert!(!logical.has_pending());
}
