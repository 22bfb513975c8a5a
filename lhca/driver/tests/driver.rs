//! The driver on a hypervisor that behaves.

#![allow(clippy::unwrap_used)] // what is unwrapped in helpers is a test's own error

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iba::PortNum;
use lhca_contract::{
    Call, CompletionKind, CompletionStatus, EventKind, Exits, QueuePairKind, ReceiveEntry, Segment, SendEntry, Status,
};
use lhca_driver::{CallError, CompletionQueue, EventQueue, Full, Lhca, NewQueuePair, ProbeError, QueuePair};
use support::{Machine, machine, memory, probe};

const CQ_VECTOR: u8 = 40;

/// An LHCA with a queue pair that sends to itself.
struct Rig {
    machine: &'static Machine,
    lhca: Lhca<&'static Machine>,
    completions: CompletionQueue,
    pair: QueuePair,
}

fn rig(log_completions: u8) -> Rig {
    let machine = machine();
    let lhca = probe(machine);
    let completions = CompletionQueue::create(&lhca, memory(log_completions), CQ_VECTOR).unwrap();
    let new = NewQueuePair {
        kind: QueuePairKind::UD,
        port: PortNum::new(1),
        send: memory(3),
        receive: memory(3),
        send_completions: &completions,
        receive_completions: &completions,
        vector: 41,
    };
    let pair = QueuePair::create(&lhca, new).unwrap();
    machine.state.lock().unwrap().calls.clear();
    Rig { machine, lhca, completions, pair }
}

fn segment(buffer: &mut [u8]) -> Segment {
    let address = buffer.as_mut_ptr().expose_provenance() as u64;
    Segment { address, length: u32::try_from(buffer.len()).unwrap(), l_key: Segment::PHYSICAL }
}

impl Rig {
    fn send(&mut self, id: u64, segment: Segment) -> Result<(), Full> {
        let entry = SendEntry { id, segments: 1, remote_qp: self.pair.number(), segment, ..SendEntry::default() };
        self.pair.send(&self.lhca, &entry)
    }

    fn receive(&mut self, id: u64, segment: Segment) -> Result<(), Full> {
        let mut entry = ReceiveEntry { id, segments: 1, ..ReceiveEntry::default() };
        entry.segment[0] = segment;
        self.pair.receive(&self.lhca, &entry)
    }

    fn serve(&self) {
        self.machine.state.lock().unwrap().serve();
    }

    fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.machine.state.lock().unwrap().calls)
    }

    fn interrupts(&self) -> Vec<u8> {
        std::mem::take(&mut self.machine.state.lock().unwrap().interrupts)
    }

    fn completion(&mut self) -> Option<(u64, CompletionKind, CompletionStatus, u32)> {
        self.completions.next(&self.lhca).map(|done| (done.id, done.kind, done.status, done.length))
    }
}

#[test]
fn only_our_hypervisor_is_taken() {
    let mut foreign =
        Machine { version: lhca_contract::VERSION, signature: *b"KVMKVMKVM\0\0\0", state: Default::default() };
    assert_eq!(Lhca::probe(&foreign).unwrap_err(), ProbeError::NoHypervisor);
    foreign.signature = lhca_contract::cpuid::SIGNATURE;
    assert!(Lhca::probe(&foreign).is_ok());
    foreign.version += 1;
    assert!(Lhca::probe(&foreign).is_ok(), "a newer minor version is welcome");
    foreign.version = 2 << 16;
    assert_eq!(Lhca::probe(&foreign).unwrap_err(), ProbeError::Version(2 << 16));
}

#[test]
fn queries_are_answered_and_refusals_named() {
    let machine = machine();
    let lhca = probe(machine);
    assert_eq!(lhca.attributes().unwrap().max_queue_pairs, 16);
    assert_eq!(lhca.port(PortNum::new(1)).unwrap().lid.get(), 5);
    let error = CallError { call: Call::QUERY_PORT, status: Status::BAD_PORT };
    assert_eq!(lhca.port(PortNum::new(2)).unwrap_err(), error);
    assert_eq!(error.to_string(), "hypercall QUERY_PORT was refused: BAD_PORT");
    assert_eq!(lhca.p_key(PortNum::new(1), 0).unwrap().get(), 0xffff);
    assert_eq!(lhca.guid(PortNum::new(1), 0).unwrap().get(), 0x0200_0000_0000_0001);
    assert_eq!((lhca.time().unwrap(), lhca.console("hello").unwrap()), (12_345, 5));
    assert_eq!(lhca.exits().unwrap(), Exits { doorbells: 3, calls: 9, ..Exits::default() });
    lhca.set_is_sm(PortNum::new(1), true).unwrap();
    machine.state.lock().unwrap().refuse = Some(Status::NOT_PERMITTED);
    assert_eq!(lhca.set_is_sm(PortNum::new(1), true).unwrap_err().status, Status::NOT_PERMITTED);
    machine.state.lock().unwrap().refuse = Some(Status::NO_RESOURCES);
    assert_eq!(CompletionQueue::create(&lhca, memory(4), 0).unwrap_err().status, Status::NO_RESOURCES);
}

#[test]
fn a_datagram_arrives_and_each_request_completes_once() {
    let mut rig = rig(4);
    for round in 0..100_u64 {
        let mut data: Vec<u8> = (0..256).map(|i: u64| (i * 3 + round).to_le_bytes()[0]).collect();
        let mut room = vec![0; 300];
        rig.receive(round, segment(&mut room)).unwrap();
        rig.send(1000 + round, segment(&mut data)).unwrap();
        rig.serve();
        let kinds = [CompletionKind::SEND, CompletionKind::RECEIVE];
        let success = CompletionStatus::SUCCESS;
        assert_eq!(rig.completion(), Some((1000 + round, kinds[0], success, 0)));
        assert_eq!(rig.completion(), Some((round, kinds[1], success, 256)));
        assert_eq!(rig.completion(), None);
        assert_eq!(&room[..256], &data[..]);
    }
}

