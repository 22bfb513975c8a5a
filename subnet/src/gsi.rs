//! The general services' interface: datagrams for queue pair 1 of a port, whose performance management agent (PMA)
//! answers here (13.5, 16.1).

use iba::bth::Opcode;
use iba::mad::{Class, MadHeader, Method, Status};
use iba::notice::{BadKey, TrapNumber};
use iba::packet::{self, Packet, TransportPacket};
use iba::pma::PerfMad;
use iba::{PortNum, QKey, Qpn};
use zerocopy::{FromBytes, SplitByteSlice};

use crate::body::{Body, Verdict};
use crate::counters::PortError;
use crate::dispatch::{Action, classify};
use crate::port::{Port, transport_header};
use crate::time::Time;

/// A key that a packet can have wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The partition's (10.9).
    PKey,
    /// The receiving queue pair's (10.2.4).
    QKey,
}

/// The headers of a packet, for changes in place.
type Found<'a> = TransportPacket<&'a mut [u8]>;

/// Outcome of a packet at its destination.
enum Outcome {
    /// The packet holds the response.
    Answer,
    /// The packet is for the consumers.
    Deliver,
    /// Discard the packet.
    Drop,
}

impl Body {
    /// Deals with a packet on a data lane that ended at port `number`.
    pub(crate) fn arrive(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        match transport_header(packet).map(|bth| bth.map(|bth| bth.dest_qp)) {
            Some(Some(Qpn::GSI)) => self.arrive_at_gsi(now, number, packet),
            // A data lane leads to no queue pair 0 (C14-1).
            Some(Some(Qpn::SMI)) => self.drop_at(number),
            Some(_) => Verdict::Deliver(number),
            None => {
                self.count(number, PortError::Rcv, 1);
                Verdict::Done
            }
        }
    }

    fn arrive_at_gsi(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        let outcome = match packet::parse(&mut *packet) {
            Ok(Packet::Transport(found)) => self.serve(now, number, found),
            Ok(Packet::Raw { .. }) => Outcome::Deliver,
            Err(_) => {
                self.count(number, PortError::Rcv, 1);
                Outcome::Drop
            }
        };
        match outcome {
            Outcome::Answer => self.send_data(now, number, packet),
            Outcome::Deliver => Verdict::Deliver(number),
            Outcome::Drop => Verdict::Done,
        }
    }

    /// Deals with a datagram for queue pair 1.
    fn serve(&mut self, now: Time, number: PortNum, mut found: Found<'_>) -> Outcome {
        let sane = found.bth.opcode == Opcode::UD_SEND_ONLY && found.lrh.slid.is_unicast();
        if !sane || !self.keys_fit(now, number, &found) {
            self.drop_at(number);
            return Outcome::Drop;
        }
        let Ok(mad) = PerfMad::mut_from_bytes(found.payload) else { return Outcome::Deliver };
        let MadHeader { base_version, class, class_version, method, attribute_id, .. } = mad.header;
        if base_version != MadHeader::BASE_VERSION {
            self.drop_at(number);
            return Outcome::Drop;
        }
        // Subnet management is queue pair 0's.
        let is_subnet = matches!(class, Class::SUBN_LID_ROUTED | Class::SUBN_DIRECTED_ROUTE);
        let status = match classify(self.kind, class, method, attribute_id) {
            _ if is_subnet => {
                self.drop_at(number);
                return Outcome::Drop;
            }
            Action::Deliver => return Outcome::Deliver,
            Action::Read(_) | Action::Write(_) | Action::Refuse(_) if class_version != PerfMad::CLASS_VERSION => {
                Err(Status::BAD_VERSION)
            }
            Action::Read(attribute) => self.read(attribute, mad),
            Action::Write(attribute) => self.write(now, attribute, mad),
            Action::Refuse(status) => Err(status),
            _ => {
                self.drop_at(number);
                return Outcome::Drop;
            }
        };
        mad.header.method = Method::GET_RESP;
        mad.header.status = status.map_or_else(|status| status, |()| Status::OK);
        turn_around(&mut found);
        Outcome::Answer
    }

    /// Returns `true` if a datagram for queue pair 1 has a P_Key of the port's table, and the Q_Key that all of them
    /// have (10.9.4, 10.2.4). If not, that is counted and told of.
    fn keys_fit(&mut self, now: Time, number: PortNum, found: &Found<'_>) -> bool {
        let Some(deth) = &found.deth else { return false };
        let index = self.index(number);
        if !self.ports[index].admits(found.bth.p_key) {
            self.bad_key(now, number, Key::PKey, found);
            return false;
        }
        if deth.q_key != QKey::GSI {
            self.bad_key(now, number, Key::QKey, found);
            return false;
        }
        true
    }

    /// Counts a packet with a wrong key, and takes up trap 257 or 258.
    fn bad_key<B: SplitByteSlice>(&mut self, now: Time, number: PortNum, key: Key, found: &TransportPacket<B>) {
        let index = self.index(number);
        let Some(Port { info, .. }) = self.ports.get_mut(index) else { return };
        let deth = found.deth.as_deref().copied().unwrap_or_default();
        let (trap, key, violations) = match key {
            Key::PKey => (TrapNumber::BAD_P_KEY, found.bth.p_key.get().into(), &mut info.p_key_violations),
            Key::QKey => (TrapNumber::BAD_Q_KEY, deth.q_key.get(), &mut info.q_key_violations),
        };
        *violations = violations.get().saturating_add(1).into();
        let mut details = BadKey::default();
        (details.lid1, details.lid2) = (found.lrh.slid, found.lrh.dlid);
        (details.qp1, details.qp2) = (deth.src_qp, found.bth.dest_qp);
        details.key = key.into();
        details.set_sl(found.lrh.sl());
        if let Some(grh) = &found.grh {
            (details.gid1, details.gid2) = (grh.sgid, grh.dgid);
        }
        self.raise(now, number, trap, &details);
    }

    /// A consumer at `number` refused a packet because of its P_Key or its Q_Key.
    pub(crate) fn refused(&mut self, now: Time, number: PortNum, key: Key, packet: &[u8]) {
        if self.end_of(number) != number {
            return;
        }
        match packet::parse(packet) {
            Ok(Packet::Transport(found)) => self.bad_key(now, number, key, &found),
            Ok(Packet::Raw { .. }) | Err(_) => {}
        }
    }
}

/// Addresses an answer to who asked (13.5.4).
fn turn_around(found: &mut Found<'_>) {
    (found.lrh.dlid, found.lrh.slid) = (found.lrh.slid, found.lrh.dlid);
    if let Some(grh) = &mut found.grh {
        (grh.dgid, grh.sgid) = (grh.sgid, grh.dgid);
        grh.hop_limit = u8::MAX;
    }
    if let Some(deth) = &mut found.deth {
        (found.bth.dest_qp, deth.src_qp) = (deth.src_qp, Qpn::GSI);
    }
}
