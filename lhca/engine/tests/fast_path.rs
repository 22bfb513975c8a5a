//! The short way of datagrams between partitions leads where the long way leads. What takes the long way here is the
//! same datagram in two pieces of memory.
#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error
#![allow(clippy::cast_possible_truncation)] // the numbers of tests are small

mod support;

use iba::attr::PortState;
use iba::mad::{AttributeId, Method};
use iba::{Lid, PKey, QKey, Sl};
use lhca_contract::{
    Completion, CompletionStatus, QueuePairChange, QueuePairFields, QueuePairKind, QueuePairState, ReceiveEntry,
    Segment, SendEntry, WorkFlags,
};
use lhca_engine::Policy;
use subnet::LhcaId;
use support::{End, PORT, Q_KEY, UPLINK, World, lid, segment, world};

struct Pair {
    world: &'static World,
    from: End,
    to: End,
}

impl Pair {
    fn new() -> Self {
        let (world, machines) = world(2, Policy::default());
        let ends = |nth: usize| End::new(&machines[nth], QueuePairKind::UD);
        Self { world, from: ends(0), to: ends(1) }
    }

    /// Sends `payload`, in one segment or in two. Returns both completions and the data that arrived.
    fn send(&mut self, payload: &mut [u8], pieces: u8, flags: WorkFlags, q_key: u32) -> Outcome {
        let mut room = vec![0xee; 40 + 5000];
        self.to.receive(1, &mut room);
        let (q_key, remote_qp, dlid) = (QKey::new(q_key), self.to.pair.number(), lid(1));
        let (first, second) = payload.split_at_mut(if pieces == 1 { payload.len() } else { payload.len() / 2 });
        let mut entry = SendEntry {
            id: 7,
            flags,
            segments: pieces,
            dlid,
            sl: Sl::new(0),
            q_key,
            remote_qp,
            immediate: *b"abcd",
            segment: segment(first),
            ..SendEntry::default()
        };
        if pieces == 2 {
            entry.set_second_segment(segment(second));
        }
        let before = self.passed();
        self.from.send(&entry);
        let passed = self.passed().into_iter().zip(before).map(|(now, then)| [now[0] - then[0], now[1] - then[1]]);
        let outcome = Outcome { sent: self.from.next(), got: self.to.next(), room, passed: passed.collect() };
        assert!(outcome.got.is_some() || outcome.room.iter().all(|&byte| byte == 0xee));
        if outcome.got.is_none() {
            self.drain();
        }
        outcome
    }

    /// Takes what is still posted at the receiver away.
    fn drain(&mut self) {
        self.to.to(QueuePairState::RESET).unwrap();
        let fields = QueuePairFields::all();
        let (state, q_key) = (QueuePairState::INIT, Q_KEY.into());
        self.to.modify(QueuePairChange { fields, state, p_key_index: 0, q_key }).unwrap();
        self.to.to(QueuePairState::READY_TO_RECEIVE).unwrap();
        self.to.to(QueuePairState::READY_TO_SEND).unwrap();
    }

    /// Words and packets that each port sent and received, from one adapter by the switch to the other.
    fn passed(&self) -> Vec<[u64; 2]> {
        let (mut logical, mut cable) = (self.world.logical.lock().unwrap(), self.world.cable.lock().unwrap());
        logical.split(self.world.time(), &mut *cable).0.apply_deferred();
        let hsma = logical.hsma();
        let adapters = [0, 1].map(|nth| hsma.lhca(LhcaId(nth)).unwrap().counters(PORT).unwrap());
        let switch = hsma.switch(UPLINK).unwrap();
        let ports = [2, 3].map(|port| switch.counters(iba::PortNum::new(port)).unwrap());
        adapters
            .into_iter()
            .chain(ports)
            .flat_map(|counters| {
                let all = counters.total();
                [[all.xmit_data, all.xmit_packets], [all.rcv_data, all.unicast_rcv_packets]]
            })
            .collect()
    }

    /// Neither way leads to the receiver, and both say the same.
    fn assert_both_fail(&mut self, q_key: u32) -> Option<CompletionStatus> {
        let [one, two] = [1, 2].map(|pieces| self.send(&mut [1; 64], pieces, WorkFlags::empty(), q_key));
        assert_eq!((one.sent, one.got), (two.sent, two.got));
        assert_eq!(one.got, None);
        one.sent.map(|sent| sent.status)
    }

