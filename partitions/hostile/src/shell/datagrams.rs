//! Datagrams: with keys and addresses of others, and more of them than anybody wants.

use hostile_image::Random;
use iba::attr::{NodeInfo, PortState};
use iba::mad::{Attribute, Class, MadHeader, Method};
use iba::notice::{LinkStateChange, Notice, TrapNumber};
use iba::smp::Smp;
use iba::{Lid, PortNum, ProducerType, QKey, Qpn, Sl, TransactionId};
use lhca_contract::{CompletionStatus, QueuePairKind, SendEntry, WorkFlags};
use lhca_driver::CompletionQueue;
use platform::{Buffer, Done, Endpoint, GRH, Setup};
use zerocopy::{FromZeros, IntoBytes};

use super::error::Error;
use super::machine::{Machine, count, seed};

pub(super) const PORT: PortNum = PortNum::new(1);
pub(super) const LOG_BUFFERS: u8 = 4;
pub(super) const LENGTH: usize = 256;
/// From one look at the port to the next, in nanoseconds.
const LOOK_EVERY: u64 = 20_000_000;
/// Completion statuses that are distinguished.
const STATUSES: usize = 16;
/// Upper half of the transaction IDs of a flood: "host".
const FLOOD: u64 = 0x686f_7374 << 32;

/// A queue pair to flood from.
pub(super) struct Source {
    endpoint: Endpoint,
    pub(super) completions: CompletionQueue,
    free: heapless::Vec<Buffer, { 1 << LOG_BUFFERS }>,
    outcomes: [u64; STATUSES],
}

impl Source {
    /// Opens it, and waits until it can send.
    pub(super) fn open(machine: &mut Machine, kind: QueuePairKind) -> Result<Self, Error> {
        let source = Self::create(machine, kind)?;
        wait_for_port(machine)?;
        Ok(source)
    }

    /// Opens it; as long as the port is not Active, what is sent goes nowhere.
    fn create(machine: &mut Machine, kind: QueuePairKind) -> Result<Self, Error> {
        let completions =
            CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_BUFFERS + 1), platform::VECTOR)?;
        let q_key = QKey::new(1);
        let setup = Setup { kind, port: PORT, q_key, log_buffers: LOG_BUFFERS, completions: &completions };
        let endpoint = Endpoint::open(machine, &setup)?;
        let free = (0..1 << LOG_BUFFERS).map(|_| machine.memory.buffer(GRH + LENGTH)).collect();
        Ok(Self { endpoint, completions, free, outcomes: [0; STATUSES] })
    }

    /// Sends `payload` to `address`, as soon as there is room.
    pub(super) fn send(&mut self, machine: &Machine, payload: &[u8], address: &SendEntry) {
        let mut buffer = loop {
            self.collect(machine);
            match self.free.pop() {
                Some(buffer) => break buffer,
                None if self.completions.arm() => {}
                None => machine.wait(),
            }
        };
        buffer[GRH..GRH + payload.len()].copy_from_slice(payload);
        if let Err(buffer) = self.endpoint.send(machine, buffer, GRH, payload.len(), address) {
            let _ = self.free.push(buffer);
        }
    }

    /// Returns `true` if datagrams are on their way.
    pub(super) fn has_sent(&self) -> bool {
        self.free.len() < 1 << LOG_BUFFERS
    }

    /// Takes back what is done.
    pub(super) fn collect(&mut self, machine: &Machine) {
        while let Some(done) = self.completions.next(&machine.lhca) {
            if let Some(Done::Sent(buffer, status)) = self.endpoint.take(&done) {
                self.outcomes[usize::from(status.0) % STATUSES] += 1;
                // There is a place for each.
                let _ = self.free.push(buffer);
            }
        }
    }

    /// Waits until all that was sent is done.
    fn finish(&mut self, machine: &Machine) {
        while self.has_sent() {
            self.collect(machine);
            if self.has_sent() && !self.completions.arm() {
                machine.wait();
            }
        }
    }

    /// Returns the number of completions by status since the last call.
    fn take_outcomes(&mut self) -> [u64; STATUSES] {
        core::mem::take(&mut self.outcomes)
    }

    /// Waits until all that was sent is done, and says what became of it.
    fn report(&mut self, machine: &Machine) {
        self.finish(machine);
        for (status, times) in (0..).map(CompletionStatus).zip(self.take_outcomes()).filter(|&(_, times)| times > 0) {
            log::info!("{times} sends: {status:?}");
        }
    }
}

