//! A port of the LHCA that is lent by the HCA's port of the same number.

use bridge_image::{outbound, own};
use hca_driver::{Doorbell, Event, Hca, MAX_PACKET, Port};
use iba::{Lid, PKey, PortNum, Qpn};
use lhca_contract::{QueuePairKind, SendEntry};
use lhca_driver::CallError;
use zerocopy::IntoBytes;

use crate::line::Line;
use crate::machine::Machine;

/// Packets that are taken from one queue of the HCA before the others get their turn.
const BATCH: usize = 64;

/// P_Keys that the port may have.
const P_KEYS: usize = 32;

/// A port that is lent.
pub(crate) struct LentPort {
    /// The HCA's, and its number.
    port: Port,
    number: PortNum,
    /// For subnet management, and for all else.
    lines: [Line; 2],
    lid: Lid,
    p_keys: heapless::Vec<PKey, P_KEYS>,
    /// `true` if the port's state here and at the host's end may be out of date.
    stale: bool,
}

impl LentPort {
    /// Opens the aliased queue pairs of the LHCA's port that corresponds to `port`; `None` if it has no such port.
    pub(crate) fn open(machine: &mut Machine, port: Port) -> Result<Option<Self>, CallError> {
        let number = PortNum::new(port as u8 + 1);
        if machine.lhca.port(number).is_err() {
            return Ok(None);
        }
        let mut line = |kind| Line::open(machine, kind, port, number);
        let lines = [line(QueuePairKind::SMI)?, line(QueuePairKind::GSI)?];
        log::info!("lends port {number}");
        Ok(Some(Self { port, number, lines, lid: Lid::UNASSIGNED, p_keys: heapless::Vec::new(), stale: true }))
    }

    /// Takes note of what happened to the HCA.
    pub(crate) fn note(&mut self, machine: &Machine, event: &Event) {
        match *event {
            Event::LinkUp { port, .. } if port == self.port => self.stale = true,
            // A subnet manager there is out of reach now.
            Event::LinkDown { port } if port == self.port => self.set_is_sm(machine, false),
            _ => {}
        }
    }

    /// Something happened to the LHCA: what is known of the port may be out of date.
    pub(crate) fn doubt(&mut self) {
        self.stale = true;
    }

    /// Does what there is to do. Whether there is more; if not, an interrupt will tell.
    pub(crate) fn turn<D: Doorbell>(
        &mut self,
        machine: &Machine,
        hca: &mut Hca<D>,
        buffer: &mut [u8; MAX_PACKET],
    ) -> Result<bool, CallError> {
        if self.stale && self.lines[0].room() >= own::QUESTIONS {
            self.look(machine)?;
        }
        let mut busy = false;
        for line in 0..self.lines.len() {
            busy |= self.take(machine, hca, buffer, line);
            let Self { lines, lid, p_keys, .. } = self;
            busy |= lines[line].serve(machine, hca, *lid, p_keys);
        }
        Ok(busy)
    }

    /// Asks how the port is, for itself and for the host's end.
    fn look(&mut self, machine: &Machine) -> Result<(), CallError> {
        let port = machine.lhca.port(self.number)?;
        self.lid = port.lid;
        self.p_keys.clear();
        for index in 0..port.p_keys.min(P_KEYS as u16) {
            let _ = self.p_keys.push(machine.lhca.p_key(self.number, index)?);
        }
        let address = SendEntry { dlid: Lid::PERMISSIVE, remote_qp: Qpn::SMI, ..SendEntry::default() };
        for question in own::questions(self.number) {
            self.lines[0].send(machine, question.as_bytes(), &address);
        }
        self.stale = false;
        Ok(())
    }

    /// Takes what programs sent by one queue. Whether there is more to do at once; if not, an interrupt will tell.
    fn take<D: Doorbell>(
        &mut self,
        machine: &Machine,
        hca: &mut Hca<D>,
        buffer: &mut [u8; MAX_PACKET],
        line: usize,
    ) -> bool {
        let queue = self.lines[line].queue();
        for _ in 0..BATCH {
            // While there is no room, what comes stays where it is: a completion tells of room.
            if self.lines[line].room() == 0 {
                return false;
            }
            match hca.receive(self.port, queue, buffer) {
                Ok(Some(packet)) => {
                    if let Some(manager) = own::announcement(packet) {
                        let is_sm = manager == own::HostManager::Attached;
                        let _ = hca.send(self.port, queue, packet);
                        self.set_is_sm(machine, is_sm);
                    } else if let Some(outbound) = outbound(packet).filter(|it| it.kind == self.lines[line].kind()) {
                        self.lines[line].forward(machine, &outbound, &self.p_keys);
                    }
                }
                Ok(None) => return hca.arm(self.port, queue),
                Err(fault) => log::warn!("port {} {queue}: {fault}", self.number),
            }
        }
        true
    }

    /// Says whether a subnet manager is behind the port.
    fn set_is_sm(&mut self, machine: &Machine, is_sm: bool) {
        match machine.lhca.set_is_sm(self.number, is_sm) {
            Ok(()) => self.stale = true,
            Err(error) if is_sm => log::warn!("programs at port {} cannot manage the subnet: {error}", self.number),
            Err(_) => {}
        }
    }
}
