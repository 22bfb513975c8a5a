//! Objects of a partition: handles, states, and the completion of each request exactly once.

#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error
#![allow(clippy::cast_possible_truncation)] // the numbers of tests are small
#![allow(unsafe_code)] // writes a ring's control behind the driver's back

mod support;

use std::collections::HashMap;
use std::ptr::with_exposed_provenance;
use std::sync::atomic::{AtomicU32, Ordering};

use iba::{PortNum, QKey};
use lhca_contract::{
    Call, CompletionKind, CompletionStatus, EventKind, QueueConfig, QueuePairChange, QueuePairFields, QueuePairKind,
    QueuePairState as State, SendEntry, Status, ring,
};
use lhca_driver::{EventQueue, Platform};
use lhca_engine::Policy;
use support::{End, PORT, Q_KEY, lid, memory, segment, world};

#[test]
fn the_driver_sees_its_lhca_as_the_subnet_does() {
    let (world, machines) = world(2, Policy::default());
    let lhca = lhca_driver::Lhca::probe(machines[1]).unwrap();
    let (hca, port, info) = (lhca.attributes().unwrap(), lhca.port(PORT).unwrap(), world.port_info(1, &[3]));
    assert_eq!((hca.node_guid.get(), hca.ports), (0x0200_0000_0000_1010, 1));
    assert_eq!((port.guid.get(), port.lid, port.sm_lid), (hca.node_guid.get() + 1, lid(1), support::SM));
    assert_eq!((port.state, port.mtu, port.gid_prefix), (4, 5, info.gid_prefix));
    assert_eq!((lhca.p_key(PORT, 0).unwrap().get(), lhca.guid(PORT, 0).unwrap()), (0xffff, port.guid));
    assert_eq!(lhca.p_key(PORT, 32).unwrap_err().status, Status::BAD_ARGUMENT);
    for port in [0, 2, 255] {
        assert_eq!(lhca.port(PortNum::new(port)).unwrap_err().status, Status::BAD_PORT);
    }
}

#[test]
fn states_follow_the_rules() {
    use State as S;
    let (_, machines) = world(1, Policy::default());
    let path = [S::RESET, S::INIT, S::READY_TO_RECEIVE, S::READY_TO_SEND];
    for (reached, &from) in path.iter().chain([&S::ERROR]).enumerate() {
        for to in [S::RESET, S::INIT, S::READY_TO_RECEIVE, S::READY_TO_SEND, S::ERROR] {
            let mut end = End::with_room(&machines[0], QueuePairKind::UD, 4, 4);
            for &state in path[1..].iter().take(reached) {
                end.to(state).unwrap();
            }
            end.to(from).ok();
            let next = path.iter().position(|&state| state == to) == Some(reached + 1) && from != S::ERROR;
            let same = from == to && matches!(from, S::INIT | S::READY_TO_SEND);
            let expected =
                if matches!(to, S::RESET | S::ERROR) || next || same { Ok(()) } else { Err(Status::BAD_STATE) };
            assert_eq!(end.to(to), expected, "{from:?} to {to:?}");
            let state = end.pair.attributes(&end.lhca).unwrap().state;
            assert_eq!(state, if expected.is_ok() { to } else { from });
            end.pair.destroy(&end.lhca).unwrap();
            end.completions.destroy(&end.lhca).unwrap();
        }
    }
    let mut end = End::with_room(&machines[0], QueuePairKind::UD, 4, 4);
    let p_key = QueuePairFields::P_KEY_INDEX;
    let fields = QueuePairFields::STATE | p_key;
    let wrong = QueuePairChange { fields, state: S::INIT, p_key_index: 32, q_key: QKey::new(0) };
    assert_eq!(end.modify(wrong), Err(Status::BAD_ARGUMENT));
    assert_eq!(end.to(State(9)), Err(Status::BAD_ARGUMENT));
    let mut end = end.ready();
    assert_eq!(end.modify(QueuePairChange { fields: p_key, ..wrong }), Err(Status::BAD_ARGUMENT));
    assert_eq!(end.modify(QueuePairChange { fields: p_key, p_key_index: 1, ..wrong }), Err(Status::BAD_STATE));
    assert_eq!(end.modify(QueuePairChange { fields: QueuePairFields::Q_KEY, ..wrong }), Ok(()));
    let mut gsi = End::new(&machines[0], QueuePairKind::GSI);
    assert_eq!(gsi.modify(QueuePairChange { fields: QueuePairFields::Q_KEY, ..wrong }), Err(Status::BAD_ARGUMENT));
}

