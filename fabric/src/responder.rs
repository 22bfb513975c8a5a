//! A host outside that takes part in what partitions exchange: it is in their multicast group, and sends every datagram back to
//! where it came from.

use std::time::Duration;

use iba::attr::{PortInfo, PortState};
use iba::bth::Bth;
use iba::deth::Deth;
use iba::grh::Grh;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::MadHeader;
use iba::packet::{self, Packet, UdHeader};
use iba::sa::SaMad;
use iba::{Gid, Guid, QKey, Qpn, TransactionId};
use platform::group::{join, joined};
use subnet::Time;
use zerocopy::{FromBytes, IntoBytes};

/// The queue pair that its datagrams come from.
const OWN_QP: Qpn = Qpn::new(2);

/// Transaction ids that no umad program has: the client's number, from bit 48 on, is none.
const OWN: TransactionId = TransactionId::new(0xfffe << 48);

/// How long until the administrator is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// The state of the host's membership.
#[derive(Debug, Default)]
pub(super) struct Responder {
    joined: bool,
    ask_at: Time,
}

/// The host's port, as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) info: PortInfo,
    pub(super) guid: Guid,
}

impl Port {
    fn gid(&self) -> Gid {
        Gid { prefix: self.info.gid_prefix, guid: self.guid }
    }
}

impl Responder {
    /// By when to call [`Self::poll`], if the port does not change.
    pub(super) fn deadline(&self) -> Time {
        if self.joined { Time::NEVER } else { self.ask_at }
    }

    /// The packet to be sent now for the host at `port`: it asks to be let into the group.
    pub(super) fn poll(&mut self, now: Time, port: &Port) -> Option<Vec<u8>> {
        let ready = port.info.port_state() == PortState::ACTIVE && port.info.master_sm_lid.is_unicast();
        self.joined &= ready;
        if self.joined || now < self.ask_at {
            return None;
        }
        self.ask_at = now.after(AGAIN);
        ready.then(|| request(port))
    }

    /// What to send for a packet that came to the host at `port`: nothing if it is for others.
    pub(super) fn answer(&mut self, port: &Port, packet: &[u8]) -> Option<Vec<u8>> {
        let Ok(Packet::Transport(found)) = packet::parse(packet) else { return None };
        match found.bth.dest_qp {
            Qpn::SMI => None,
            Qpn::GSI => {
                let (mad, _) = MadHeader::ref_from_prefix(found.payload).ok()?;
                self.joined |= mad.transaction_id == OWN && joined(found.payload).is_some();
                None
            }
            _ => send_back(port, packet),
        }
    }
}

/// The request to be a full member of the group.
fn request(port: &Port) -> Vec<u8> {
    let mad = join(port.gid(), OWN);
    let info = &port.info;
    let mut header = UdHeader::new(info.lid, info.master_sm_lid, info.master_sm_sl(), size_of::<SaMad>());
    header.bth.dest_qp = Qpn::GSI;
    (header.deth.src_qp, header.deth.q_key) = (Qpn::GSI, QKey::GSI);
    [header.as_bytes(), mad.as_bytes()].concat()
}

/// A datagram, turned round.
fn send_back(port: &Port, packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let (lrh, rest) = Lrh::mut_from_prefix(&mut packet).ok()?;
    (lrh.dlid, lrh.slid) = (lrh.slid, port.info.lid);
    let rest = match lrh.next_header() {
        NextHeader::Grh => {
            let (grh, rest) = Grh::mut_from_prefix(rest).ok()?;
            (grh.dgid, grh.sgid) = (grh.sgid, port.gid());
            rest
        }
        _ => rest,
    };
    let (bth, rest) = Bth::mut_from_prefix(rest).ok()?;
    let (deth, _) = Deth::mut_from_prefix(rest).ok()?;
    bth.dest_qp = deth.src_qp;
    deth.src_qp = OWN_QP;
    Some(packet)
}

#[cfg(test)]
mod tests {
    use iba::mad::Method;
    use iba::sa::McMemberRecord;
    use iba::{GidPrefix, Lid, Sl};
    use platform::group::{GROUP, Q_KEY};
    use zerocopy::FromZeros;