#[test]
fn a_busy_queue_makes_no_hypercall_and_no_interrupt() {
    let mut rig = rig(4);
    let (mut data, mut room) = (vec![1; 64], vec![0; 64]);
    // Each side begins with event index 0: the first of each kind is notified.
    for first in [true, false, false] {
        rig.receive(0, segment(&mut room)).unwrap();
        rig.send(0, segment(&mut data)).unwrap();
        assert_eq!(rig.calls(), if first { vec![Call::DOORBELL; 2] } else { vec![] });
        rig.serve();
        assert_eq!(rig.interrupts().iter().filter(|&&vector| vector == CQ_VECTOR).count(), usize::from(first));
        while rig.completion().is_some() {}
        rig.calls();
    }
    rig.machine.state.lock().unwrap().arm();
    rig.send(1, segment(&mut data)).unwrap();
    rig.send(2, segment(&mut data)).unwrap();
    assert_eq!(rig.calls(), [Call::DOORBELL], "asked for once, told once");
    assert!(!rig.completions.arm(), "nothing is there");
    rig.receive(0, segment(&mut room)).unwrap();
    rig.serve();
    assert_eq!(rig.interrupts(), [CQ_VECTOR], "asked for once, told once");
    assert!(rig.completions.arm(), "no time to sleep");
}

#[test]
fn completions_wait_for_room_and_none_is_lost() {
    let mut rig = rig(1);
    let (mut data, mut room) = (vec![1; 64], vec![0; 64]);
    for id in 0..8 {
        rig.receive(100 + id, segment(&mut room)).unwrap();
        rig.send(id, segment(&mut data)).unwrap();
    }
    assert_eq!(rig.send(8, segment(&mut data)), Err(Full));
    assert_eq!(rig.receive(8, segment(&mut room)), Err(Full));
    assert!(!rig.pair.arm_send_room());
    rig.calls();
    rig.interrupts();
    let mut ids = Vec::new();
    for _ in 0..8 {
        rig.serve();
        rig.serve(); // there is room for two: no more come
        assert!(rig.calls().is_empty());
        while let Some((id, ..)) = rig.completion() {
            ids.push(id);
        }
        assert_eq!(rig.calls(), [Call::DOORBELL], "the hypervisor waited for room");
    }
    assert_eq!(ids, (0..8).flat_map(|id| [id, 100 + id]).collect::<Vec<_>>());
    assert_eq!(rig.interrupts().iter().filter(|&&vector| vector == 41).count(), 2, "room in each ring, told once");
    assert_eq!((rig.pair.send_room(), rig.pair.receive_room()), (8, 8));
}

#[test]
fn what_does_not_fit_is_a_named_error() {
    let mut rig = rig(4);
    let (mut data, mut room) = (vec![1; 64], vec![0; 63]);
    rig.receive(7, segment(&mut room)).unwrap();
    rig.send(1, segment(&mut data)).unwrap();
    rig.serve();
    rig.completion().unwrap();
    assert_eq!(rig.completion(), Some((7, CompletionKind::RECEIVE, CompletionStatus::LENGTH, 0)));
}

#[test]
fn events_come_in_order() {
    let machine = machine();
    let lhca = probe(machine);
    let mut events = EventQueue::create(&lhca, memory(2), 50).unwrap();
    assert!(!events.arm());
    let kinds = [EventKind::PORT_ACTIVE, EventKind::LID_CHANGE, EventKind::CLIENT_REREGISTER, EventKind::PORT_DOWN];
    for kind in kinds {
        assert!(machine.state.lock().unwrap().tell(kind, 1));
    }
    assert!(!machine.state.lock().unwrap().tell(EventKind::SM_CHANGE, 1), "full");
    assert_eq!(machine.state.lock().unwrap().interrupts, [50]);
    let got: Vec<_> = std::iter::from_fn(|| events.next(&lhca)).map(|event| (event.kind, event.source)).collect();
    assert_eq!(got, kinds.map(|kind| (kind, 1)));
    events.destroy(&lhca).unwrap();
}

/// The hypervisor on a thread of its own, which sleeps until it is rung for; the partition sleeps until it is
/// interrupted.
#[test]
fn no_wake_up_is_lost_between_partition_and_hypervisor() {
    const ROUNDS: u64 = 20_000;
    let mut rig = rig(4);
    let done = &AtomicBool::new(false);
    let machine = rig.machine;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let mut state = machine.state.lock().unwrap();
                state.serve();
                state.arm();
                state.serve();
                state.calls.clear();
                drop(state);
                wait(|| done.load(Ordering::Acquire) || !machine.state.lock().unwrap().calls.is_empty());
            }
        });
        let (mut data, mut room) = (vec![1; 8], vec![0; 8]);
        let (mut posted, mut completed) = (0, 0);
        while completed < 2 * ROUNDS {
            while posted < ROUNDS && posted * 2 - completed <= completed % 5 {
                rig.receive(posted, segment(&mut room)).unwrap();
                rig.send(posted, segment(&mut data)).unwrap();
                posted += 1;
            }
            while rig.completion().is_some() {
                completed += 1;
            }
            if posted * 2 > completed && !rig.completions.arm() {
                wait(|| machine.state.lock().unwrap().interrupts.contains(&CQ_VECTOR));
                machine.state.lock().unwrap().interrupts.clear();
            }
        }
        done.store(true, Ordering::Release);
    });
}

fn wait(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "a wake-up was lost");
        std::thread::yield_now();
    }
}
