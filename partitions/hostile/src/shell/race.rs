//! Requests that the hypervisor looks for by itself, while the partition goes on writing them.

use hostile_image::Random;
use iba::{Lid, QKey, Qpn};
use lhca_contract::{
    Call, Completion, Handle, QueueConfig, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, Segment, SendEntry, ring,
};
use lhca_driver::CompletionQueue;
use platform::{Done, Endpoint, GRH, Setup};
use zerocopy::IntoBytes;

use super::datagrams::{LENGTH, LOG_BUFFERS, PORT, wait_for_port};
use super::error::Error;
use super::machine::{Machine, count};
use super::queues::{COMPLETIONS, LOG_ENTRIES, Queues, SEND};
use super::raw::Scratch;

/// The Q_Key of a target, which attackers know, and another one, which they do not.
const OPEN: QKey = QKey::new(0x0be2);
const CLOSED: QKey = QKey::new(0x5ec2_e701);
/// A target's queue pair: the first that it creates.
const TARGET: Qpn = Qpn::new(0x100);
/// A target takes another key after so many datagrams, for so many looks, which are so far apart, in nanoseconds.
const OPEN_FOR: u64 = 2_048;
const LOOKS: u32 = 10;
const LOOK_EVERY: u64 = 1_000_000;
/// Lines beside each buffer of a target's.
const BESIDE: usize = 64;
/// Lengths of the datagrams: one that fits, and one beyond the room.
const LENGTHS: [u64; 2] = [LENGTH as u64, 4096];
/// Number of notifications in a row after which a partition is polled.
const RINGS: u64 = 64;
/// Number of changes of the requests before another partition gets the processor, which may have to make room.
const CHANGES: u64 = 120;
const ENTRIES: u64 = 1 << LOG_ENTRIES;
/// Words of a send entry, and which of them has the length.
const ENTRY: u64 = size_of::<SendEntry>() as u64 / 8;
const LENGTH_WORD: u64 = 5;

/// Posts all of `entries` send requests that are not posted, and takes all completions, all by memory alone: the send
/// ring is at the word `sends` of `scratch`, and the completions' at `completions`.
fn post_all(scratch: &Scratch, sends: u64, completions: u64, entries: u32) {
    let consumed = scratch.get(sends + ring::CONSUMED as u64 / 8);
    scratch.set_index(sends, ring::PRODUCED, (consumed as u32).wrapping_add(entries));
    let completed = scratch.get(completions + ring::PRODUCED as u64 / 8);
    scratch.set_index(completions, ring::CONSUMED, completed as u32);
}

/// Requests that are done as soon as they are looked at, and are there again as soon as they are done.
pub(super) fn requests(machine: &mut Machine) -> Result<(), Error> {
    // So many that they last while this processor does something else.
    const LOG_MANY: u8 = 13;
    const SENDS: usize = ring::bytes(LOG_MANY, size_of::<SendEntry>());
    const COMPLETED: usize = ring::bytes(LOG_MANY, size_of::<Completion>());
    let scratch = Scratch::new(machine, (SENDS + COMPLETED) / size_of::<lhca_driver::Line>());
    let completions = SENDS as u64 / 8;
    let mut queues = Queues::open(machine)?;
    let config = QueueConfig { ring: scratch.address(completions), log_entries: LOG_MANY, ..QueueConfig::default() };
    let queue = Handle(queues.call_with(Call::CREATE_COMPLETION_QUEUE, None, config.as_bytes()) as u32);
    let own = queues.pair_config();
    queues.create_pair_of(&QueuePairConfig {
        send_ring: scratch.address(0),
        send_log_entries: LOG_MANY,
        send_completions: queue,
        ..own
    });
    let mut rings = 0_u64;
    loop {
        post_all(&scratch, 0, completions, 1 << LOG_MANY);
        // A partition that is not polled any more must notify.
        if rings < RINGS || rings.is_multiple_of(1 << 14) {
            queues.ring(queues.pair);
        }
        rings += 1;
        if rings == RINGS {
            log::info!("floods");
        }
    }
}

