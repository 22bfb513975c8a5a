//! The two roles, and what is counted.

use iba::{Lid, PortNum, QKey, Qpn};
use lhca_contract::{Call, CompletionStatus, QueuePairKind, SendEntry};
use lhca_driver::{CallError, CompletionQueue, Platform};
use platform::{Arrival, Buffer, Done, Endpoint, GRH, Setup};

use crate::end::{End, HELLO, Machine};
use crate::load;
use crate::samples::{ROUNDS, Samples};

const Q_KEY: QKey = QKey::new(0x1ee8);
const PORT: PortNum = PortNum::new(1);
/// Buffers in each direction, as a power of two.
const LOG_BUFFERS: u8 = 7;
const MAX_PAYLOAD: usize = 4096;
/// Longest wait of the sender for a change, in nanoseconds.
const PAUSE: u64 = 1_000_000;
/// Most tries until datagrams cost the same in each round.
const SETTLING: u32 = 100;
/// LIDs at which the peer may be.
const LIDS: u16 = 400;

pub(crate) fn run(machine: &mut Machine) -> Result<u64, CallError> {
    let mut end = End::open(machine)?;
    let load = machine.information.number("load");
    match (machine.information.has("peer"), load) {
        (true, None) => end.answer(machine),
        (true, Some(count)) => load::receive(machine, &mut end, count)?,
        (false, load) => {
            let peer = end.find(machine)?;
            match load {
                None => measure(machine, &mut end, peer)?,
                Some(count) => load::send(machine, &mut end, peer, count)?,
            }
        }
    }
    Ok(0)
}

fn measure(machine: &Machine, end: &mut End, peer: Lid) -> Result<(), CallError> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        samples.count(|| machine.lhca.platform().call(Call::VERSION, [0; 3]));
    }
    samples.show("hypercall");
    end.settle(machine, peer)?;
    let cable = machine.lhca.port(PORT)?.sm_lid;
    for (place, lid) in [("logical", peer), ("cable", cable)] {
        for length in [64, MAX_PAYLOAD] {
            let samples = end.count(machine, lid, length)?;
            samples.show(match (place, length) {
                ("logical", 64) => "logical-64",
                ("logical", _) => "logical-4096",
                (_, 64) => "cable-64",
                _ => "cable-4096",
            });
        }
    }
    log::info!("figures complete");
    Ok(())
}

impl End {
    fn open(machine: &mut Machine) -> Result<Self, CallError> {
        let completions =
            CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_BUFFERS + 1), platform::VECTOR)?;
        let setup = Setup {
            kind: QueuePairKind::UD,
            port: PORT,
            q_key: Q_KEY,
            log_buffers: LOG_BUFFERS,
            completions: &completions,
        };
        let mut endpoint = Endpoint::open(machine, &setup)?;
        for _ in 0..1 << LOG_BUFFERS {
            let buffer = machine.memory.buffer(GRH + MAX_PAYLOAD);
            // There is room for as many.
            let _ = endpoint.post(machine, buffer);
        }
        let free = core::iter::repeat_with(|| machine.memory.buffer(MAX_PAYLOAD)).take(8).collect();
        Ok(Self { endpoint, completions, free })
    }

    /// Sends `length` bytes, if there is a free buffer. The peer runs the same image and was started as often, so that
    /// its queue pair has the same number.
    pub(crate) fn send(&mut self, machine: &Machine, dlid: Lid, length: usize) -> bool {
        let Some(buffer) = self.free.pop() else { return false };
        let address = self.address(dlid);
        match self.endpoint.send(machine, buffer, 0, length, &address) {
            Ok(()) => true,
            Err(buffer) => {
                let _ = self.free.push(buffer);
                false
            }
        }
    }

    fn address(&self, dlid: Lid) -> SendEntry {
        let remote_qp: Qpn = self.endpoint.number();
        SendEntry { dlid, remote_qp, q_key: Q_KEY, ..SendEntry::default() }
    }

    pub(crate) fn say(&mut self, machine: &Machine, dlid: Lid, words: &[u8]) -> bool {
        if let Some(buffer) = self.free.last_mut() {
            buffer[..words.len()].copy_from_slice(words);
        }
        self.send(machine, dlid, words.len())
    }

    /// The next thing that arrived. Buffers that were sent are free again.
    pub(crate) fn next(&mut self, machine: &Machine) -> Option<Arrival> {
        while let Some(completion) = self.completions.next(&machine.lhca) {
            match self.endpoint.take(&completion) {
                Some(Done::Arrived(arrival)) => return Some(arrival),
                Some(Done::Sent(buffer, status)) => {
                    if status != CompletionStatus::SUCCESS && status != CompletionStatus::PORT_DOWN {
                        log::warn!("a datagram was not sent: {status:?}");
                    }
                    let _ = self.free.push(buffer);
                }
                Some(Done::Unfilled(buffer)) => drop(self.endpoint.post(machine, buffer)),
                None => {}
            }
        }
        None
    }

    pub(crate) fn post(&mut self, machine: &Machine, buffer: Buffer) {
        let _ = self.endpoint.post(machine, buffer);
    }

    /// The peer's part: to answer a greeting, and to take all else.
    fn answer(&mut self, machine: &Machine) -> ! {
        loop {
            while let Some(arrival) = self.next(machine) {
                if arrival.payload() == HELLO {
                    self.say(machine, arrival.completion.slid, HELLO);
                }
                self.post(machine, arrival.buffer);
            }
            if !self.completions.arm() {
                machine.wait();
            }
        }
    }

    /// Asks at every LID until the peer answers.
    fn find(&mut self, machine: &Machine) -> Result<Lid, CallError> {
        loop {
            let own = machine.lhca.port(PORT)?.lid;
            for lid in (1..=LIDS).map(Lid::new).filter(|&lid| lid != own) {
                self.say(machine, lid, HELLO);
                if let Some(arrival) = self.next(machine) {
                    let peer = arrival.completion.slid;
                    self.post(machine, arrival.buffer);
                    machine.wait_until(machine.time() + PAUSE)?;
                    while let Some(arrival) = self.next(machine) {
                        self.post(machine, arrival.buffer); // it was asked more than once
                    }
                    return Ok(peer);
                }
            }
            self.completions.arm();
            machine.wait_until(machine.time() + PAUSE)?;
        }
    }

    /// Waits until a datagram costs the same again and again: while a subnet manager is at work, where datagrams go is
    /// found out anew with each of its packets.
    fn settle(&mut self, machine: &Machine, peer: Lid) -> Result<(), CallError> {
        for _ in 0..SETTLING {
            if self.count(machine, peer, 64)?.are_steady() {
                break;
            }
        }
        Ok(())
    }

    /// Counts the instructions from before the doorbell, the store that posts a datagram, until the hypervisor has
    /// dealt with it, and the receiver's completion is there.
    fn count(&mut self, machine: &Machine, lid: Lid, length: usize) -> Result<Samples, CallError> {
        let mut samples = Samples::default();
        for round in 0..ROUNDS {
            if round % 16 == 0 {
                machine.wait_until(machine.time() + PAUSE)?; // the peer posts what it received again
            }
            let Some(buffer) = self.free.pop() else { continue };
            let address = self.address(lid);
            match self.endpoint.prepare(machine, buffer, 0, length, &address) {
                Ok(()) => samples.count(|| self.endpoint.commit(machine)),
                Err(buffer) => drop(self.free.push(buffer)),
            }
            while let Some(arrival) = self.next(machine) {
                self.post(machine, arrival.buffer);
            }
        }
        Ok(samples)
    }
}
