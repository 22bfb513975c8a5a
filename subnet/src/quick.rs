//! The short ways: what comes most is dealt with without asking all the questions.
//!
//! They lead where the long ways lead (`sma`, `data`), and tests hold each against the other. A sweep of a subnet is
//! little else than a Get to each port and a forwarding table to each switch, by directed routes; and of the data
//! nearly all goes to one port, and to a queue pair that is a consumer's.

use iba::attr::PortState;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::{Class, MadHeader, Method, Status};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, MKey, PortNum, Qpn, Vl};
use zerocopy::FromBytes;

use crate::body::{Body, SMP_WORDS, Verdict};
use crate::directed::{self, NodeKind, Origin, Step};
use crate::dispatch::{Action, SubnetAttribute, classify};
use crate::port::transport_header;
use crate::time::Time;

impl Body {
    /// Deals with a packet from the link at `number`, if it is an SMP by directed route that only passes, or that ends
    /// here and is a Get, or the Set of a block of the linear forwarding table, with the right key. Then nothing comes
    /// of it but what is returned. If not, nothing has happened.
    #[inline(always)] // into who lets the packet out: a quarter of the cost would be in passing it on
    pub(crate) fn manage_quickly(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Option<Verdict> {
        let packet = SmpPacket::parse_mut(packet)?;
        let MadHeader { base_version, class, .. } = packet.smp.header;
        if now >= self.deadline
            || packet.header.lrh.dlid != Lid::PERMISSIVE
            || base_version != MadHeader::BASE_VERSION
            || class != Class::SUBN_DIRECTED_ROUTE
        {
            return None;
        }
        let is_switch = self.kind == NodeKind::Switch;
        let port = self.linked_port(number).filter(|port| port.is_up())?;
        if directed::ends_here(&packet.smp) {
            return self.answer_quickly(number, packet);
        }
        if is_switch && directed::passes(&packet.smp) {
            port.counters.received(SMP_WORDS, false);
            packet.header.lrh.slid = Lid::PERMISSIVE;
            let step = directed::step(&mut packet.smp, NodeKind::Switch, Origin::Link(number));
            return Some(if let Step::Leave(to) = step { self.leave(number, to) } else { Verdict::Done });
        }
        None
    }

    #[inline(always)]
    fn answer_quickly(&mut self, number: PortNum, packet: &mut SmpPacket) -> Option<Verdict> {
        let MadHeader { class, class_version, method, attribute_id, attribute_modifier, .. } = packet.smp.header;
        let end = self.index(self.end_of(number));
        let own = self.ports.get(end)?.info.m_key;
        if class_version != Smp::CLASS_VERSION || (own != MKey::default() && own != packet.smp.m_key) {
            return None;
        }
        let result = match classify(self.kind, class, method, attribute_id) {
            // About another port of an adapter there is that port's key to ask for.
            Action::Get(SubnetAttribute::PortInfo)
                if self.kind == NodeKind::ChannelAdapter && attribute_modifier.get() != 0 =>
            {
                return None;
            }
            Action::Get(attribute) => self.get(number, attribute, &mut packet.smp),
            Action::Set(SubnetAttribute::LinearForwardingTable) => self.set_linear(&packet.smp),
            _ => return None,
        };
        self.ports[end].lease = Time::NEVER;
        let index = self.index(number);
        let counters = &mut self.ports[index].counters;
        counters.received(SMP_WORDS, false);
        counters.sent(SMP_WORDS, false);
        // C14-9:3 and C14-13:1 in one: what came by a link goes back by the same.
        let hops = packet.smp.hop_count();
        packet.smp.return_path[usize::from(hops & 63)] = number;
        packet.smp.header.method = Method::GET_RESP;
        packet.smp.header.status = if result.is_ok() { Status::OK } else { Status::INVALID_FIELD };
        packet.smp.set_returning(true);
        packet.header.lrh.slid = Lid::PERMISSIVE;
        Some(Verdict::Transmit(number))
    }

    /// Deals with a packet from the link at `number`, if it is data for one port, and passes or ends at a queue pair of
    /// a consumer; as [`Self::manage_quickly`].
    pub(crate) fn pass_quickly(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Option<Verdict> {
        let lrh = unicast_header(packet).filter(|_| now < self.deadline)?;
        let words = lrh.packet_length();
        let index = self.index(number);
        let is_own = self.ports.get(self.index(self.end_of(number)))?.has_lid(lrh.dlid);
        let port = self.ports.get_mut(index).filter(|port| port.info.port_state() == PortState::ACTIVE)?;
        if number == PortNum::MANAGEMENT {
            return None;
        }
        let Some(relay) = &self.relay else {
            let qp = transport_header(packet)??.dest_qp;
            if !is_own || qp == Qpn::SMI || qp == Qpn::GSI {
                return None;
            }
            port.counters.received(words, false);
            return Some(Verdict::Deliver(number));
        };
        let to = relay.unicast(lrh.dlid);
        let out = self.ports.get(usize::from(to.get()))?;
        let vl = out.lane(index, lrh.sl(), words)?;
        let enforced =
            self.ports[index].info.partition_enforcement_inbound() || out.info.partition_enforcement_outbound();
        if is_own || to == PortNum::MANAGEMENT || to == number || (enforced && !self.admit(index, to, packet)) {
            return None;
        }
        self.ports[index].counters.received(words, false);
        self.ports[usize::from(to.get())].counters.sent(words, false);
        set_lane(packet, vl);
        Some(Verdict::Transmit(to))
    }

    /// Returns `true` if the partitions of the port at `index` and of port `to` admit a packet between them, as far as
    /// they are to look.
    fn admit(&self, index: usize, to: PortNum, packet: &[u8]) -> bool {
        let (from, to) = (&self.ports[index], &self.ports[usize::from(to.get())]);
        (!from.info.partition_enforcement_inbound() || from.admits_packet(packet))
            && (!to.info.partition_enforcement_outbound() || to.admits_packet(packet))
    }

    /// Deals with a packet from a consumer at port `number` of an adapter, if it is data for one other port; as
    /// [`Self::manage_quickly`].
    pub(crate) fn send_quickly(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Option<Verdict> {
        let lrh = unicast_header(packet)?;
        if now >= self.deadline || self.kind == NodeKind::Switch {
            return None;
        }
        let port = self.linked_port(number).filter(|port| port.has_lid(lrh.slid) && !port.has_lid(lrh.dlid))?;
        let vl = port.lane(0, lrh.sl(), lrh.packet_length())?;
        port.counters.sent(lrh.packet_length(), false);
        set_lane(packet, vl);
        Some(Verdict::Transmit(number))
    }
}

/// The header of a packet of InfiniBand's transport to one port, on a data lane, that is as long as it states.
#[inline(always)]
fn unicast_header(packet: &[u8]) -> Option<Lrh> {
    let (&lrh, _) = Lrh::ref_from_prefix(packet).ok()?;
    let is_whole = usize::from(lrh.packet_length()) * 4 == packet.len() + 4 && lrh.link_version() == 0;
    let is_transport = matches!(lrh.next_header(), NextHeader::Bth | NextHeader::Grh);
    (is_whole && is_transport && lrh.dlid.is_unicast() && lrh.vl() != Vl::MANAGEMENT).then_some(lrh)
}

/// Puts a packet on a lane.
#[inline(always)]
fn set_lane(packet: &mut [u8], vl: Vl) {
    if let Ok((lrh, _)) = Lrh::mut_from_prefix(packet) {
        lrh.set_vl(vl);
    }
}
