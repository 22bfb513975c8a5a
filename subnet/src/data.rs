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
            return self.drop_at(number);
        }
        if !has_stated_length(&lrh, packet.len()) {
            port.counters.count(PortError::Rcv, 1);
            return Verdict::Done;
        }
        if port.info.port_state() != PortState::ACTIVE && !self.wake(index) {
            return self.drop_at(number);
        }
        match self.kind {
            NodeKind::Switch => self.relay(now, number, lrh, packet),
            NodeKind::ChannelAdapter if lrh.dlid.is_multicast() => Verdict::Deliver(number),
            NodeKind::ChannelAdapter if self.ports[index].has_lid(lrh.dlid) => self.arrive(now, number, packet),
            NodeKind::ChannelAdapter => self.drop_at(number),
        }
    }

    /// Data came to a port that is not Active: the other end is, and if this one is Armed, so is it now (7.2.7).
    #[cold]
    fn wake(&mut self, index: usize) -> bool {
        let port = &mut self.ports[index];
        let is_armed = port.info.port_state() == PortState::ARMED;
        if is_armed {
            port.info.set_port_state(PortState::ACTIVE);
            port.tell(Event::Active);
            self.deadline = Time::default();
        }
        is_armed
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
            NodeKind::Switch => self.relay(now, number, lrh, packet),
            NodeKind::ChannelAdapter => self.leave_with_data(now, number, number, lrh, packet),
        }
    }

    /// Sends a packet on, as the forwarding tables say.
    #[inline]
    fn relay(&mut self, now: Time, from: PortNum, lrh: Lrh, packet: &mut [u8]) -> Verdict {
        let port = &self.ports[self.index(from)];
        if port.info.partition_enforcement_inbound() && !port.admits_packet(packet) {
            return self.constrain(now, from, PortError::RcvConstraint, packet);
        }
        if lrh.dlid.is_multicast() {
            return match self.group(from, &lrh).is_empty() {
                true => self.fail_relay(from),
                false => Verdict::Multicast,
            };
        }
        match self.unicast_route(from, lrh.dlid) {
            Route::Port(port) => self.leave_with_data(now, from, port, lrh, packet),
            Route::Management => self.arrive(now, PortNum::MANAGEMENT, packet),
            _ => self.fail_relay(from),
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
    pub(crate) fn route(&self, from: PortNum, lrh: &Lrh) -> Route {
        if !lrh.dlid.is_multicast() {
            return self.unicast_route(from, lrh.dlid);
        }
        let ports = self.group(from, lrh);
        if ports.is_empty() { Route::NoRoute } else { Route::Multicast(ports) }
    }

    #[inline]
    fn unicast_route(&self, from: PortNum, dlid: Lid) -> Route {
        let Some(relay) = &self.relay else { return Route::NoRoute };
        if self.ports[0].has_lid(dlid) {
            return Route::Management;
        }
        match relay.unicast(dlid) {
            PortNum::DISCARD | PortNum::MANAGEMENT => Route::NoRoute,
            port if port == from => Route::Loop,
            port => Route::Port(port),
        }
    }

    /// The ports of a multicast packet's group that it has yet to go to, having come in by `from`.
    pub(crate) fn group(&self, from: PortNum, lrh: &Lrh) -> PortMask {
        self.relay.as_ref().map_or(PortMask::default(), |relay| relay.multicast(lrh.dlid).without(from))
    }

    /// Sends a packet with this header that came in by `from` on a data lane of port `to`, if that port is Active, and
    /// its partitions admit the packet.
    #[inline]
    pub(crate) fn leave_with_data(
        &mut self,
        now: Time,
        from: PortNum,
        to: PortNum,
        lrh: Lrh,
        packet: &mut [u8],
    ) -> Verdict {
        let words = words(packet);
        let input = if self.kind == NodeKind::Switch { usize::from(from.get()) } else { 0 };
        let Some(port) = self.linked_port(to) else { return Verdict::Done };
        let Some(vl) = port.lane(input, lrh.sl(), words) else {
            port.counters.count(PortError::XmitDiscard, 1);
            return Verdict::Done;
        };
        if let Ok((lrh, _)) = Lrh::mut_from_prefix(packet) {
            lrh.set_vl(vl);
        }
        if port.info.partition_enforcement_outbound() && !port.admits_packet(packet) {
            return self.constrain(now, to, PortError::XmitConstraint, packet);
        }
        port.counters.sent(words, lrh.dlid.is_multicast());
        Verdict::Transmit(to)
    }

    /// Counts a packet that a port's partitions do not admit, and takes up trap 259.
    #[cold]
    fn constrain(&mut self, now: Time, number: PortNum, error: PortError, packet: &[u8]) -> Verdict {
        let index = self.index(number);
        let port = &mut self.ports[index];
        port.counters.count(error, 1);
        let Ok(Packet::Transport(found)) = packet::parse(packet) else { return Verdict::Done };
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
        Verdict::Done
    }
}

/// Bits of trap 259's DataValid: LID 1, LID 2, P_Key, SL and QP 2; QP 1; GID 1 and GID 2.
const VALID_LRH_BTH: u16 = 0b0010_1111;
const VALID_QP1: u16 = 0b0001_0000;
const VALID_GIDS: u16 = 0b1100_0000;

/// Returns `true` if the packet has the length in its header, which counts the invariant CRC; `bytes` lacks that.
fn has_stated_length(lrh: &Lrh, bytes: usize) -> bool {
    let icrc = match lrh.next_header() {
        NextHeader::RawEthertype | NextHeader::RawIpv6 => 0,
        NextHeader::Bth | NextHeader::Grh => 4,
    };
    lrh.link_version() == 0 && usize::from(lrh.packet_length()) * 4 == bytes + icrc && lrh.dlid != Lid::UNASSIGNED
}
