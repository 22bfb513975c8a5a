//! The partition around the answers: queue pairs, buffers, and the loop.
#![allow(clippy::cast_possible_truncation)] // a Q_Key has 32 bits

use echo_image::{Identity, answer};
use iba::mad::Mad;
use iba::{Lid, PortNum, QKey, Qpn, TransactionId};
use lhca_contract::{Completion, MulticastGroup, QueuePairKind, SendEntry};
use lhca_driver::{CallError, CompletionQueue, Platform, Vmmcall};
use platform::{Arrival, Buffer, Done, Endpoint, GRH, Setup, group};
use zerocopy::{FromBytes, IntoBytes};

type Machine = platform::Machine<Vmmcall>;

/// Buffers of each queue pair, as a power of two.
const LOG_BUFFERS: u8 = 4;
/// The most ports.
const PORTS: usize = 2;
/// Completions that there is room for, as a power of two: all buffers of two queue pairs of two ports, in both
/// directions, and more.
const LOG_COMPLETIONS: u8 = LOG_BUFFERS + 4;
/// The longest datagram.
const MAX_PAYLOAD: usize = 4096;
/// Time until the request to the subnet administrator is repeated, in nanoseconds.
const AGAIN: u64 = 200_000_000;

/// Answers for good; returns only with what went wrong.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, CallError> {
    let mut completions =
        CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_COMPLETIONS), platform::VECTOR)?;
    let mut ports: heapless::Vec<Port, PORTS> = heapless::Vec::new();
    for number in 1..=machine.lhca.attributes()?.ports {
        // There is a place for each.
        let _ = ports.push(Port::open(machine, PortNum::new(number), &completions)?);
    }
    let model = model();
    let khz = machine.information.page().tsc_hz / 1000;
    let identity = Identity { host: machine.information.name(), model: text(&model), khz };
    loop {
        while let Some(done) = completions.next(&machine.lhca) {
            for port in &mut ports {
                port.go_on(machine, &done, &identity)?;
            }
        }
        let mut wake = None;
        for port in &mut ports {
            wake = wake.into_iter().chain(port.join(machine)?).min();
        }
        match wake {
            _ if completions.arm() => {}
            Some(time) => machine.wait_until(time)?,
            None => machine.wait(),
        }
    }
}

/// A port, and its queue pairs.
struct Port {
    number: PortNum,
    management: Service,
    datagrams: Service,
    /// When to ask to be let into the group.
    ask_at: Option<u64>,
}

impl Port {
    fn open(machine: &mut Machine, number: PortNum, completions: &CompletionQueue) -> Result<Self, CallError> {
        let q_key = machine.information.number("q_key").map_or(group::Q_KEY, |key| QKey::new(key as u32));
        let management = Service::open(machine, number, QueuePairKind::GSI, QKey::GSI, completions)?;
        let datagrams = Service::open(machine, number, QueuePairKind::UD, q_key, completions)?;
        Ok(Self { number, management, datagrams, ask_at: machine.information.has("group").then_some(0) })
    }

    /// Does what comes after `done`, if that is of this port.
    fn go_on(&mut self, machine: &Machine, done: &Completion, identity: &Identity<'_>) -> Result<(), CallError> {
        self.datagrams.go_on(machine, done, identity);
        if let Some(lid) = self.management.go_on(machine, done, identity)
            && self.ask_at.take().is_some()
        {
            let group = MulticastGroup { gid: group::GROUP, lid, reserved: [0; 6] };
            self.datagrams.endpoint.attach(&machine.lhca, &group)?;
            log::info!("port {} is in the group {lid}", self.number);
        }
        Ok(())
    }

    /// Asks to be let into the group if it is time; by when to do so again.
    fn join(&mut self, machine: &Machine) -> Result<Option<u64>, CallError> {
        let now = machine.time();
        if self.ask_at.is_some_and(|time| time <= now) {
            self.ask_at = Some(now + AGAIN);
            let port = machine.lhca.port(self.number)?;
            if let Some(mad) = group::request(&port, TransactionId::new(now)) {
                self.management.ask(machine, port.sm_lid, mad.as_bytes());
            }
        }
        Ok(self.ask_at)
    }
}

