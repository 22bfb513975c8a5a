//! Packets that are not for queue pair 0.

use iba::attr::PortState;
use iba::lrh::{Lrh, NextHeader};
use iba::notice::{BadPKeySwitch, TrapNumber};
use iba::packet::{self, Packet};
use iba::{Lid, PortNum, Vl};
use zerocopy::FromBytes;

use crate::body::{Body, Verdict, words};
use crate::counters::PortError;
use crate::directed::NodeKind;
use crate::outlet::Event;
use crate::relay::{PortMask, Route};
use crate::time::Time;

impl Body {
    /// Deals with a packet from the link at `number` that is no management packet.
    pub(crate) fn receive_other(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        let index = self.index(number);
        let port = &mut self.ports[index];
        let Ok((&lrh, _)) = Lrh::ref_from_prefix(packet) else {
            port.counters.count(PortError::Rcv, 1);
            return Verdict::Done;
        };
        port.counters.received(words(packet), lrh.dlid.is_multicast());
        if lrh.vl() == Vl::MANAGEMENT {
            port.counters.drop_one();
            return Verdict::Done;
        }
        if !has_stated_length(&lrh, packet.len()) {
            port.counters.count(PortError::Rcv, 1);
            return Verdict::Done;
        }
        match port.info.port_state() {
            PortState::ACTIVE => {}
            PortState::ARMED => {
                // The other end is Active, and so is this one now (7.2.7).
                port.info.set_port_state(PortState::ACTIVE);
                port.tell(Event::Active);
                self.deadline = Time::default();
            }
            _ => return self.drop_at(number),
        }
        match self.kind {
            NodeKind::Switch => self.relay(now, number, &lrh, packet),
            NodeKind::ChannelAdapter if lrh.dlid.is_multicast() => Verdict::Deliver(number),
            NodeKind::ChannelAdapter if self.ports[index].has_lid(lrh.dlid) => self.arrive(now, number, packet),
            NodeKind::ChannelAdapter => self.drop_at(number),
        }
    }

    /// Deals with a packet from a consumer at `number` that is on a data lane.
    pub(crate) fn send_data(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        let index = self.index(number);
        let Ok((&lrh, _)) = Lrh::ref_from_prefix(packet) else { return Verdict::Done };
        if !has_stated_length(&lrh, packet.len()) {
            return self.drop_at(number);
        }
        if self.ports[index].has_lid(lrh.dlid) {
            return self.arrive(now, number, packet);
        }
        match self.kind {
            NodeKind::Switch => self.relay(now, number, &lrh, packet),
            NodeKind::ChannelAdapter => self.leave_with_data(now, number, number, packet),
        }
    }

    /// Sends a packet on, as the forwarding tables say.
    pub(crate) fn relay(&mut self, now: Time, from: PortNum, lrh: &Lrh, packet: &mut [u8]) -> Verdict {
        if !self.may_enter(now, from, packet) {
            return Verdict::Done;
        }
        match self.route(from, lrh) {
            Route::Port(port) => self.leave_with_data(now, from, port, packet),
            Route::Multicast(_) => Verdict::Multicast,
            Route::Management => self.arrive(now, PortNum::MANAGEMENT, packet),
            Route::NoRoute | Route::Loop => self.fail_relay(from),
        }
    }

    /// Sends a management packet on that is routed by LIDs, as the forwarding tables say.
    pub(crate) fn pass_on(&mut self, from: PortNum, lrh: &Lrh) -> Verdict {
        match self.route(from, lrh) {
            Route::Port(port) => self.leave(from, port),
            _ => self.fail_relay(from),
        }
    }

    /// A packet goes nowhere. What the switch sent itself is no error of a port.
    fn fail_relay(&mut self, from: PortNum) -> Verdict {
        match self.linked_port(from) {
            Some(port) => port.counters.count(PortError::RcvSwitchRelay, 1),
            None => return self.drop_at(from),
        }
        Verdict::Done
    }

    /// Where a switch sends a packet with this header that came in by port `from`. Its cost does not depend on how many
    /// ports there are.
    #[inline]
    pub(crate) fn route(&self, from: PortNum, lrh: &Lrh) -> Route {
        let Some(relay) = &self.relay else { return Route::NoRoute };
        let dlid = lrh.dlid;
        if self.ports[0].has_lid(dlid) {
            return Route::Management;
        }
        if dlid.is_multicast() {
            let ports = relay.multicast(dlid).without(from);
            return if ports.is_empty() { Route::NoRoute } else { Route::Multicast(ports) };
        }
        match relay.unicast(dlid) {
            PortNum::DISCARD | PortNum::MANAGEMENT => Route::NoRoute,
            port if port == from => Route::Loop,
            port => Route::Port(port),
        }
    }

