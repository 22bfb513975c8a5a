//! A hypervisor for tests: it keeps the contract, step by step as the test says. It is written from the contract alone
//! and shares no code with the driver. What it consumes from send queues goes to the queue pair that it is for.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test's own error is to stop the test
#![allow(unsafe_code)] // reaches the partition's memory by address, as a hypervisor does

use std::ptr::with_exposed_provenance_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use lhca_contract::{
    Call, Completion, CompletionKind, CompletionStatus, Event, EventKind, Exits, HcaAttributes, PortAttributes,
    QueueConfig, QueuePairConfig, ReceiveEntry, Segment, SendEntry, Status, VERSION, cpuid, ring,
};
use lhca_driver::{Lhca, Line, Platform, RingMemory};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The machine of a partition.
#[derive(Debug)]
pub struct Machine {
    pub version: u32,
    pub signature: [u8; 12],
    pub state: Mutex<State>,
}

/// State of the partition in the hypervisor.
#[derive(Debug, Default)]
pub struct State {
    /// Completion queues, and queue 0 for events.
    queues: Vec<Queue>,
    pairs: Vec<Pair>,
    /// Hypercalls that were made, in order.
    pub calls: Vec<Call>,
    /// Interrupts that were raised, in order.
    pub interrupts: Vec<u8>,
    /// Status with which the next call is refused.
    pub refuse: Option<Status>,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    ring: u64,
    log: u8,
    vector: u8,
    produced: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    config: QueuePairConfig,
    sent: u32,
    received: u32,
}

/// Handles: events 1, completion queues from 2 on, queue pairs from 100 on.
const PAIRS: u32 = 100;

/// Queue pair numbers count on from this.
const NUMBERS: u32 = 0x40;

pub fn machine() -> &'static Machine {
    let machine = Machine { version: VERSION, signature: cpuid::SIGNATURE, state: Mutex::default() };
    machine.state.lock().unwrap().queues.push(Queue { ring: 0, log: 0, vector: 0, produced: 0 });
    Box::leak(Box::new(machine))
}