#[test]
fn handles_are_refused_when_they_name_nothing_or_another_kind() {
    let (_, machines) = world(1, Policy::default());
    let end = End::new(&machines[0], QueuePairKind::GSI);
    let (pair, queue) = (u64::from(end.pair.handle().0), u64::from(end.completions.handle().0));
    let call = |call, first| machines[0].call(call, [first, 0x10_0000, 0]).0;
    assert_eq!(call(Call::DESTROY_COMPLETION_QUEUE, queue), Status::BUSY);
    assert_eq!(call(Call::DESTROY_COMPLETION_QUEUE, pair), Status::BAD_HANDLE);
    for (which, handle) in [
        (Call::DESTROY_QUEUE_PAIR, queue),
        (Call::DESTROY_QUEUE_PAIR, pair | 1 << 32),
        (Call::QUERY_QUEUE_PAIR, pair ^ 1 << 16),
        (Call::DESTROY_EVENT_QUEUE, queue),
        (Call::ATTACH_MULTICAST, 0),
        (Call::DEREGISTER_MEMORY, 0x1_0000),
        (Call::DOORBELL, 0),
        (Call::DOORBELL, u64::MAX),
    ] {
        let address = segment(vec![0; 64].leak()).address;
        assert_eq!(
            machines[0].call(which, [handle, address & !7, 0]).0,
            match which {
                Call::ATTACH_MULTICAST => Status::BAD_ARGUMENT,
                _ => Status::BAD_HANDLE,
            }
        );
    }
    assert_eq!(machines[0].call(Call(99), [0; 3]).0, Status::UNKNOWN_CALL);
    for address in [0, 0x1_0001, u64::MAX, !7, 1 << 50] {
        for which in [Call::QUERY_HCA, Call::CREATE_QUEUE_PAIR, Call::CREATE_EVENT_QUEUE, Call::REGISTER_MEMORY] {
            assert_eq!(call(which, address), Status::BAD_ADDRESS, "{which:?} {address:#x}");
        }
    }
    let create = |config: QueueConfig| {
        let address = machines[0].physical(std::ptr::from_ref(&config).cast());
        machines[0].call(Call::CREATE_COMPLETION_QUEUE, [address, 0, 0]).0
    };
    let ring = segment(vec![0_u8; 1 << 13].leak()).address.next_multiple_of(64);
    let good = QueueConfig { ring, log_entries: 4, vector: 0, reserved: [0; 6] };
    assert_eq!(create(QueueConfig { ring: ring + 32, ..good }), Status::BAD_ADDRESS);
    assert_eq!(create(QueueConfig { ring: u64::MAX - 63, ..good }), Status::BAD_ADDRESS);
    assert_eq!(create(QueueConfig { log_entries: 0, ..good }), Status::BAD_ARGUMENT);
    assert_eq!(create(QueueConfig { log_entries: 16, ..good }), Status::BAD_ARGUMENT);
    assert_eq!(create(QueueConfig { vector: 31, ..good }), Status::BAD_ARGUMENT);
    assert_eq!(create(QueueConfig { reserved: [1; 6], ..good }), Status::BAD_ARGUMENT);
    assert_eq!(create(good), Status::OK);
    assert_eq!((1..).find(|_| create(good) != Status::OK), Some(63), "64, two of which were there");
}

