//! A host that responds to partitions with the image `traffic`: it joins their multicast group, and sends every
//! datagram back to its sender.

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

/// The state of the host's membership.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    is_member: bool,
    /// Time of the next request.
    retry_at: Time,
}

/// Attributes of the host's port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) info: PortInfo,
    pub(crate) guid: Guid,
}

impl Port {
    fn gid(&self) -> Gid {
        Gid { prefix: self.info.gid_prefix, guid: self.guid }
    }
}

impl Responder {
    /// Returns the time of the next [`Self::poll`], unless the port changes before.
    pub(crate) fn deadline(&self) -> Time {
        if self.is_member { Time::NEVER } else { self.retry_at }
    }

    /// Returns the request to join the group, if it is due for the host at `port`.
    pub(crate) fn poll(&mut self, now: Time, port: &Port) -> Option<Vec<u8>> {
        let ready = port.info.port_state() == PortState::ACTIVE && port.info.master_sm_lid.is_unicast();
        self.is_member &= ready;
        if self.is_member || now < self.retry_at {
            return None;
        }
        self.retry_at = now.after(RETRY);
        ready.then(|| request(port))
    }

    /// Returns the response to a packet that reached the host at `port`; `None` for a packet to queue pair 0 or 1.
    pub(crate) fn respond(&mut self, port: &Port, packet: &[u8]) -> Option<Vec<u8>> {
        let Ok(Packet::Transport(found)) = packet::parse(packet) else { return None };
        match found.bth.dest_qp {
            Qpn::SMI => None,
            Qpn::GSI => {
                let (mad, _) = MadHeader::ref_from_prefix(found.payload).ok()?;
                self.is_member |= mad.transaction_id == OWN && joined(found.payload).is_some();
                None
            }
            _ => send_back(port, packet),
        }
    }
}

/// Returns the request to join the group as a full member.
fn request(port: &Port) -> Vec<u8> {
    let mad = join(port.gid(), OWN);
    let info = &port.info;
    let mut header = UdHeader::new(info.lid, info.master_sm_lid, info.master_sm_sl(), size_of::<SaMad>());
    header.bth.dest_qp = Qpn::GSI;
    (header.deth.src_qp, header.deth.q_key) = (Qpn::GSI, QKey::GSI);
    [header.as_bytes(), mad.as_bytes()].concat()
}

/// Returns the datagram `packet` with source and destination swapped.
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

/// Source queue pair of its datagrams.
const OWN_QP: Qpn = Qpn::new(2);

/// Transaction id of no umad program: bits 48 to 63, the client's number, are not in use.
const OWN: TransactionId = TransactionId::new(0xfffe << 48);

/// Time until the request to subnet administration is sent again.
const RETRY: Duration = Duration::from_millis(200);

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
    fn response_to_a_datagram_swaps_its_addresses() {
        let sent = datagram(Lid::new(2), OWN_QP, None, b"payload.");
        let answer = Responder::default().respond(&port(PortState::ACTIVE), &sent).unwrap();
        let Ok(Packet::Transport(back)) = packet::parse(&answer[..]) else { panic!("{answer:?}") };
        assert_eq!((back.lrh.slid, back.lrh.dlid), (Lid::new(2), SENDER));
        assert_eq!((back.bth.dest_qp, back.deth.unwrap().src_qp), (SENDER_QP, OWN_QP));
        assert_eq!(back.payload, b"payload.");
        assert_eq!(answer.len(), sent.len());
    }

    #[test]
    fn response_to_a_multicast_comes_from_the_host() {
        let mut grh = Grh::default();
        (grh.sgid.guid, grh.dgid) = (Guid::new(0x55), GROUP);
        grh.set_ip_version(Grh::IP_VERSION);
        grh.next_header = Grh::NEXT_HEADER_BTH;
        grh.payload_length = 28.into(); // BTH, DETH, payload and invariant CRC
        let sent = datagram(Lid::new(0xc001), Qpn::MULTICAST, Some(grh), &[7; 4]);
        let answer = Responder::default().respond(&port(PortState::ACTIVE), &sent).unwrap();
        let Ok(Packet::Transport(back)) = packet::parse(&answer[..]) else { panic!("{answer:?}") };
        let route = back.grh.unwrap();
        assert_eq!((route.sgid, route.dgid), (port(PortState::ACTIVE).gid(), grh.sgid));
        assert_eq!((back.lrh.slid, back.lrh.dlid), (Lid::new(2), SENDER));
    }

    #[test]
    fn request_to_join_is_sent_until_the_host_is_a_member() {
        let mut responder = Responder::default();
        assert_eq!(responder.poll(Time(0), &port(PortState::INIT)), None, "the port is not Active");
        let active = port(PortState::ACTIVE);
        let request = responder.poll(responder.deadline(), &active).unwrap();
        assert_eq!(responder.poll(Time(1), &active), None, "the retry is not due");
        assert!(responder.poll(responder.deadline(), &active).is_some());
        let mut mad = SaMad::read_from_bytes(&request[size_of::<UdHeader>()..]).unwrap();
        assert_eq!(mad.record::<McMemberRecord>().mgid, GROUP);
        mad.header.method = Method::GET_RESP;
        assert_eq!(responder.respond(&active, &datagram(Lid::new(2), Qpn::GSI, None, mad.as_bytes())), None);
        assert_eq!(responder.deadline(), Time::NEVER);
        assert_eq!(responder.poll(Time(1 << 40), &active), None);
        responder.poll(Time(1 << 40), &port(PortState::INIT));
        assert_ne!(responder.deadline(), Time::NEVER, "the port was down");
    }
}
