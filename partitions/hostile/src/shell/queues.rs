//! Queues that do not keep the contract.

use core::mem::offset_of;

use hostile_image::{Random, Summary};
use lhca_contract::{
    Call, Handle, QueueConfig, QueuePairAttributes, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, Status, ring,
};
use lhca_driver::Platform;
use zerocopy::IntoBytes;

use super::error::Error;
use super::machine::{Machine, count, seed};
use super::raw::Scratch;

/// Each ring has 2 to this power entries.
pub(super) const LOG_ENTRIES: u8 = 4;
/// Words from one ring to the next: more than the largest has.
const RING: u64 = 512;
/// Places of the rings among the scratch words, and of what hypercalls read.
pub(super) const COMPLETIONS: u64 = 0;
pub(super) const SEND: u64 = RING;
const RECEIVE: u64 = 2 * RING;
pub(super) const EVENTS: u64 = 3 * RING;
pub(super) const ARGUMENT: u64 = 4 * RING;
const LINES: usize = 5 * RING as usize / 8;

/// A completion queue and a queue pair whose rings are memory like any other.
pub(super) struct Queues<'a> {
    pub(super) machine: &'a Machine,
    pub(super) scratch: Scratch,
    random: Random,
    summary: Summary,
    pub(super) completions: Handle,
    pub(super) pair: Handle,
}

impl<'a> Queues<'a> {
    pub(super) fn open(machine: &'a mut Machine) -> Result<Self, Error> {
        let scratch = Scratch::new(machine, LINES);
        let (random, none) = (Random::new(seed(machine)), Handle(0));
        let mut queues =
            Queues { machine, scratch, random, summary: Summary::default(), completions: none, pair: none };
        queues.completions = queues.create_completions();
        queues.create_pair();
        Ok(queues)
    }

    fn call(&mut self, call: Call, arguments: [u64; 3]) -> u64 {
        let (status, value) = self.machine.lhca.platform().call(call, arguments);
        self.summary.count(status);
        value
    }

    /// Makes a call that must return this status.
    pub(super) fn expect(&mut self, expected: Status, call: Call, arguments: [u64; 3]) -> Result<(), Error> {
        let status = self.machine.lhca.platform().call(call, arguments).0;
        self.summary.count(status);
        if status == expected { Ok(()) } else { Err(Error::Answer { call, arguments, status, expected }) }
    }

    /// Lays a structure where calls find it; its address.
    pub(super) fn argument(&mut self, structure: &[u8]) -> u64 {
        for (nth, word) in (ARGUMENT..).zip(structure.as_chunks().0) {
            self.scratch.put(nth, u64::from_ne_bytes(*word));
        }
        self.scratch.address(ARGUMENT)
    }

    /// Makes a call with a structure as its argument `place`.
    pub(super) fn call_with(&mut self, call: Call, first: Option<Handle>, structure: &[u8]) -> u64 {
        let address = self.argument(structure);
        self.call(call, first.map_or([address, 0, 0], |first| [first.0.into(), address, 0]))
    }

    pub(super) fn create_completions(&mut self) -> Handle {
        let ring = self.scratch.address(COMPLETIONS);
        let config = QueueConfig { ring, log_entries: LOG_ENTRIES, vector: 0, reserved: [0; 6] };
        Handle(self.call_with(Call::CREATE_COMPLETION_QUEUE, None, config.as_bytes()) as u32)
    }

    /// A new queue pair on the same rings, ready to send.
    pub(super) fn create_pair(&mut self) {
        self.create_pair_of(&self.pair_config());
    }

    /// A new queue pair, ready to send.
    pub(super) fn create_pair_of(&mut self, config: &QueuePairConfig) {
        self.pair = Handle(self.call_with(Call::CREATE_QUEUE_PAIR, None, config.as_bytes()) as u32);
        self.make_ready();
    }

    /// A queue pair on our rings.
    pub(super) fn pair_config(&self) -> QueuePairConfig {
        QueuePairConfig {
            send_ring: self.scratch.address(SEND),
            receive_ring: self.scratch.address(RECEIVE),
            send_completions: self.completions,
            receive_completions: self.completions,
            kind: QueuePairKind::UD,
            port: 1,
            send_log_entries: LOG_ENTRIES,
            receive_log_entries: LOG_ENTRIES,
            vector: 0,
            reserved: [0; 3],
        }
    }

    /// Bytes of the partition's memory.
    pub(super) fn memory(&self) -> u64 {
        self.machine.information.page().memory
    }

    fn make_ready(&mut self) {
        use QueuePairState as State;
        let states = [State::RESET, State::INIT, State::READY_TO_RECEIVE, State::READY_TO_SEND];
        states.into_iter().for_each(|state| self.modify(state));
    }

    fn modify(&mut self, state: QueuePairState) {
        let change = QueuePairChange { fields: QueuePairFields::STATE, state, ..QueuePairChange::default() };
        self.call_with(Call::MODIFY_QUEUE_PAIR, Some(self.pair), change.as_bytes());
    }

    pub(super) fn ring(&mut self, queue: Handle) {
        self.call(Call::DOORBELL, [queue.0.into(), 0, 0]);
    }

    /// Writes something to a place of a ring.
    fn scribble(&mut self, ring: u64, places: core::ops::Range<u64>) {
        let place = ring + places.start + self.random.below(places.end - places.start);
        let value = match self.random.below(4) {
            0 => self.random.below(64),
            1 => self.scratch.address(self.random.number()),
            _ => self.random.number(),
        };
        self.scratch.put(place, value);
    }

