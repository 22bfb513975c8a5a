//! The partition around the protocol: the HCA, the aliased queue pairs, and the loop.

use core::time::Duration;

use bridge_image::{outbound, own};
use hca_driver::{CHECK_PERIOD, Event, Hca, MAX_PACKET, Port};
use iba::{Lid, PKey, PortNum, Qpn};
use lhca::{CallError, EventQueue, Vmmcall};
use lhca_contract::{QueuePairKind, SendEntry};
use platform::VECTOR;
use thiserror::Error;
use zerocopy::IntoBytes;

use crate::hca::{self, Bell};
use crate::line::Line;

pub(crate) type Machine = platform::Machine<Vmmcall>;

/// The port that is lent.
pub(crate) const LHCA_PORT: PortNum = PortNum::new(1);

/// Events that there is room for, as a power of two.
const LOG_EVENTS: u8 = 5;

/// Packets that are taken from one queue of the HCA before the others get their turn.
const BATCH: usize = 64;

/// P_Keys that the port may have.
const P_KEYS: usize = 32;

/// Why there is no bridge.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("the partition has no HCA of its own: name one in its row of the partition table")]
    NoHca,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Hands packets on for good; returns only with what went wrong.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, Error> {
    let hca = hca::open(&machine.information.page().hca).ok_or(Error::NoHca)?;
    let events = EventQueue::create(&machine.lhca, machine.memory.ring(LOG_EVENTS), VECTOR)?;
    let lines = [Line::open(machine, QueuePairKind::SMI)?, Line::open(machine, QueuePairKind::GSI)?];
    let (lid, p_keys) = (Lid::UNASSIGNED, heapless::Vec::new());
    let mut bridge = Bridge { hca, events, lines, lid, p_keys, stale: true, buffer: [0; MAX_PACKET] };
    log::info!("lends port {LHCA_PORT}");
    loop {
        let now = machine.time();
        if !bridge.turn(machine, now)? {
            machine.wait_until(now + CHECK_PERIOD.as_nanos() as u64)?;
        }
    }
}

struct Bridge {
    hca: Hca<Bell>,
    events: EventQueue,
    /// For subnet management, and for all else.
    lines: [Line; 2],
    lid: Lid,
    p_keys: heapless::Vec<PKey, P_KEYS>,
    /// Whether what is known of the port, here and at the host's end, may be out of date.
    stale: bool,
    buffer: [u8; MAX_PACKET],
}

impl Bridge {
    /// Does what there is to do. Whether there is more; if not, an interrupt will tell.
    fn turn(&mut self, machine: &Machine, now: u64) -> Result<bool, CallError> {
        while let Some(event) = self.hca.check(Duration::from_nanos(now)) {
            match event {
                Event::LinkUp { .. } => self.stale = true,
                // Whoever was a subnet manager there is not heard any more.
                Event::LinkDown { .. } => self.set_is_sm(machine, false),
                Event::Refused(fault) | Event::Lost(fault) => log::warn!("the HCA is lost: {fault}"),
                Event::Attached(_) => {}
            }
        }
        while self.events.next(&machine.lhca).is_some() {
            self.stale = true;
        }
        if self.stale && self.lines[0].room() >= own::QUESTIONS {
            self.look(machine)?;
        }
        let mut busy = self.events.arm();
        for line in 0..self.lines.len() {
            busy |= self.take(machine, line);
            let Self { hca, lines, lid, p_keys, .. } = self;
            busy |= lines[line].serve(machine, hca, *lid, p_keys);
        }
        Ok(busy)
    }

    /// Asks how the port is, for itself and for the host's end.
    fn look(&mut self, machine: &Machine) -> Result<(), CallError> {
        let port = machine.lhca.port(LHCA_PORT)?;
        self.lid = port.lid;
        self.p_keys.clear();
        for index in 0..port.p_keys.min(P_KEYS as u16) {
            let _ = self.p_keys.push(machine.lhca.p_key(LHCA_PORT, index)?);
        }
        let address = SendEntry { dlid: Lid::PERMISSIVE, remote_qp: Qpn::SMI, ..SendEntry::default() };
        for question in own::questions(LHCA_PORT) {
            self.lines[0].send(machine, question.as_bytes(), &address);
        }
        self.stale = false;
        Ok(())
    }

    /// Takes what programs sent by one queue. Whether there is more to do at once; if not, an interrupt will tell.
    fn take(&mut self, machine: &Machine, line: usize) -> bool {
        let queue = self.lines[line].queue();
        for _ in 0..BATCH {
            // While there is no room, what comes stays where it is: a completion tells of room.
            if self.lines[line].room() == 0 {
                return false;
            }
            match self.hca.receive(Port::One, queue, &mut self.buffer) {
                Ok(Some(packet)) => {
                    if let Some(is_sm) = own::announcement(packet) {
                        let _ = self.hca.send(Port::One, queue, packet);
                        self.set_is_sm(machine, is_sm);
                    } else if let Some(outbound) = outbound(packet).filter(|it| it.kind == self.lines[line].kind()) {
                        self.lines[line].forward(machine, &outbound, &self.p_keys);
                    }
                }
                Ok(None) => return self.hca.arm(Port::One, queue),
                Err(fault) => log::warn!("{queue}: {fault}"),
            }
        }
        true
    }

    fn set_is_sm(&mut self, machine: &Machine, is_sm: bool) {
        match machine.lhca.set_is_sm(LHCA_PORT, is_sm) {
            Ok(()) => self.stale = true,
            Err(error) if is_sm => log::warn!("programs here cannot manage the subnet: {error}"),
            Err(_) => {}
        }
    }
}
