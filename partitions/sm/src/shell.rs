//! The partition around the manager: queue pairs, buffers, events, and the loop.

use core::time::Duration;

use iba::mad::Mad;
use iba::{PortNum, QKey, Qpn};
use lhca_contract::{Completion, QueuePairKind, SendEntry};
use lhca_driver::{CallError, CompletionQueue, EventQueue};
use platform::{Buffer, Done, Endpoint, GRH, Setup, VECTOR};
use subnet_manager::{Address, Config, Event, Manager, Outlet};
use thiserror::Error;
use zerocopy::FromBytes;

type Machine = platform::Machine<lhca_driver::Vmmcall>;

/// The LHCA's port that the manager is at.
const PORT: PortNum = PortNum::new(1);
/// Buffers of each queue pair in each direction, as a power of two: more than a window of requests, or of a table's
/// segments.
const LOG_BUFFERS: u8 = 7;
/// Completions that there is room for, as a power of two: all buffers of both queue pairs.
const LOG_COMPLETIONS: u8 = LOG_BUFFERS + 2;
/// Events that there is room for, as a power of two. That some were lost is an event, too.
const LOG_EVENTS: u8 = 4;
/// Memory for rings and buffers beside the heap, in bytes.
const RINGS: usize = 256 << 10;

/// Why the manager ends.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0} bytes of memory are too few for what is in a subnet: give the partition 8M or more")]
    Memory(usize),
}

/// Manages for good; returns only with what went wrong.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, Fault> {
    let left = machine.memory.left();
    let heap = left.checked_sub(RINGS).filter(|&heap| heap > RINGS).ok_or(Fault::Memory(left))?;
    machine.claim_heap(heap);
    let mut completions = CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_COMPLETIONS), VECTOR)?;
    let mut events = EventQueue::create(&machine.lhca, machine.memory.ring(LOG_EVENTS), VECTOR)?;
    let mut port = Port {
        smi: Pair::open(machine, QueuePairKind::SMI, &completions)?,
        gsi: Pair::open(machine, QueuePairKind::GSI, &completions)?,
        machine,
    };
    port.machine.lhca.set_is_sm(PORT, true)?;
    let guid = port.machine.lhca.port(PORT)?.guid;
    let priority = port.machine.information.number("priority").unwrap_or(0).min(15);
    let config = Config { priority: u8::try_from(priority).unwrap_or(15), ..Config::default() };
    log::info!("the subnet manager begins at port {guid} with priority {priority}");
    let mut manager = Manager::new(guid, config, port.now());
    loop {
        while let Some(done) = completions.next(&port.machine.lhca) {
            if let Some((from, mad)) = port.take(&done) {
                manager.receive(port.now(), &from, &mad, &mut port);
            }
        }
        while events.next(&port.machine.lhca).is_some() {
            manager.port_changed(port.now());
        }
        let next = manager.poll(port.now(), &mut port);
        let is_quiet = !completions.arm() & !events.arm();
        if is_quiet {
            port.machine.wait_until(u64::try_from(next.as_nanos()).unwrap_or(u64::MAX))?;
        }
    }
}

/// The port's two queue pairs for management.
struct Port<'a> {
    machine: &'a mut Machine,
    smi: Pair,
    gsi: Pair,
}

/// A queue pair and buffers for what it is to send.
struct Pair {
    endpoint: Endpoint,
    free: heapless::Vec<Buffer, { 1 << LOG_BUFFERS }>,
}

impl Pair {
    fn open(machine: &mut Machine, kind: QueuePairKind, completions: &CompletionQueue) -> Result<Self, CallError> {
        let setup = Setup { kind, port: PORT, q_key: QKey::GSI, log_buffers: LOG_BUFFERS, completions };
        let mut pair = Self { endpoint: Endpoint::open(machine, &setup)?, free: heapless::Vec::new() };
        for _ in 0..1 << LOG_BUFFERS {
            let (posted, free) =
                (machine.memory.buffer(GRH + size_of::<Mad>()), machine.memory.buffer(size_of::<Mad>()));
            // There is a place for each.
            let _ = pair.endpoint.post(machine, posted);
            let _ = pair.free.push(free);
        }
        Ok(pair)
    }

    /// Takes back the buffer that `done` is of, and gives what was received in it.
    fn take(&mut self, machine: &Machine, done: &Completion) -> Option<(Address, [u8; 256])> {
        match self.endpoint.take(done)? {
            Done::Arrived(arrival) => {
                let from = Address { lid: done.slid, qp: done.source_qp, sl: done.sl };
                let mad = <[u8; 256]>::read_from_bytes(arrival.payload()).ok();
                let _ = self.endpoint.post(machine, arrival.buffer);
                Some((from, mad?))
            }
            Done::Unfilled(buffer) => {
                let _ = self.endpoint.post(machine, buffer);
                None
            }
            Done::Sent(buffer, _) => {
                let _ = self.free.push(buffer);
                None
            }
        }
    }
}

impl Port<'_> {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.machine.time())
    }

    fn take(&mut self, done: &Completion) -> Option<(Address, [u8; 256])> {
        self.smi.take(self.machine, done).or_else(|| self.gsi.take(self.machine, done))
    }
}

impl Outlet for Port<'_> {
    fn send(&mut self, to: &Address, mad: &[u8; 256]) {
        let pair = if to.qp == Qpn::SMI { &mut self.smi } else { &mut self.gsi };
        // Where none is free, the datagram is lost, like one on a wire, and its sender will repeat it.
        let Some(mut buffer) = pair.free.pop() else { return };
        buffer.copy_from_slice(mad);
        let address = SendEntry { dlid: to.lid, remote_qp: to.qp, sl: to.sl, q_key: QKey::GSI, ..SendEntry::default() };
        if let Err(buffer) = pair.endpoint.send(self.machine, buffer, 0, size_of::<Mad>(), &address) {
            let _ = pair.free.push(buffer);
        }
    }

    fn tell(&mut self, event: Event) {
        log::info!("{event}");
    }
}