/// Waits until the subnet manager has made the port Active.
pub(super) fn wait_for_port(machine: &Machine) -> Result<(), Error> {
    while PortState::new(machine.lhca.port(PORT)?.state) != PortState::ACTIVE {
        machine.wait_until(machine.time() + LOOK_EVERY)?;
    }
    Ok(())
}

/// Leaves queue pairs open, with requests posted.
pub(super) fn abandon(machine: &mut Machine) -> Result<(), Error> {
    let victim = Lid::new(machine.information.number("victim").unwrap_or(1) as u16);
    for kind in [QueuePairKind::UD, QueuePairKind::GSI] {
        let mut source = Source::create(machine, kind)?;
        while let Some(buffer) = source.free.pop() {
            let address = SendEntry { dlid: victim, remote_qp: Qpn::GSI, q_key: QKey::GSI, ..SendEntry::default() };
            let _ = source.endpoint.send(machine, buffer, GRH, LENGTH, &address);
            let room = machine.memory.buffer(GRH + LENGTH);
            let _ = source.endpoint.post(machine, room);
        }
    }
    Ok(())
}

/// Makes something of an address that it must not be, or that opens nothing.
type Spoof = fn(&mut Random, &mut SendEntry);

/// Faults of a datagram, with the expected status where the sender gets one at once.
const SPOOFS: [(&str, Option<CompletionStatus>, Spoof); 10] = [
    ("any Q_Key", Some(CompletionStatus::SUCCESS), |_, _| {}),
    ("queue pair 0", Some(CompletionStatus::BAD_ADDRESS), |_, entry| entry.remote_qp = Qpn::SMI),
    ("no MAD to queue pair 1", Some(CompletionStatus::SUCCESS), |_, entry| {
        (entry.remote_qp, entry.q_key) = (Qpn::GSI, QKey::GSI);
    }),
    ("any queue pair", None, |random, entry| entry.remote_qp = Qpn::new(random.number() as u32)),
    ("any LID", None, |random, entry| entry.dlid = Lid::new(random.number() as u16)),
    ("the permissive LID", Some(CompletionStatus::BAD_ADDRESS), |_, entry| entry.dlid = Lid::PERMISSIVE),
    ("a service level that there is not", Some(CompletionStatus::MALFORMED), |random, entry| {
        entry.sl = Sl::new(16 + random.below(240) as u8);
    }),
    ("another's LID", Some(CompletionStatus::BAD_ADDRESS), |random, entry| {
        entry.source_path = 1 + random.below(255) as u8;
    }),
    ("another's P_Key", Some(CompletionStatus::SUCCESS), |random, entry| entry.p_key_index = random.number() as u16),
    ("another's GUID", Some(CompletionStatus::BAD_ADDRESS), |random, entry| {
        let index = 1 + random.below(15) as u32;
        entry.flags = WorkFlags::GRH;
        entry.grh_word = (index << 28 | random.number() as u32 >> 4).to_be_bytes();
        entry.destination_gid.guid = iba::Guid::new(random.number());
    }),
];

