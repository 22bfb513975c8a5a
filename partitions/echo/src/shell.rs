//! The partition around the answers: queue pairs, buffers, and the loop.
#![allow(clippy::cast_possible_truncation)] // a Q_Key has 32 bits

use echo_image::{Identity, answer};
use iba::mad::Mad;
use iba::{PortNum, QKey};
use lhca::{CallError, CompletionQueue, Platform, Vmmcall};
use lhca_contract::{Completion, QueuePairKind};
use platform::{Arrival, Buffer, Done, Endpoint, GRH, Setup};
use zerocopy::{FromBytes, IntoBytes};

type Machine = platform::Machine<Vmmcall>;

/// Buffers of each queue pair, as a power of two.
const LOG_BUFFERS: u8 = 4;
/// As many queue pairs as two ports have: for management and for datagrams.
const ENDPOINTS: usize = 4;
/// Completions that there is room for, as a power of two: all buffers of all queue pairs, in both directions.
const LOG_COMPLETIONS: u8 = LOG_BUFFERS + 3;
/// The longest datagram.
const MAX_PAYLOAD: usize = 4096;
/// The Q_Key of datagrams, where the arguments name none.
const DEFAULT_Q_KEY: u64 = 0x1ee7;

/// Answers for good; returns only with what went wrong.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, CallError> {
    let mut completions =
        CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_COMPLETIONS), platform::VECTOR)?;
    let q_key = QKey::new(machine.information.number("q_key").unwrap_or(DEFAULT_Q_KEY) as u32);
    let mut services: heapless::Vec<Service, ENDPOINTS> = heapless::Vec::new();
    for number in 1..=machine.lhca.attributes()?.ports {
        for kind in [QueuePairKind::GSI, QueuePairKind::UD] {
            let service = Service::open(machine, PortNum::new(number), kind, q_key, &completions)?;
            log::info!("queue pair {} answers at port {number}", service.endpoint.number());
            // There is one place for each.
            let _ = services.push(service);
        }
    }
    let model = model();
    let khz = machine.information.page().tsc_hz / 1000;
    let identity = Identity { host: machine.information.name(), model: text(&model), khz };
    loop {
        while let Some(done) = completions.next(&machine.lhca) {
            services.iter_mut().for_each(|service| service.go_on(machine, &done, &identity));
        }
        if !completions.arm() {
            machine.wait();
        }
    }
}

/// A queue pair that answers. Each buffer goes round: filled, answered in place, sent, and posted again.
struct Service {
    endpoint: Endpoint,
    kind: QueuePairKind,
    q_key: QKey,
}

impl Service {
    fn open(
        machine: &mut Machine,
        port: PortNum,
        kind: QueuePairKind,
        q_key: QKey,
        completions: &CompletionQueue,
    ) -> Result<Self, CallError> {
        let (q_key, length) =
            if kind == QueuePairKind::UD { (q_key, MAX_PAYLOAD) } else { (QKey::GSI, size_of::<Mad>()) };
        let endpoint = Endpoint::open(machine, &Setup { kind, port, q_key, log_buffers: LOG_BUFFERS, completions })?;
        let mut service = Self { endpoint, kind, q_key };
        for _ in 0..1 << LOG_BUFFERS {
            let buffer = machine.memory.buffer(GRH + length);
            service.post(machine, buffer);
        }
        Ok(service)
    }

    /// Does what comes after `done`, if that is of this queue pair.
    fn go_on(&mut self, machine: &Machine, done: &Completion, identity: &Identity<'_>) {
        match self.endpoint.take(done) {
            Some(Done::Arrived(arrival)) => self.answer(machine, arrival, identity),
            Some(Done::Unfilled(buffer) | Done::Sent(buffer, _)) => self.post(machine, buffer),
            None => {}
        }
    }

    fn answer(&mut self, machine: &Machine, arrival: Arrival, identity: &Identity<'_>) {
        let (length, address) = (arrival.length(), arrival.sender(self.q_key));
        let mut buffer = arrival.buffer;
        let payload = &mut buffer[GRH..GRH + length];
        let answered = self.kind == QueuePairKind::UD || answer_mad(payload, identity);
        let unsent = if answered { self.endpoint.send(machine, buffer, GRH, length, &address) } else { Err(buffer) };
        if let Err(buffer) = unsent {
            self.post(machine, buffer);
        }
    }

    /// Lets a buffer be filled. There is room, as there are no more buffers than places.
    fn post(&mut self, machine: &Machine, buffer: Buffer) {
        let _ = self.endpoint.post(machine, buffer);
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