/// Requests whose length changes while they are looked at, to a target.
pub(super) fn race(machine: &mut Machine) -> Result<(), Error> {
    let dlid = Lid::new(machine.information.number("target").unwrap_or(1) as u16);
    let rounds = count(machine, 2_000);
    wait_for_port(machine)?;
    let mut queues = Queues::open(machine)?;
    let segment = Segment { address: queues.scratch.address(0), length: LENGTH as u32, l_key: Segment::PHYSICAL };
    let entry = SendEntry { segments: 1, dlid, remote_qp: TARGET, q_key: OPEN, segment, ..SendEntry::default() };
    let first = SEND + ring::ENTRIES as u64 / 8;
    for nth in 0..ENTRIES {
        for (place, word) in (first + ENTRY * nth..).zip(entry.as_bytes().as_chunks().0) {
            queues.scratch.put(place, u64::from_ne_bytes(*word));
        }
    }
    let lengths: [u64; ENTRIES as usize] = core::array::from_fn(|nth| first + ENTRY * nth as u64 + LENGTH_WORD);
    for round in 0..rounds {
        post_all(&queues.scratch, SEND, COMPLETIONS, ENTRIES as u32);
        if round < RINGS || round.is_multiple_of(16) {
            queues.ring(queues.pair);
        }
        // What is too long goes another way than what fits; so each second round is all of what fits.
        for _ in 0..round % 2 * CHANGES {
            for length in LENGTHS {
                lengths.iter().for_each(|&place| queues.scratch.put(place, length));
            }
        }
        lengths.iter().for_each(|&place| queues.scratch.put(place, LENGTHS[0]));
        let soon = queues.machine.time() + LOOK_EVERY / 20;
        queues.machine.wait_until(soon)?;
    }
    queues.end()
}

/// Takes whatever comes, sees that it comes to the buffers and nowhere else, and now and then lets nothing in.
pub(super) fn target(machine: &mut Machine) -> Result<(), Error> {
    let ring = machine.memory.ring(LOG_BUFFERS + 1);
    let mut completions = CompletionQueue::create(&machine.lhca, ring, platform::VECTOR)?;
    let (kind, q_key, log_buffers) = (QueuePairKind::UD, OPEN, LOG_BUFFERS);
    let setup = Setup { kind, port: PORT, q_key, log_buffers, completions: &completions };
    let mut endpoint = Endpoint::open(machine, &setup)?;
    let mut beside: heapless::Vec<Scratch, { 1 << LOG_BUFFERS }> = heapless::Vec::new();
    for _ in 0..1 << LOG_BUFFERS {
        let buffer = machine.memory.buffer(GRH + LENGTH);
        let _ = endpoint.post(machine, buffer);
        let pattern = Scratch::new(machine, BESIDE);
        (0..pattern.words()).for_each(|index| pattern.put(index, Random::new(index).number()));
        let _ = beside.push(pattern);
    }
    wait_for_port(machine)?;
    log::info!("is a target at LID {}", machine.lhca.port(PORT)?.lid);
    let (mut received, mut closed) = (0, 0_u64);
    loop {
        received += take(machine, &mut endpoint, &mut completions);
        for pattern in &beside {
            let changed = (0..pattern.words()).find(|&index| pattern.get(index) != Random::new(index).number());
            changed.map_or(Ok(()), |index| Err(Error::Beside(pattern.address(index))))?;
        }
        if received >= OPEN_FOR {
            received = 0;
            close(machine, &mut endpoint, &mut completions)?;
            closed += 1;
            if closed == 1 {
                log::info!("was closed");
            }
        }
        if !completions.arm() {
            machine.wait();
        }
    }
}

/// Has another key for a while, with which nothing comes in.
fn close(machine: &mut Machine, endpoint: &mut Endpoint, completions: &mut CompletionQueue) -> Result<(), Error> {
    set_key(machine, endpoint, CLOSED)?;
    take(machine, endpoint, completions);
    for _ in 0..LOOKS {
        machine.wait_until(machine.time() + LOOK_EVERY)?;
        if take(machine, endpoint, completions) > 0 {
            return Err(Error::Entered);
        }
    }
    set_key(machine, endpoint, OPEN)
}

/// Takes what came, and posts its buffers again; how much it was.
fn take(machine: &Machine, endpoint: &mut Endpoint, completions: &mut CompletionQueue) -> u64 {
    let mut count = 0;
    while let Some(done) = completions.next(&machine.lhca) {
        let buffer = match endpoint.take(&done) {
            Some(Done::Arrived(arrival)) => arrival.buffer,
            Some(Done::Unfilled(buffer)) => buffer,
            _ => continue,
        };
        let _ = endpoint.post(machine, buffer);
        count += 1;
    }
    count
}

fn set_key(machine: &Machine, endpoint: &mut Endpoint, q_key: QKey) -> Result<(), Error> {
    let (fields, state) = (QueuePairFields::STATE | QueuePairFields::Q_KEY, QueuePairState::READY_TO_SEND);
    let change = QueuePairChange { fields, state, q_key, p_key_index: 0 };
    Ok(endpoint.modify(&machine.lhca, &change)?)
}