/// Datagrams to the victim, the guard and others, with every kind of key and address that is not right.
pub(super) fn keys(machine: &mut Machine) -> Result<(), Error> {
    let mut source = Source::open(machine, QueuePairKind::UD)?;
    let others = ["victim", "guard"].map(|who| Lid::new(machine.information.number(who).unwrap_or(1) as u16));
    let mut random = Random::new(seed(machine));
    let times = count(machine, 20_000) / SPOOFS.len() as u64;
    for (what, expected, spoof) in SPOOFS {
        for _ in 0..times {
            // The first and the second queue pair that a partition creates have these numbers.
            let (dlid, remote_qp) = (others[random.below(2) as usize], Qpn::new(0x100 + random.below(2) as u32));
            let mut entry = SendEntry { dlid, remote_qp, ..SendEntry::default() };
            entry.q_key = QKey::new(random.number() as u32);
            spoof(&mut random, &mut entry);
            source.send(machine, &[0x61; LENGTH], &entry);
        }
        source.finish(machine);
        let outcomes = source.take_outcomes();
        if expected.is_some_and(|expected| outcomes[usize::from(expected.0)] != times) {
            log::warn!("{outcomes:?}");
            return Err(Error::Spoofed(what));
        }
        log::info!("{times} sends with {what}");
    }
    // Queue pair 1 names the P_Key with each request; ours is the first of the table.
    let mut management = Source::open(machine, QueuePairKind::GSI)?;
    for _ in 0..count(machine, 20_000) / 4 {
        let (dlid, p_key_index) = (others[random.below(2) as usize], 1 + random.below(0xffff) as u16);
        let entry = SendEntry { dlid, p_key_index, remote_qp: Qpn::GSI, q_key: QKey::GSI, ..SendEntry::default() };
        management.send(machine, &[0x61; LENGTH], &entry);
    }
    management.report(machine);
    Ok(())
}

/// Traps to the subnet manager, all the same.
pub(super) fn traps(machine: &mut Machine) -> Result<(), Error> {
    let mut source = Source::open(machine, QueuePairKind::SMI)?;
    log::info!("floods");
    let port = machine.lhca.port(PORT)?;
    let mut details = LinkStateChange::new_zeroed();
    details.lid = port.lid;
    let notice = Notice::new(TrapNumber::LINK_STATE_CHANGE, ProducerType::CHANNEL_ADAPTER, port.lid, &details);
    for nth in 0..count(machine, 20_000) {
        let mut smp = smp(Class::SUBN_LID_ROUTED, Method::TRAP, nth);
        smp.header.attribute_id = Notice::ID;
        smp.set_attribute(&notice);
        source.send(machine, smp.as_bytes(), &SendEntry { dlid: port.sm_lid, ..SendEntry::default() });
    }
    source.report(machine);
    Ok(())
}

/// Questions and commands to the logical switch and beyond.
pub(super) fn smps(machine: &mut Machine) -> Result<(), Error> {
    let mut source = Source::open(machine, QueuePairKind::SMI)?;
    log::info!("floods");
    let mut random = Random::new(seed(machine));
    for nth in 0..count(machine, 20_000) {
        let method = [Method::GET, Method::SET, Method::GET_RESP, Method::TRAP_REPRESS][random.below(4) as usize];
        let mut smp = smp(Class::SUBN_DIRECTED_ROUTE, method, nth);
        smp.header.attribute_id = NodeInfo::ID;
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        let hops = random.below(4) as u8;
        smp.set_hop_count(hops);
        for hop in &mut smp.initial_path[1..=usize::from(hops)] {
            *hop = PortNum::new(random.below(6) as u8);
        }
        source.send(machine, smp.as_bytes(), &SendEntry { dlid: Lid::PERMISSIVE, ..SendEntry::default() });
    }
    source.report(machine);
    Ok(())
}

fn smp(class: Class, method: Method, number: u64) -> Smp {
    let mut smp = Smp::new_zeroed();
    let header = &mut smp.header;
    (header.base_version, header.class, header.class_version) = (MadHeader::BASE_VERSION, class, Smp::CLASS_VERSION);
    (header.method, header.transaction_id) = (method, TransactionId::new(FLOOD | number));
    smp
}