#[test]
fn what_is_posted_in_error_is_flushed_and_in_reset_forgotten() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    let mut room = vec![0; 64];
    for id in 0..3 {
        end.receive(id, &mut room);
    }
    end.to(State::ERROR).unwrap();
    end.send(&SendEntry { id: 3, ..SendEntry::default() });
    end.receive(4, &mut room);
    let flushed: Vec<_> = std::iter::from_fn(|| end.next()).map(|done| (done.id, done.status)).collect();
    assert_eq!(flushed, [0, 1, 2, 3, 4].map(|id| (id, CompletionStatus::FLUSHED)));
    end.to(State::RESET).unwrap();
    let mut end = end.ready();
    end.receive(5, &mut room);
    end.to(State::RESET).unwrap();
    for id in 6..22 {
        end.receive(id, &mut room); // there is room for as many as there can be
    }
    assert_eq!(end.next(), None);
}

#[test]
fn an_index_that_jumps_puts_the_queue_pair_in_error() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    let mut events = EventQueue::create(&end.lhca, memory(2), 0).unwrap();
    let produced = with_exposed_provenance::<AtomicU32>(end.send_memory as usize + ring::PRODUCED);
    // SAFETY: the ring was leaked, and is reached by atomics only.
    unsafe { &*produced }.store(17, Ordering::SeqCst);
    let handle = end.pair.handle().0;
    assert_eq!(machines[0].call(Call::DOORBELL, [handle.into(), 0, 0]).0, Status::OK);
    let event = events.next(&end.lhca).unwrap();
    assert_eq!((event.kind, event.source), (EventKind::QUEUE_PAIR_ERROR, handle));
    assert_eq!(end.pair.attributes(&end.lhca).unwrap().state, State::ERROR);
    assert_eq!(end.next(), None);
}

#[test]
fn what_the_hypervisor_wrote_it_does_not_read_back() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::new(&machines[0], QueuePairKind::UD);
    let mut payload = vec![0; 8];
    let word = |ring: u64, offset: usize| with_exposed_provenance::<AtomicU32>(ring as usize + offset);
    let words = [word(end.send_memory, ring::CONSUMED), word(end.completion_memory, ring::PRODUCED)];
    // SAFETY: the rings were leaked, and are reached by atomics only.
    let words = words.map(|word| unsafe { &*word });
    for (nth, scribble) in [0, 1, 17, 200, u32::MAX].into_iter().enumerate() {
        words.iter().for_each(|word| word.store(scribble, Ordering::SeqCst));
        let id = nth as u64;
        end.send(&SendEntry { id, ..lost(&mut payload) });
        assert_eq!(words.map(|word| word.load(Ordering::SeqCst)), [nth as u32 + 1; 2]);
        assert_eq!(end.next().map(|done| (done.id, done.status)), Some((id, CompletionStatus::SUCCESS)));
    }
}

/// A datagram for a queue pair that is not there.
fn lost(payload: &mut [u8]) -> SendEntry {
    let (dlid, remote_qp, segment) = (lid(0), 0x99.into(), segment(payload));
    SendEntry { segments: 1, dlid, remote_qp, segment, ..SendEntry::default() }
}

#[test]
fn completions_wait_for_room_and_none_is_lost() {
    let (world, machines) = world(1, Policy::default());
    let mut end = End::with_room(&machines[0], QueuePairKind::UD, 4, 1).ready();
    let mut payload = vec![0; 8];
    for id in 0..16 {
        end.send(&SendEntry { id, ..lost(&mut payload) });
    }
    let ids: Vec<_> = std::iter::from_fn(|| end.next()).map(|done| done.id).collect();
    assert_eq!(ids, (0..16).collect::<Vec<_>>());
    assert_eq!(world.logical.lock().unwrap().drops(machines[0].id).unwrap().no_queue_pair, 16);
}

