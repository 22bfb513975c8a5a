//! Places in memory that are not ours, given to the hypervisor in every way that there is.

use hostile_image::{PAGE, foreign_places, large_pages};
use iba::{Lid, QKey, Qpn};
use lhca_contract::{
    Access, Call, Completion, CompletionKind, CompletionStatus, Event, HcaAttributes, MemoryRegion, MulticastGroup,
    PortAttributes, QueueConfig, QueuePairAttributes, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, ReceiveEntry, Segment, SendEntry, Status, WorkFlags, ring,
};
use lhca_driver::{CompletionQueue, NewQueuePair, QueuePair};
use platform::{GRH, group};
use zerocopy::IntoBytes;

use super::datagrams::{LENGTH, PORT, wait_for_port};
use super::error::Error;
use super::machine::Machine;
use super::queues::{ARGUMENT, LOG_ENTRIES, Queues, SEND};
use super::raw::Scratch;

/// The queue pair for datagrams of a partition that runs `echo`: the second one that it creates.
const ECHO: Qpn = Qpn::new(0x101);
/// So many receive requests are posted at once: fewer than `echo` posts.
const BATCH: usize = 8;
/// Time after which a missing echo is requested again, in nanoseconds; a late one finds no room.
const AGAIN: u64 = 50_000_000;
const WORD: u64 = 8;

/// Structures, rings, and what is sent and received, at every kind of place that is not ours.
pub(super) fn places(machine: &mut Machine) -> Result<(), Error> {
    let mut queues = Queues::open(machine)?;
    structures(&mut queues)?;
    rings(&mut queues)?;
    regions(&mut queues)?;
    queues.end()?;
    let mut traffic = Traffic::open(machine)?;
    let (sent, filled) = (traffic.send_all()?, traffic.fill_all()?);
    log::info!("{sent} sends and {filled} receives were refused");
    Ok(())
}

/// Structures that calls read and write.
fn structures(queues: &mut Queues<'_>) -> Result<(), Error> {
    let pair = u64::from(queues.pair.0);
    let (first, second) = (None, Some(pair));
    let calls = [
        (Call::QUERY_HCA, first, size_of::<HcaAttributes>()),
        (Call::QUERY_PORT, Some(1), size_of::<PortAttributes>()),
        (Call::CREATE_COMPLETION_QUEUE, first, size_of::<QueueConfig>()),
        (Call::CREATE_EVENT_QUEUE, first, size_of::<QueueConfig>()),
        (Call::CREATE_QUEUE_PAIR, first, size_of::<QueuePairConfig>()),
        (Call::MODIFY_QUEUE_PAIR, second, size_of::<QueuePairChange>()),
        (Call::QUERY_QUEUE_PAIR, second, size_of::<QueuePairAttributes>()),
        (Call::ATTACH_MULTICAST, second, size_of::<MulticastGroup>()),
        (Call::DETACH_MULTICAST, second, size_of::<MulticastGroup>()),
        (Call::REGISTER_MEMORY, first, size_of::<MemoryRegion>()),
    ];
    let own = queues.scratch.address(ARGUMENT);
    for (call, first, size) in calls {
        for place in foreign_places(queues.memory(), size as u64, WORD).chain((1..WORD).map(|odd| own + odd)) {
            let arguments = first.map_or([place, 0, 0], |first| [first, place, 0]);
            queues.expect(Status::BAD_ADDRESS, call, arguments)?;
        }
    }
    for place in foreign_places(queues.memory(), WORD, 1) {
        queues.expect(Status::BAD_ADDRESS, Call::CONSOLE, [place, WORD, 0])?;
    }
    Ok(())
}

/// Rings of every kind, of the smallest size, a common one, and the largest.
fn rings(queues: &mut Queues<'_>) -> Result<(), Error> {
    let (memory, own, align) = (queues.memory(), queues.scratch.address(SEND), ring::ALIGNMENT as u64);
    for log_entries in [ring::MIN_LOG_ENTRIES, LOG_ENTRIES, ring::MAX_LOG_ENTRIES] {
        let places = |entry: usize| {
            let odd = (WORD..align).step_by(WORD as usize).map(|odd| own + odd);
            foreign_places(memory, ring::bytes(log_entries, entry) as u64, align).chain(odd)
        };
        for (call, entry) in
            [(Call::CREATE_COMPLETION_QUEUE, size_of::<Completion>()), (Call::CREATE_EVENT_QUEUE, size_of::<Event>())]
        {
            for ring in places(entry) {
                let config = QueueConfig { ring, log_entries, ..QueueConfig::default() };
                refuse(queues, call, config.as_bytes())?;
            }
        }
        let pair = queues.pair_config();
        for send_ring in places(size_of::<SendEntry>()) {
            let config = QueuePairConfig { send_ring, send_log_entries: log_entries, ..pair };
            refuse(queues, Call::CREATE_QUEUE_PAIR, config.as_bytes())?;
        }
        for receive_ring in places(size_of::<ReceiveEntry>()) {
            let config = QueuePairConfig { receive_ring, receive_log_entries: log_entries, ..pair };
            refuse(queues, Call::CREATE_QUEUE_PAIR, config.as_bytes())?;
        }
    }
    Ok(())
}

/// Memory regions.
fn regions(queues: &mut Queues<'_>) -> Result<(), Error> {
    for length in [WORD, PAGE, u64::MAX] {
        // From anywhere on there is not so much.
        for physical in foreign_places(queues.memory(), length.min(queues.memory()), WORD) {
            let region = MemoryRegion { address: 0, length, physical, access: Access::LOCAL_WRITE, reserved: 0 };
            refuse(queues, Call::REGISTER_MEMORY, region.as_bytes())?;
        }
    }
    Ok(())
}

