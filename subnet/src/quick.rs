//! The short way: what a subnet manager sends most is dealt with without asking all the questions.
//!
//! It leads where the long way leads (`sma`), and a test holds each against the other. A sweep of a subnet is little else
//! than a Get to each port and a forwarding table to each switch, by directed routes.

use iba::mad::{Class, MadHeader, Method, Status};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, MKey, PortNum};

use crate::body::{Body, SMP_WORDS, Verdict};
use crate::directed::{self, NodeKind, Origin, Step};
use crate::dispatch::{Action, SubnetAttribute, classify};
use crate::time::Time;

impl Body {
    /// Deals with a packet from the link at `number`, if it is an SMP by directed route that only passes, or that ends here
    /// and is a Get, or the Set of a block of the linear forwarding table, with the right key. Then nothing comes of
    /// it but what is returned. If not, nothing has happened.
    #[inline(always)] // into who lets the packet out: a quarter of the cost would be in passing it on
    pub(crate) fn receive_quickly(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Option<Verdict> {
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
}
