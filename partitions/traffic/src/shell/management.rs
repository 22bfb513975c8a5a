//! Queue pair 1: the subnet administrator, who lets a port into a group, and the port's own counters.

use iba::mad::{Attribute, Class, Mad, MadHeader, Method, Status};
use iba::pma::{PerfMad, PortCountersExtended};
use iba::{Lid, QKey, Qpn, TransactionId};
use lhca_contract::{Completion, QueuePairKind, SendEntry};
use lhca_driver::{CallError, CompletionQueue};
use platform::{Buffer, Done, Endpoint, GRH, Setup, group};
use traffic_image::Tally;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::machine::{Machine, PORT};

const LOG_BUFFERS: u8 = 2;
const MILLISECOND: u64 = 1_000_000;
/// Interval of requests to the administrator, and of reads of the port.
const AGAIN: u64 = 200 * MILLISECOND;

/// Queue pair 1, and a buffer to ask from.
pub(super) struct Management {
    endpoint: Endpoint,
    free: Option<Buffer>,
    own: Lid,
    ask_at: u64,
    counters_asked: bool,
}

/// Message that was received.
pub(super) enum Heard {
    /// The port is in the group.
    Joined {
        /// The port's LID.
        own: Lid,
        /// The group's.
        group: Lid,
    },
    /// Counters of the port.
    Counters(Tally),
}

impl Management {
    pub(super) fn open(machine: &mut Machine, completions: &CompletionQueue) -> Result<Self, CallError> {
        let setup =
            Setup { kind: QueuePairKind::GSI, port: PORT, q_key: QKey::GSI, log_buffers: LOG_BUFFERS, completions };
        let mut endpoint = Endpoint::open(machine, &setup)?;
        for _ in 0..1 << LOG_BUFFERS {
            let buffer = machine.memory.buffer(GRH + size_of::<Mad>());
            // There is a place for each.
            let _ = endpoint.post(machine, buffer);
        }
        let free = Some(machine.memory.buffer(GRH + size_of::<Mad>()));
        Ok(Self { endpoint, free, own: Lid::default(), ask_at: 0, counters_asked: false })
    }

    /// Asks to be let into the group, once the port can and unless it was just asked; by when to do so again.
    pub(super) fn join(&mut self, machine: &Machine, now: u64) -> Result<u64, CallError> {
        if now < self.ask_at {
            return Ok(self.ask_at);
        }
        self.ask_at = now + AGAIN;
        let port = machine.lhca.port(PORT)?;
        if let Some(mad) = group::request(&port, TransactionId::new(now)) {
            self.own = port.lid;
            self.ask(machine, port.sm_lid, mad.as_bytes());
        }
        Ok(self.ask_at)
    }

    /// Asks the port's own agent for what it counted, unless that was asked already.
    pub(super) fn ask_counters(&mut self, machine: &Machine) -> Result<(), CallError> {
        if !core::mem::replace(&mut self.counters_asked, true) {
            let mut mad = PerfMad::new_zeroed();
            mad.header.base_version = MadHeader::BASE_VERSION;
            (mad.header.class, mad.header.class_version) = (Class::PERF, PerfMad::CLASS_VERSION);
            (mad.header.method, mad.header.attribute_id) = (Method::GET, PortCountersExtended::ID);
            mad.header.transaction_id = TransactionId::new(machine.time());
            mad.attribute_mut::<PortCountersExtended>().port_select = PORT;
            self.ask(machine, self.own, mad.as_bytes());
        }
        Ok(())
    }

    fn ask(&mut self, machine: &Machine, lid: Lid, mad: &[u8]) {
        let Some(mut buffer) = self.free.take() else { return };
        buffer[GRH..].copy_from_slice(mad);
        let address = SendEntry { dlid: lid, remote_qp: Qpn::GSI, q_key: QKey::GSI, ..SendEntry::default() };
        self.free = self.endpoint.send(machine, buffer, GRH, mad.len(), &address).err();
    }

    /// Returns the message of `done`, if it is of this queue pair.
    pub(super) fn take(&mut self, machine: &Machine, done: &Completion) -> Option<Heard> {
        match self.endpoint.take(done)? {
            Done::Arrived(arrival) => {
                let heard = self.hear(arrival.payload());
                let _ = self.endpoint.post(machine, arrival.buffer);
                heard
            }
            Done::Unfilled(buffer) => {
                let _ = self.endpoint.post(machine, buffer);
                None
            }
            Done::Sent(buffer, _) => {
                self.free = Some(buffer);
                None
            }
        }
    }

    fn hear(&mut self, payload: &[u8]) -> Option<Heard> {
        if let Some(group) = group::joined(payload) {
            return Some(Heard::Joined { own: self.own, group });
        }
        let mad = PerfMad::read_from_bytes(payload).ok()?;
        let header = &mad.header;
        let is_answer = (header.class, header.method, header.status) == (Class::PERF, Method::GET_RESP, Status::OK);
        let is_first = is_answer && core::mem::take(&mut self.counters_asked);
        is_first.then(|| Heard::Counters(mad.attribute::<PortCountersExtended>().into()))
    }
}