    fn assert_arrives(&mut self) {
        assert!(self.send(&mut [1; 64], 1, WorkFlags::empty(), Q_KEY).got.is_some());
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    sent: Option<Completion>,
    got: Option<Completion>,
    room: Vec<u8>,
    passed: Vec<[u64; 2]>,
}

#[test]
fn both_ways_lead_to_the_same() {
    let mut pair = Pair::new();
    for (length, flags) in (0..=4096).step_by(61).chain([1, 3, 4095, 4096]).zip(
        [WorkFlags::empty(), WorkFlags::IMMEDIATE, WorkFlags::SOLICITED, WorkFlags::IMMEDIATE | WorkFlags::SOLICITED]
            .into_iter()
            .cycle(),
    ) {
        let mut payload: Vec<u8> = (0..length).map(|nth| (nth * 7 % 251) as u8).collect();
        let one = pair.send(&mut payload, 1, flags, Q_KEY);
        let two = pair.send(&mut payload, 2, flags, Q_KEY);
        assert_eq!(one, two, "{length} bytes, {flags:?}");
        assert_eq!(one.got.unwrap().length as usize, 40 + length);
        assert_eq!(one.room[40..40 + length], payload);
        assert_eq!(one.passed.iter().filter(|passed| passed[1] == 1).count(), 4, "at each of four ports once");
    }
}

#[test]
fn what_is_too_long_fails_on_both() {
    let mut pair = Pair::new();
    pair.assert_arrives();
    let [one, two] = [1, 2].map(|pieces| pair.send(&mut [1; 4097], pieces, WorkFlags::empty(), Q_KEY));
    assert_eq!(one, two);
    assert_eq!(one.sent.unwrap().status, CompletionStatus::LENGTH);
}

#[test]
fn a_wrong_q_key_is_refused_and_counted_on_both() {
    let mut pair = Pair::new();
    pair.assert_arrives();
    let violations = |pair: &Pair| {
        let logical = pair.world.logical.lock().unwrap();
        logical.hsma().lhca(LhcaId(1)).unwrap().port_info(PORT).unwrap().q_key_violations.get()
    };
    assert_eq!(violations(&pair), 0);
    assert_eq!(pair.assert_both_fail(Q_KEY + 1), Some(CompletionStatus::SUCCESS), "a datagram is not acknowledged");
    assert_eq!(violations(&pair), 2);
    pair.assert_arrives();
}

#[test]
fn a_way_that_was_found_ends_with_what_it_depends_on() {
    let mut pair = Pair::new();
    let set_routes = |pair: &Pair, to_second: u8| {
        pair.world.ask(Method::SET, AttributeId::LINEAR_FORWARDING_TABLE, 0, &[], |smp| {
            smp.data.fill(0xff);
            (smp.data[1], smp.data[3], smp.data[10], smp.data[11]) = (1, 0, 2, to_second);
        });
    };
    pair.assert_arrives();
    set_routes(&pair, 0xff);
    pair.assert_both_fail(Q_KEY);
    set_routes(&pair, 3);
    pair.assert_arrives();

    let set_key = |pair: &Pair, port: u8, key: u16| {
        pair.world.ask(Method::SET, AttributeId::P_KEY_TABLE, 0, &[port], |smp| {
            smp.data.fill(0);
            smp.data[..2].copy_from_slice(&key.to_be_bytes());
        });
    };
    for port in [2, 3] {
        set_key(&pair, port, PKey::new(0x8123).get());
        pair.assert_both_fail(Q_KEY);
        set_key(&pair, port, PKey::DEFAULT.get());
        pair.assert_arrives();
    }

    pair.world.set_port(1, &[3], |info| info.lid = Lid::new(20));
    pair.assert_both_fail(Q_KEY);
    pair.world.set_port(1, &[3], |info| info.lid = lid(1));
    pair.assert_arrives();

    pair.world.set_port(3, &[], |info| info.set_port_state(PortState::DOWN));
    pair.assert_both_fail(Q_KEY);
}

#[test]
fn a_q_key_that_changes_at_either_end_counts_at_once() {
    /// The sender's own goes instead (10.2.5).
    const OWN: u32 = 1 << 31;
    let mut pair = Pair::new();
    let set_key = |end: &mut End, key: u32| {
        let fields = QueuePairFields::STATE | QueuePairFields::Q_KEY;
        let (state, q_key) = (QueuePairState::READY_TO_SEND, key.into());
        end.modify(QueuePairChange { fields, state, q_key, p_key_index: 0 }).unwrap();
    };
    let arrives = |pair: &mut Pair| pair.send(&mut [1; 64], 1, WorkFlags::empty(), OWN).got.is_some();
    assert!(arrives(&mut pair));
    set_key(&mut pair.from, Q_KEY + 1);
    pair.assert_both_fail(OWN);
    set_key(&mut pair.from, Q_KEY);
    assert!(arrives(&mut pair));
    set_key(&mut pair.to, Q_KEY + 1);
    assert!(!arrives(&mut pair));
    assert!(arrives(&mut pair), "the receiver has its key again");
}

#[test]
fn switches_that_look_at_p_keys_are_asked_once_and_again_when_they_change() {
    let mut pair = Pair::new();
    let own = pair.send(&mut [1; 64], 1, WorkFlags::empty(), Q_KEY);
    let set_keys = |pair: &Pair, key: u16| {
        for port in [2_u32, 3] {
            pair.world.ask(Method::SET, AttributeId::P_KEY_TABLE, port << 16, &[], |smp| {
                smp.data.fill(0);
                smp.data[..2].copy_from_slice(&key.to_be_bytes());
            });
        }
    };
    set_keys(&pair, 0xffff);
    for port in [2, 3] {
        pair.world.set_port(port, &[], |info| {
            info.set_partition_enforcement_inbound(true);
            info.set_partition_enforcement_outbound(true);
        });
    }
    let looked_at = pair.send(&mut [1; 64], 1, WorkFlags::empty(), Q_KEY);
    assert_eq!((own.sent, own.got), (looked_at.sent, looked_at.got));
    set_keys(&pair, 0x8123);
    pair.assert_both_fail(Q_KEY);
    set_keys(&pair, 0xffff);
    pair.assert_arrives();
}

#[test]
fn a_receiver_that_stops_receives_no_more() {
    let mut pair = Pair::new();
    pair.assert_arrives();
    pair.to.to(QueuePairState::RESET).unwrap();
    let sent = pair.send(&mut [1; 64], 1, WorkFlags::empty(), Q_KEY);
    assert_eq!((sent.got, sent.sent.unwrap().status), (None, CompletionStatus::SUCCESS));
    pair.assert_arrives();
}

#[test]
fn who_is_in_error_sends_nothing() {
    let mut pair = Pair::new();
    pair.assert_arrives();
    pair.from.to(QueuePairState::ERROR).unwrap();
    assert_eq!(pair.assert_both_fail(Q_KEY), Some(CompletionStatus::FLUSHED));
}

#[test]
fn a_receive_request_for_memory_that_is_not_registered_fails_on_both() {
    let mut pair = Pair::new();
    pair.assert_arrives();
    let mut room = vec![0xee; 40 + 64];
    let mut entry = ReceiveEntry { id: 3, segments: 1, ..ReceiveEntry::default() };
    entry.segment[0] = Segment { l_key: 0x0001_0000, ..segment(&mut room) };
    let [one, two] = [1, 2].map(|pieces| {
        pair.to.pair.receive(&pair.to.lhca, &entry).unwrap();
        let outcome = pair.send(&mut [1; 64], pieces, WorkFlags::empty(), Q_KEY);
        pair.drain();
        outcome.got.unwrap()
    });
    assert_eq!(one, two);
    assert_eq!((one.id, one.status), (3, CompletionStatus::PROTECTION));
    assert!(room.iter().all(|&byte| byte == 0xee));
}

/// A request for the queue pair of `to`.
fn request(id: u64, to: (&End, Lid), payload: &mut [u8]) -> SendEntry {
    let (q_key, remote_qp, segment) = (Q_KEY.into(), to.0.pair.number(), segment(payload));
    SendEntry { id, segments: 1, dlid: to.1, q_key, remote_qp, segment, ..SendEntry::default() }
}

#[test]
fn each_of_a_batch_goes_where_it_is_for() {
    let (_, machines) = world(3, Policy::default());
    let mut from = End::with_room(&machines[0], QueuePairKind::UD, 4, 6);
    let mut to = [1, 2].map(|nth: usize| End::new(&machines[nth], QueuePairKind::UD));
    let mut rooms = [[0; 48]; 6];
    let order = [0, 0, 1, 0, 1, 1];
    for (room, at) in rooms.iter_mut().zip(order) {
        to[at].receive(0, room);
    }
    let mut payloads = [0, 1, 2, 3, 4, 5].map(|nth: u8| [nth; 8]);
    for (nth, (payload, at)) in payloads.iter_mut().zip(order).enumerate() {
        from.send(&request(nth as u64, (&to[at], lid(at as u16 + 1)), payload));
    }
    let mut from = from.ready(); // and with that all are served
    assert_eq!([0, 1, 2, 3, 4, 5].map(|_| from.next().map(|sent| sent.id)), [0, 1, 2, 3, 4, 5].map(Some));
    assert!(to.iter_mut().all(|end| (0..3).all(|_| end.next().is_some()) && end.next().is_none()));
    assert_eq!(rooms.map(|room| room[40..].to_vec()), payloads);
}

#[test]
fn a_long_queue_is_served_in_turns() {
    let (world, machines) = world(2, Policy::default());
    let mut from = End::with_room(&machines[0], QueuePairKind::UD, 7, 8);
    let mut to = End::with_room(&machines[1], QueuePairKind::UD, 4, 8).ready();
    let (mut payload, mut room) = ([1; 8], [0; 48]);
    for id in 0..100 {
        to.receive(id, &mut room);
        from.send(&request(id, (&to, lid(1)), &mut payload));
    }
    let _from = from.ready();
    let turns = [(); 3].map(|()| {
        let count = std::iter::from_fn(|| to.completions.next(&to.lhca)).count();
        world.serve();
        count
    });
    assert_eq!(turns, [64, 36, 0]);
}