/// A queue pair that answers. Each buffer goes round: filled, answered in place, sent, and posted again.
struct Service {
    endpoint: Endpoint,
    kind: QueuePairKind,
    q_key: QKey,
    /// To ask from.
    free: Option<Buffer>,
}

impl Service {
    fn open(
        machine: &mut Machine,
        port: PortNum,
        kind: QueuePairKind,
        q_key: QKey,
        completions: &CompletionQueue,
    ) -> Result<Self, CallError> {
        let length = if kind == QueuePairKind::UD { MAX_PAYLOAD } else { size_of::<Mad>() };
        let endpoint = Endpoint::open(machine, &Setup { kind, port, q_key, log_buffers: LOG_BUFFERS, completions })?;
        log::info!("queue pair {} answers at port {port}", endpoint.number());
        let mut service = Self { endpoint, kind, q_key, free: None };
        for _ in 0..=1 << LOG_BUFFERS {
            let buffer = machine.memory.buffer(GRH + length);
            service.release(machine, buffer);
        }
        Ok(service)
    }

    /// Does what comes after `done`, if that is of this queue pair. The group's LID, if it tells that the port is in
    /// the group.
    fn go_on(&mut self, machine: &Machine, done: &Completion, identity: &Identity<'_>) -> Option<Lid> {
        match self.endpoint.take(done)? {
            Done::Arrived(arrival) => {
                let joined = group::joined(arrival.payload()).filter(|_| self.kind == QueuePairKind::GSI);
                self.answer(machine, arrival, identity);
                return joined;
            }
            Done::Unfilled(buffer) | Done::Sent(buffer, _) => self.release(machine, buffer),
        }
        None
    }

    /// Sends a management datagram.
    fn ask(&mut self, machine: &Machine, dlid: Lid, mad: &[u8]) {
        let Some(mut buffer) = self.free.take() else { return };
        buffer[GRH..].copy_from_slice(mad);
        let address = SendEntry { dlid, remote_qp: Qpn::GSI, q_key: self.q_key, ..SendEntry::default() };
        self.free = self.endpoint.send(machine, buffer, GRH, mad.len(), &address).err();
    }

    fn answer(&mut self, machine: &Machine, arrival: Arrival, identity: &Identity<'_>) {
        let (length, address) = (arrival.length(), arrival.sender(self.q_key));
        let mut buffer = arrival.buffer;
        let payload = &mut buffer[GRH..GRH + length];
        let answered = self.kind == QueuePairKind::UD || answer_mad(payload, identity);
        let unsent = if answered { self.endpoint.send(machine, buffer, GRH, length, &address) } else { Err(buffer) };
        if let Err(buffer) = unsent {
            self.release(machine, buffer);
        }
    }

    /// Keeps a buffer to ask from, or lets it be filled. There is room, as there are no more buffers than that.
    fn release(&mut self, machine: &Machine, buffer: Buffer) {
        if let Some(buffer) = self.free.replace(buffer) {
            let _ = self.endpoint.post(machine, buffer);
        }
    }
}

fn answer_mad(payload: &mut [u8], identity: &Identity<'_>) -> bool {
    let Ok(mut mad) = Mad::read_from_bytes(payload) else { return false };
    let answered = answer(&mut mad, identity);
    if answered {
        payload.copy_from_slice(mad.as_bytes());
    }
    answered
}

/// The processor's model, as CPUID tells it in three leaves of 16 bytes (APM vol. 3, E.4.2).
fn model() -> [u8; 48] {
    let mut bytes = [0; 48];
    for (leaf, part) in (0x8000_0002..).zip(bytes.as_chunks_mut::<16>().0) {
        part.copy_from_slice(Vmmcall.cpuid(leaf).as_bytes());
    }
    bytes
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).unwrap_or_default().trim()
}