    /// The ports of a multicast packet's group that it has yet to go to, having come in by `from`.
    pub(crate) fn group(&self, from: PortNum, packet: &[u8]) -> PortMask {
        match Lrh::ref_from_prefix(packet).map(|(lrh, _)| self.route(from, lrh)) {
            Ok(Route::Multicast(ports)) => ports,
            _ => PortMask::default(),
        }
    }

    /// Sends a packet that came in by `from` on a data lane of port `to`, if that port is Active and its partitions admit
    /// the packet.
    #[inline]
    pub(crate) fn leave_with_data(&mut self, now: Time, from: PortNum, to: PortNum, packet: &mut [u8]) -> Verdict {
        let words = words(packet);
        let input = if self.kind == NodeKind::Switch { usize::from(from.get()) } else { 0 };
        let Some(port) = self.linked_port(to) else { return Verdict::Done };
        let Ok((lrh, _)) = Lrh::mut_from_prefix(packet) else { return Verdict::Done };
        let vl = port.sl_to_vl.get(input).map_or(Vl::MANAGEMENT, |map| map.vl(lrh.sl()));
        // A lane that is not in use, and a packet longer than the other end takes, end here (7.6.6, 18.2.5.4).
        let lanes = port.info.operational_vls().lanes().unwrap_or(0);
        let mtu = port.info.neighbor_mtu().bytes().unwrap_or(0);
        let fits = u32::from(words) * 4 <= u32::from(mtu) + HEADERS;
        if port.info.port_state() != PortState::ACTIVE || vl.get() >= lanes || !fits {
            port.counters.count(PortError::XmitDiscard, 1);
            return Verdict::Done;
        }
        lrh.set_vl(vl);
        let multicast = lrh.dlid.is_multicast();
        if port.info.partition_enforcement_outbound() && !port.admits_packet(packet) {
            self.constrain(now, to, PortError::XmitConstraint, packet);
            return Verdict::Done;
        }
        port.counters.sent(words, multicast);
        Verdict::Transmit(to)
    }

    /// Whether the partitions of the port that a packet came in by admit it (18.2.4.2.1).
    #[inline]
    fn may_enter(&mut self, now: Time, from: PortNum, packet: &[u8]) -> bool {
        let port = &self.ports[self.index(from)];
        if !port.info.partition_enforcement_inbound() || port.admits_packet(packet) {
            return true;
        }
        self.constrain(now, from, PortError::RcvConstraint, packet);
        false
    }

    /// Counts a packet that a port's partitions do not admit, and takes up trap 259.
    #[cold]
    fn constrain(&mut self, now: Time, number: PortNum, error: PortError, packet: &[u8]) {
        let Ok(Packet::Transport(found)) = packet::parse(packet) else { return };
        let index = self.index(number);
        let port = &mut self.ports[index];
        port.counters.count(error, 1);
        port.info.p_key_violations = port.info.p_key_violations.get().saturating_add(1).into();
        let mut details = BadPKeySwitch::default();
        let mut valid = VALID_LRH_BTH;
        (details.lid1, details.lid2, details.p_key) = (found.lrh.slid, found.lrh.dlid, found.bth.p_key);
        details.set_sl(found.lrh.sl());
        details.qp2 = found.bth.dest_qp;
        if let Some(deth) = &found.deth {
            details.qp1 = deth.src_qp;
            valid |= VALID_QP1;
        }
        if let Some(grh) = &found.grh {
            (details.gid1, details.gid2) = (grh.sgid, grh.dgid);
            valid |= VALID_GIDS;
        }
        details.data_valid = valid.into();
        details.switch_lid = self.ports[0].info.lid;
        details.port = number;
        self.raise(now, number, TrapNumber::BAD_P_KEY_SWITCH, &details);
    }
}

/// What the headers of a packet can come to, above its payload: NeighborMTU leaves them out (7.7.8).
const HEADERS: u32 = 124;

/// Bits of trap 259's DataValid: LID 1, LID 2, P_Key, SL and QP 2; QP 1; GID 1 and GID 2.
const VALID_LRH_BTH: u16 = 0b0010_1111;
const VALID_QP1: u16 = 0b0001_0000;
const VALID_GIDS: u16 = 0b1100_0000;

/// Whether a packet is as long as its header states; the invariant CRC, which is counted, is not in `bytes`.
fn has_stated_length(lrh: &Lrh, bytes: usize) -> bool {
    let icrc = match lrh.next_header() {
        NextHeader::RawEthertype | NextHeader::RawIpv6 => 0,
        NextHeader::Bth | NextHeader::Grh => 4,
    };
    lrh.link_version() == 0 && usize::from(lrh.packet_length()) * 4 == bytes + icrc && lrh.dlid != Lid::UNASSIGNED
}
