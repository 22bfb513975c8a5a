//! The partition around the protocol: the HCA, the aliased queue pairs, and the loop.

use core::time::Duration;

use hca_driver::{CHECK_PERIOD, Event, Hca, MAX_PACKET, Port};
use lhca_driver::{CallError, EventQueue};
use platform::VECTOR;
use thiserror::Error;

use crate::hca::{self, Bell};
use crate::machine::Machine;
use crate::port::LentPort;

/// Events that there is room for, as a power of two.
const LOG_EVENTS: u8 = 5;

/// Why there is no bridge.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("the partition has no HCA of its own: it needs one in its row of the partition table")]
    NoHca,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Hands packets on for good; returns only with what went wrong.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, Error> {
    let hca = hca::open(&machine.information.page().hca).ok_or(Error::NoHca)?;
    let events = EventQueue::create(&machine.lhca, machine.memory.ring(LOG_EVENTS), VECTOR)?;
    let mut ports = heapless::Vec::new();
    for port in Port::ALL {
        if let Some(lent) = LentPort::open(machine, port)? {
            // There is a place for each.
            let _ = ports.push(lent);
        }
    }
    let mut bridge = Bridge { hca, events, ports, buffer: [0; MAX_PACKET] };
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
    ports: heapless::Vec<LentPort, { Port::ALL.len() }>,
    buffer: [u8; MAX_PACKET],
}

impl Bridge {
    /// Does what there is to do. Whether there is more; if not, an interrupt will tell.
    fn turn(&mut self, machine: &Machine, now: u64) -> Result<bool, CallError> {
        let Self { hca, events, ports, buffer } = self;
        while let Some(event) = hca.check(Duration::from_nanos(now)) {
            if let Event::Refused(fault) | Event::Lost(fault) = event {
                log::warn!("the HCA is lost: {fault}");
            }
            ports.iter_mut().for_each(|lent| lent.note(machine, &event));
        }
        while events.next(&machine.lhca).is_some() {
            ports.iter_mut().for_each(LentPort::doubt);
        }
        let mut busy = events.arm();
        for lent in ports {
            busy |= lent.turn(machine, hca, buffer)?;
        }
        Ok(busy)
    }
}