fn refuse(queues: &mut Queues<'_>, call: Call, structure: &[u8]) -> Result<(), Error> {
    let address = queues.argument(structure);
    queues.expect(Status::BAD_ADDRESS, call, [address, 0, 0])
}

/// A queue pair whose datagrams a victim sends back.
struct Traffic<'a> {
    machine: &'a mut Machine,
    completions: CompletionQueue,
    pair: QueuePair,
    own: Scratch,
    address: SendEntry,
}

impl<'a> Traffic<'a> {
    fn open(machine: &'a mut Machine) -> Result<Self, Error> {
        let ring = machine.memory.ring(LOG_ENTRIES + 1);
        let completions = CompletionQueue::create(&machine.lhca, ring, platform::VECTOR)?;
        let new = NewQueuePair {
            kind: QueuePairKind::UD,
            port: PORT,
            send: machine.memory.ring(LOG_ENTRIES),
            receive: machine.memory.ring(LOG_ENTRIES),
            send_completions: &completions,
            receive_completions: &completions,
            vector: 0,
        };
        let mut pair = QueuePair::create(&machine.lhca, new)?;
        for state in [QueuePairState::INIT, QueuePairState::READY_TO_RECEIVE, QueuePairState::READY_TO_SEND] {
            let (fields, q_key) = match state {
                QueuePairState::INIT => (QueuePairFields::STATE | QueuePairFields::Q_KEY, group::Q_KEY),
                _ => (QueuePairFields::STATE, QKey::new(0)),
            };
            pair.modify(&machine.lhca, &QueuePairChange { fields, state, q_key, p_key_index: 0 })?;
        }
        wait_for_port(machine)?;
        let own = Scratch::new(machine, LENGTH / size_of::<lhca_driver::Line>());
        let dlid = Lid::new(machine.information.number("victim").unwrap_or(1) as u16);
        let address = SendEntry { dlid, remote_qp: ECHO, q_key: group::Q_KEY, ..SendEntry::default() };
        Ok(Self { machine, completions, pair, own, address })
    }

    /// Sends from every place; how many there were.
    fn send_all(&mut self) -> Result<u64, Error> {
        let memory = self.machine.information.page().memory;
        let mut places = 0;
        self.send(self.own_segment(), None, WorkFlags::empty(), CompletionStatus::SUCCESS)?;
        for address in foreign_places(memory, LENGTH as u64, WORD).chain(large_pages(memory)) {
            let segment = Segment { address, length: LENGTH as u32, l_key: Segment::PHYSICAL };
            let short = Segment { length: WORD as u32, ..self.own_segment() };
            self.send(segment, None, WorkFlags::empty(), CompletionStatus::PROTECTION)?;
            self.send(segment, None, WorkFlags::INDIRECT, CompletionStatus::PROTECTION)?;
            self.send(short, Some(segment), WorkFlags::empty(), CompletionStatus::PROTECTION)?;
            places += 1;
        }
        Ok(places)
    }

    /// Sends once, and sees what becomes of it.
    fn send(
        &mut self,
        segment: Segment,
        second: Option<Segment>,
        flags: WorkFlags,
        expected: CompletionStatus,
    ) -> Result<(), Error> {
        let segments = 1 + u8::from(second.is_some());
        let mut entry = SendEntry { flags, segments, segment, ..self.address };
        if let Some(second) = second {
            entry.set_second_segment(second);
        }
        // There is room: nothing else is on its way.
        let _ = self.pair.send(&self.machine.lhca, &entry);
        loop {
            while let Some(done) = self.completions.next(&self.machine.lhca) {
                if done.kind == CompletionKind::SEND {
                    let is_right = done.status == expected;
                    return if is_right { Ok(()) } else { Err(Error::Reached(segment.address)) };
                }
            }
            if !self.completions.arm() {
                self.machine.wait();
            }
        }
    }

    /// Has echoes laid at every place; how many there were.
    fn fill_all(&mut self) -> Result<u64, Error> {
        let memory = self.machine.information.page().memory;
        let length = GRH + LENGTH;
        let mut places = foreign_places(memory, length as u64, WORD).chain(large_pages(memory)).peekable();
        let mut count = 0;
        while places.peek().is_some() {
            let batch: heapless::Vec<u64, BATCH> = places.by_ref().take(BATCH).collect();
            for &address in &batch {
                let mut entry = ReceiveEntry { id: address, segments: 1, ..ReceiveEntry::default() };
                entry.segment[0] = Segment { address, length: length as u32, l_key: Segment::PHYSICAL };
                let _ = self.pair.receive(&self.machine.lhca, &entry);
            }
            self.fill(batch.len())?;
            count += batch.len() as u64;
        }
        Ok(count)
    }

    /// Asks for echoes until what is posted has been tried.
    fn fill(&mut self, mut posted: usize) -> Result<(), Error> {
        while posted > 0 {
            for _ in 0..posted {
                let entry = SendEntry { segments: 1, segment: self.own_segment(), ..self.address };
                let _ = self.pair.send(&self.machine.lhca, &entry);
            }
            let until = self.machine.time() + AGAIN;
            while posted > 0 && self.machine.time() < until {
                while let Some(done) = self.completions.next(&self.machine.lhca) {
                    match (done.kind, done.status) {
                        (CompletionKind::SEND, _) => {}
                        (_, CompletionStatus::PROTECTION) => posted -= 1,
                        _ => return Err(Error::Reached(done.id)),
                    }
                }
                if posted > 0 && !self.completions.arm() {
                    self.machine.wait_until(until)?;
                }
            }
        }
        Ok(())
    }

    fn own_segment(&self) -> Segment {
        Segment { address: self.own.address(0), length: LENGTH as u32, l_key: Segment::PHYSICAL }
    }
}