    use super::*;

    const SENDER: Lid = Lid::new(5);
    const SENDER_QP: Qpn = Qpn::new(0x101);

    fn port(state: PortState) -> Port {
        let mut info = PortInfo::new_zeroed();
        (info.lid, info.master_sm_lid) = (Lid::new(2), Lid::new(1));
        info.gid_prefix = GidPrefix::new(0xfe80 << 48);
        info.set_port_state(state);
        Port { info, guid: Guid::new(0x22) }
    }

    fn datagram(dlid: Lid, dest_qp: Qpn, grh: Option<Grh>, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() + grh.map_or(0, |_| size_of::<Grh>());
        let mut header = UdHeader::new(SENDER, dlid, Sl::new(0), length);
        (header.bth.dest_qp, header.deth.src_qp, header.deth.q_key) = (dest_qp, SENDER_QP, Q_KEY);
        if grh.is_some() {
            header.lrh.set_next_header(NextHeader::Grh);
        }
        let grh = grh.as_ref().map_or(&[][..], IntoBytes::as_bytes);
        [header.lrh.as_bytes(), grh, header.bth.as_bytes(), header.deth.as_bytes(), payload].concat()
    }

    #[test]
    fn a_datagram_goes_back_as_it_came() {
        let sent = datagram(Lid::new(2), OWN_QP, None, b"payload.");
        let answer = Responder::default().answer(&port(PortState::ACTIVE), &sent).unwrap();
        let Ok(Packet::Transport(back)) = packet::parse(&answer[..]) else { panic!("{answer:?}") };
        assert_eq!((back.lrh.slid, back.lrh.dlid), (Lid::new(2), SENDER));
        assert_eq!((back.bth.dest_qp, back.deth.unwrap().src_qp), (SENDER_QP, OWN_QP));
        assert_eq!(back.payload, b"payload.");
        assert_eq!(answer.len(), sent.len());
    }

    #[test]
    fn what_went_to_the_group_comes_back_from_the_host() {
        let mut grh = Grh::default();
        (grh.sgid.guid, grh.dgid) = (Guid::new(0x55), GROUP);
        grh.set_ip_version(Grh::IP_VERSION);
        grh.next_header = Grh::NEXT_HEADER_BTH;
        grh.payload_length = 28.into(); // BTH, DETH, payload and invariant CRC
        let sent = datagram(Lid::new(0xc001), Qpn::MULTICAST, Some(grh), &[7; 4]);
        let answer = Responder::default().answer(&port(PortState::ACTIVE), &sent).unwrap();
        let Ok(Packet::Transport(back)) = packet::parse(&answer[..]) else { panic!("{answer:?}") };
        let route = back.grh.unwrap();
        assert_eq!((route.sgid, route.dgid), (port(PortState::ACTIVE).gid(), grh.sgid));
        assert_eq!((back.lrh.slid, back.lrh.dlid), (Lid::new(2), SENDER));
    }

    #[test]
    fn it_asks_until_it_is_in_the_group() {
        let mut responder = Responder::default();
        assert_eq!(responder.poll(Time(0), &port(PortState::INIT)), None, "it cannot yet");
        let active = port(PortState::ACTIVE);
        let asked = responder.poll(responder.deadline(), &active).unwrap();
        assert_eq!(responder.poll(Time(1), &active), None, "it just asked");
        assert!(responder.poll(responder.deadline(), &active).is_some());
        let mut mad = SaMad::read_from_bytes(&asked[size_of::<UdHeader>()..]).unwrap();
        assert_eq!(mad.record::<McMemberRecord>().mgid, GROUP);
        mad.header.method = Method::GET_RESP;
        assert_eq!(responder.answer(&active, &datagram(Lid::new(2), Qpn::GSI, None, mad.as_bytes())), None);
        assert_eq!(responder.deadline(), Time::NEVER);
        assert_eq!(responder.poll(Time(1 << 40), &active), None);
        responder.poll(Time(1 << 40), &port(PortState::INIT));
        assert_ne!(responder.deadline(), Time::NEVER, "it has to ask again after its port was down");
    }
}