    /// Adds one to the index at `offset` of a ring, as if an entry were produced or consumed.
    fn step(&mut self, ring: u64, offset: usize) {
        let index = self.scratch.get(ring + offset as u64 / 8) as u32;
        self.scratch.set_index(ring, offset, index.wrapping_add(1));
    }

    pub(super) fn end(mut self) -> Result<(), Error> {
        self.call(Call::DESTROY_QUEUE_PAIR, [self.pair.0.into(), 0, 0]);
        self.call(Call::DESTROY_COMPLETION_QUEUE, [self.completions.0.into(), 0, 0]);
        self.tell();
        Ok(())
    }

    /// Has an index of each ring that the hypervisor empties jump by more than the ring holds: it is in error then.
    fn jump(&mut self) -> Result<(), Error> {
        let beyond = (1 << LOG_ENTRIES) + 1;
        for jump in [beyond, 1 << 31, u32::MAX] {
            self.scratch.set_index(SEND, ring::PRODUCED, jump);
            self.ring(self.pair);
            let attributes = self.scratch.address(ARGUMENT);
            self.expect(Status::OK, Call::QUERY_QUEUE_PAIR, [self.pair.0.into(), attributes, 0])?;
            let state = offset_of!(QueuePairAttributes, state) as u64;
            let state = self.scratch.get(ARGUMENT + state / 8) >> (8 * (state % 8));
            if QueuePairState(state as u8) != QueuePairState::ERROR {
                return Err(Error::GoesOn);
            }
            self.scratch.set_index(SEND, ring::PRODUCED, 0);
            self.make_ready();
        }
        Ok(())
    }

    /// Says what came of it.
    pub(super) fn tell(&self) {
        log::info!("{}", self.summary);
    }
}

/// The words of a ring's control, and those of its entries.
const CONTROL: core::ops::Range<u64> = 0..ring::ENTRIES as u64 / 8;
const ENTRIES: core::ops::Range<u64> = CONTROL.end..CONTROL.end + ((64 / 8) << LOG_ENTRIES);

/// Entries that change before, while and after they are read.
pub(super) fn rings(machine: &mut Machine) -> Result<(), Error> {
    let tries = count(machine, 50_000);
    let mut queues = Queues::open(machine)?;
    for nth in 0..tries {
        for (ring, queue) in [(SEND, queues.pair), (RECEIVE, queues.pair)] {
            (0..8).for_each(|_| queues.scribble(ring, ENTRIES));
            queues.step(ring, ring::PRODUCED);
            queues.ring(queue);
            (0..8).for_each(|_| queues.scribble(ring, ENTRIES));
        }
        queues.scribble(COMPLETIONS, ENTRIES);
        queues.step(COMPLETIONS, ring::CONSUMED);
        queues.ring(queues.completions);
        // What went to error on the way begins again.
        if nth % 16 == 15 {
            queues.make_ready();
        }
    }
    queues.end()
}

/// Indices that jump, and event indices that are anything.
pub(super) fn indices(machine: &mut Machine) -> Result<(), Error> {
    let tries = count(machine, 50_000);
    let mut queues = Queues::open(machine)?;
    queues.jump()?;
    for _ in 0..tries {
        let (ring, queue) = [(SEND, queues.pair), (RECEIVE, queues.pair), (COMPLETIONS, queues.completions)]
            [queues.random.below(3) as usize];
        queues.scribble(ring, CONTROL);
        queues.ring(queue);
        if queues.random.below(4) == 0 {
            queues.make_ready();
        }
    }
    queues.end()
}

/// Queues that are made again on the same memory, destroyed while they are in use, and named after their end.
pub(super) fn live(machine: &mut Machine) -> Result<(), Error> {
    const MEANWHILE: usize = 8;
    let tries = count(machine, 50_000);
    let mut queues = Queues::open(machine)?;
    let mut others = heapless::Deque::<Handle, MEANWHILE>::new();
    for _ in 0..tries {
        match queues.random.below(6) {
            0 => {
                // The oldest makes room.
                if others.is_full()
                    && let Some(oldest) = others.pop_front()
                {
                    queues.call(Call::DESTROY_QUEUE_PAIR, [oldest.0.into(), 0, 0]);
                }
                let _ = others.push_back(queues.pair);
                queues.create_pair();
            }
            1 => _ = queues.call(Call::DESTROY_COMPLETION_QUEUE, [queues.completions.0.into(), 0, 0]),
            2 => {
                queues.step(SEND, ring::PRODUCED);
                queues.call(Call::DESTROY_QUEUE_PAIR, [queues.pair.0.into(), 0, 0]);
                queues.ring(queues.pair);
                queues.create_pair();
            }
            3 => {
                let fields = QueuePairFields::all();
                let (state, p_key_index) = (QueuePairState::READY_TO_SEND, queues.random.below(64) as u16);
                let change = QueuePairChange { fields, state, p_key_index, ..QueuePairChange::default() };
                queues.call_with(Call::MODIFY_QUEUE_PAIR, Some(queues.pair), change.as_bytes());
            }
            4 => {
                let state = QueuePairState(queues.random.below(9) as u8);
                queues.modify(state);
            }
            _ => {
                queues.step(SEND, ring::PRODUCED);
                queues.ring(queues.pair);
            }
        }
    }
    // Whatever is left of those that were made again goes with the partition.
    queues.end()
}

/// Doorbells without anything behind them.
pub(super) fn doorbells(machine: &mut Machine) -> Result<(), Error> {
    let tries = count(machine, 250_000);
    let mut queues = Queues::open(machine)?;
    for nth in 0..tries {
        let queue = if nth.is_multiple_of(2) { queues.pair } else { queues.completions };
        queues.ring(queue);
    }
    if queues.summary.of(Status::OK) < 2 {
        log::warn!("no doorbell was heard");
    }
    queues.end()
}