#[test]
fn room_that_is_asked_for_is_told_of_by_an_interrupt() {
    let (_, machines) = world(1, Policy::default());
    let mut end = End::with_room(&machines[0], QueuePairKind::UD, 1, 1).ready();
    let mut payload = vec![0; 8];
    for id in 0..4 {
        end.send(&SendEntry { id, ..lost(&mut payload) }); // two complete, and two wait for room
    }
    let told = || core::mem::take(&mut *machines[0].guest.interrupts.lock().unwrap());
    assert!(told().contains(&support::CQ_VECTOR), "the first completion: both sides' event indices begin at 0");
    assert!(!end.pair.arm_send_room(), "there is none yet");
    assert_eq!(end.next().unwrap().id, 0);
    assert_eq!(told(), [support::ROOM_VECTOR], "a completion has room, so that a request was taken");
    assert_eq!(end.next().unwrap().id, 1);
    assert!(told().is_empty(), "that was not asked for again");
}

#[test]
fn a_long_queue_is_served_in_turns() {
    let (world, machines) = world(1, Policy::default());
    let mut end = End::with_room(&machines[0], QueuePairKind::UD, 8, 8);
    let mut payload = vec![0; 8];
    for id in 0..200 {
        end.send(&SendEntry { id, ..lost(&mut payload) });
    }
    let mut end = end.ready();
    let mut turns = vec![std::iter::from_fn(|| end.next()).count()];
    while world.serve() {
        turns.push(std::iter::from_fn(|| end.next()).count());
    }
    turns.push(std::iter::from_fn(|| end.next()).count());
    // Who takes the first completion rings, because each side begins with event index 0.
    assert_eq!(turns, [64 + 64, 64, 8]);
}

/// Posts, completions, state changes and keys by chance: each request that was posted completes once, or is forgotten
/// by a reset.
#[test]
fn each_request_completes_exactly_once_whatever_happens() {
    let (_, machines) = world(2, Policy::default());
    let mut ends = [0, 1].map(|nth: usize| End::with_room(&machines[nth], QueuePairKind::UD, 4, 3).ready());
    let mut rooms = vec![0_u8; 128];
    let mut open: [HashMap<u64, CompletionKind>; 2] = Default::default();
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut id, mut completed) = (0, 0);
    for _ in 0..40_000 {
        let at = next(2) as usize;
        let number = ends[1 - at].pair.number();
        let end = &mut ends[at];
        id += 1;
        match next(100) {
            0..40 if end.pair.send_room() > 0 => {
                let q_key = QKey::new(Q_KEY + u32::from(next(4) == 0));
                let length = [8, 64, 90, 5000][next(4) as usize];
                let mut segment = segment(&mut rooms);
                segment.length = length;
                let dlid = lid(next(3) as u16);
                open[at].insert(id, CompletionKind::SEND);
                end.send(&SendEntry {
                    id,
                    q_key,
                    segments: 1,
                    dlid,
                    remote_qp: number,
                    segment,
                    ..SendEntry::default()
                });
            }
            40..70 if end.pair.receive_room() > 0 => {
                open[at].insert(id, CompletionKind::RECEIVE);
                end.receive(id, &mut rooms);
            }
            70..98 => {
                while let Some(done) = end.next() {
                    assert_eq!(open[at].remove(&done.id), Some(done.kind));
                    completed += 1;
                }
            }
            98 => end.to(State::ERROR).unwrap(),
            99 => {
                end.to(State::RESET).unwrap();
                while let Some(done) = end.next() {
                    assert_eq!(open[at].remove(&done.id), Some(done.kind));
                }
                open[at].clear();
                let fields = QueuePairFields::STATE;
                for state in [State::INIT, State::READY_TO_RECEIVE, State::READY_TO_SEND] {
                    end.modify(QueuePairChange { fields, state, ..QueuePairChange::default() }).unwrap();
                }
            }
            _ => {}
        }
    }
    assert!(completed > 10_000, "{completed}");
    for (end, open) in ends.iter_mut().zip(&mut open) {
        end.to(State::ERROR).unwrap();
        while let Some(done) = end.next() {
            open.remove(&done.id).unwrap();
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