pub fn probe(machine: &'static Machine) -> Lhca<&'static Machine> {
    Lhca::probe(machine).expect("a hypervisor")
}

pub fn memory<E: FromBytes + IntoBytes + Immutable>(log_entries: u8) -> RingMemory<E> {
    RingMemory::new(vec![Line::ZERO; RingMemory::<E>::lines(log_entries)].leak(), log_entries)
}

impl Platform for Machine {
    fn cpuid(&self, leaf: u32) -> [u32; 4] {
        let word = |at: usize| u32::from_le_bytes(*self.signature[at..].first_chunk().unwrap());
        match leaf {
            1 => [0, 0, 1 << 31, 0],
            0x4000_0000 => [0x4000_0001, word(0), word(4), word(8)],
            0x4000_0001 => [self.version, 0, 0, 0],
            _ => [0; 4],
        }
    }

    fn call(&self, call: Call, arguments: [u64; 3]) -> (Status, u64) {
        let mut state = self.state.lock().unwrap();
        state.calls.push(call);
        match state.refuse.take() {
            Some(status) => (status, 0),
            None => state.call(call, arguments),
        }
    }

    fn physical(&self, pointer: *const u8) -> u64 {
        pointer.expose_provenance() as u64
    }
}

impl State {
    fn call(&mut self, call: Call, [first, second, third]: [u64; 3]) -> (Status, u64) {
        match call {
            Call::QUERY_HCA => put(first, HcaAttributes { ports: 1, max_queue_pairs: 16, ..Default::default() }),
            Call::QUERY_PORT if first == 1 => put(second, PortAttributes { lid: 5.into(), ..Default::default() }),
            Call::QUERY_PORT => return (Status::BAD_PORT, 0),
            Call::QUERY_P_KEY => return (Status::OK, 0xffff),
            Call::QUERY_GUID => return (Status::OK, 0x0200_0000_0000_0001),
            Call::QUERY_EXITS => put(first, Exits { doorbells: 3, calls: 9, ..Default::default() }),
            Call::TIME => return (Status::OK, 12_345),
            Call::CONSOLE => return (Status::OK, second),
            Call::MODIFY_PORT if (second, third) != (1, 1) => return (Status::BAD_ARGUMENT, 0),
            Call::CREATE_EVENT_QUEUE => {
                self.queues[0] = Queue::new(get(first));
                return (Status::OK, 1);
            }
            Call::CREATE_COMPLETION_QUEUE => {
                self.queues.push(Queue::new(get(first)));
                return (Status::OK, self.queues.len() as u64);
            }
            Call::CREATE_QUEUE_PAIR => {
                self.pairs.push(Pair { config: get(first), sent: 0, received: 0 });
                let nth = u32::try_from(self.pairs.len() - 1).unwrap();
                return (Status::OK, u64::from(PAIRS + nth) | u64::from(NUMBERS + nth) << 32);
            }
            _ => {}
        }
        (Status::OK, 0)
    }

    /// Consumes what can be consumed from all send queues. A packet for whom there is no room waits.
    pub fn serve(&mut self) {
        for from in 0..self.pairs.len() {
            while self.send_one(from) {}
        }
    }

    /// Asks to be rung for the next entry of each send queue.
    pub fn arm(&self) {
        for pair in &self.pairs {
            word(pair.config.send_ring + ring::DATA_EVENT as u64).store(pair.sent, Ordering::SeqCst);
        }
    }

    /// Tells of something.
    pub fn tell(&mut self, kind: EventKind, source: u32) -> bool {
        self.produce(0, Event { kind, source, time: 0 })
    }

    fn send_one(&mut self, from: usize) -> bool {
        let sender = self.pairs[from];
        let Some(entry) = take::<SendEntry>(sender.config.send_ring, sender.config.send_log_entries, sender.sent)
        else {
            return false;
        };
        let to = usize::try_from(entry.remote_qp.get() - NUMBERS).unwrap();
        let receiver = self.pairs[to];
        let (ring, log) = (receiver.config.receive_ring, receiver.config.receive_log_entries);
        let Some(room) = take::<ReceiveEntry>(ring, log, receiver.received) else { return false };
        let queues =
            [sender.config.send_completions, receiver.config.receive_completions].map(|queue| queue.0 as usize - 1);
        let wanted = if queues[0] == queues[1] { 2 } else { 1 };
        if queues.iter().any(|&queue| self.room(queue) < wanted) {
            return false;
        }
        let length = copy(&entry.segment, &room.segment[0]);
        let sent = Completion { id: entry.id, kind: CompletionKind::SEND, ..Completion::default() };
        let status = if length.is_some() { CompletionStatus::SUCCESS } else { CompletionStatus::LENGTH };
        let received = Completion {
            id: room.id,
            kind: CompletionKind::RECEIVE,
            status,
            length: length.unwrap_or(0),
            ..Completion::default()
        };
        self.pairs[from].sent = self.consumed(sender.config.send_ring, sender.sent, sender.config.vector);
        self.pairs[to].received = self.consumed(ring, receiver.received, receiver.config.vector);
        self.produce(queues[0], sent) && self.produce(queues[1], received)
    }

    fn consumed(&mut self, ring: u64, index: u32, vector: u8) -> u32 {
        word(ring + ring::CONSUMED as u64).store(index.wrapping_add(1), Ordering::SeqCst);
        if word(ring + ring::SPACE_EVENT as u64).load(Ordering::SeqCst) == index && vector != 0 {
            self.interrupts.push(vector);
        }
        index.wrapping_add(1)
    }

    fn room(&self, queue: usize) -> u32 {
        let queue = &self.queues[queue];
        let consumed = word(queue.ring + ring::CONSUMED as u64).load(Ordering::SeqCst);
        let room = (1 << queue.log) - queue.produced.wrapping_sub(consumed);
        if room < 2 {
            word(queue.ring + ring::SPACE_EVENT as u64).store(consumed, Ordering::SeqCst);
        }
        room
    }

    fn produce<E: IntoBytes + Immutable>(&mut self, queue: usize, entry: E) -> bool {
        if self.room(queue) == 0 {
            return false;
        }
        let queue = &mut self.queues[queue];
        let index = queue.produced;
        let place = (index & ((1 << queue.log) - 1)) as u64 * size_of::<E>() as u64;
        for (nth, chunk) in entry.as_bytes().chunks(4).enumerate() {
            let address = queue.ring + ring::ENTRIES as u64 + place + 4 * nth as u64;
            word(address).store(u32::from_ne_bytes(chunk.try_into().unwrap()), Ordering::SeqCst);
        }
        queue.produced = index.wrapping_add(1);
        word(queue.ring + ring::PRODUCED as u64).store(queue.produced, Ordering::SeqCst);
        if word(queue.ring + ring::DATA_EVENT as u64).load(Ordering::SeqCst) == index && queue.vector != 0 {
            self.interrupts.push(queue.vector);
        }
        true
    }
}

impl Queue {
    fn new(config: QueueConfig) -> Self {
        Self { ring: config.ring, log: config.log_entries, vector: config.vector, produced: 0 }
    }
}

/// The entry at `index`, if it was produced.
fn take<E: FromBytes>(ring: u64, log: u8, index: u32) -> Option<E> {
    if word(ring + ring::PRODUCED as u64).load(Ordering::SeqCst) == index {
        return None;
    }
    let place = ring + ring::ENTRIES as u64 + u64::from(index & ((1 << log) - 1)) * size_of::<E>() as u64;
    let words = (0..size_of::<E>() as u64 / 4).map(|nth| word(place + 4 * nth).load(Ordering::SeqCst));
    let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    Some(E::read_from_bytes(&bytes).expect("as many bytes"))
}

/// Copies what one segment holds to another, if it fits.
fn copy(from: &Segment, to: &Segment) -> Option<u32> {
    (from.length <= to.length).then(|| {
        let source = with_exposed_provenance_mut::<u8>(usize::try_from(from.address).unwrap());
        let target = with_exposed_provenance_mut::<u8>(usize::try_from(to.address).unwrap());
        // SAFETY: the tests post buffers that live, and whose addresses they have exposed.
        unsafe { target.copy_from(source, from.length as usize) };
        from.length
    })
}

fn word(address: u64) -> &'static AtomicU32 {
    let pointer = with_exposed_provenance_mut(usize::try_from(address).unwrap());
    // SAFETY: the address is within a ring that a test has leaked.
    unsafe { AtomicU32::from_ptr(pointer) }
}

fn get<T: FromBytes>(address: u64) -> T {
    let pointer = with_exposed_provenance_mut::<T>(usize::try_from(address).unwrap());
    // SAFETY: the driver has passed the address of a live structure of this type, made of plain bytes.
    unsafe { pointer.read_unaligned() }
}

fn put<T>(address: u64, value: T) {
    let pointer = with_exposed_provenance_mut::<T>(usize::try_from(address).unwrap());
    // SAFETY: as in `get`; the driver waits for the call to fill it.
    unsafe { pointer.write_unaligned(value) };
}
