//! Body of a node: its ports and agents, and the way of packets in and out.

use alloc::boxed::Box;

use iba::attr::{NodeDescription, NodeInfo};
use iba::lrh::Lrh;
use iba::packet::SmpPacket;
use iba::{Lid, PortNum, Vl};
use zerocopy::FromBytes;

use crate::counters::PortError;
use crate::directed::{NodeKind, Origin};
use crate::outlet::{Event, LinkRequest};
use crate::port::{Port, PortRole};
use crate::relay::Relay;
use crate::sampler::Sampler;
use crate::time::Time;

/// A node: its identity, its ports and, of a switch, its relay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) kind: NodeKind,
    /// NodeInfo, but for what differs from port to port.
    pub(crate) node_info: NodeInfo,
    pub(crate) description: NodeDescription,
    /// A switch's ports from 0 on, an adapter's from 1 on.
    pub(crate) ports: Box<[Port]>,
    /// Forwarding state of a switch.
    pub(crate) relay: Option<Box<Relay>>,
    pub(crate) sampler: Sampler,
    /// No chore and no timer is due before this.
    pub(crate) deadline: Time,
    /// Link request of a Set, carried out once its response has left.
    pub(crate) link_request: Option<(PortNum, LinkRequest)>,
}

/// Where a packet goes that a node has dealt with in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nowhere.
    Done,
    /// On the link at this port.
    Transmit(PortNum),
    /// To the consumers at this port.
    Deliver(PortNum),
    /// To the ports of its multicast group, but for the one that it came in by.
    Multicast,
}

/// Something that a node does of itself, in the order in which it does them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    Link(PortNum, LinkRequest),
    Event(PortNum, Event),
    /// A trap, which was written as a packet.
    Trap(Verdict),
}

impl Body {
    /// Where port `number` is in `ports`; beyond its end if there is none.
    #[inline]
    pub(crate) fn index(&self, number: PortNum) -> usize {
        let first = u8::from(self.kind == NodeKind::ChannelAdapter);
        number.get().wrapping_sub(first).into()
    }

    /// Port `number`, if there is one.
    pub(crate) fn port(&self, number: PortNum) -> Option<&Port> {
        self.ports.get(self.index(number))
    }

    /// Port `number`, if there is one and it has a link.
    #[inline]
    pub(crate) fn linked_port(&mut self, number: PortNum) -> Option<&mut Port> {
        let index = self.index(number);
        if number == PortNum::MANAGEMENT { None } else { self.ports.get_mut(index) }
    }

    /// The port that packets end at which enter by port `number`.
    #[inline]
    pub(crate) fn end_of(&self, number: PortNum) -> PortNum {
        match self.kind {
            NodeKind::Switch => PortNum::MANAGEMENT,
            NodeKind::ChannelAdapter => number,
        }
    }

    /// Returns the kind of port `number`.
    pub(crate) fn role(&self, number: PortNum) -> PortRole {
        match self.kind {
            NodeKind::ChannelAdapter => PortRole::Adapter,
            NodeKind::Switch if number == PortNum::MANAGEMENT => PortRole::Management,
            NodeKind::Switch => PortRole::External,
        }
    }

    /// Deals with a packet from the link at `port`.
    pub(crate) fn receive(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        let is_smp = packet.first().is_some_and(|first| first >> 4 == Vl::MANAGEMENT.get());
        let quick =
            if is_smp { self.manage_quickly(now, number, packet) } else { self.pass_quickly(now, number, packet) };
        match quick {
            Some(verdict) => verdict,
            None => self.receive_any(now, number, packet),
        }
    }

    /// [`Self::receive`], the long way.
    pub(crate) fn receive_any(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        if now >= self.deadline {
            self.expire(now);
        }
        let Some(port) = self.linked_port(number).filter(|port| port.is_up()) else { return Verdict::Done };
        match SmpPacket::parse_mut(packet) {
            Some(packet) => {
                port.counters.received(SMP_WORDS, false);
                self.receive_smp(now, number, packet)
            }
            None => self.receive_other(now, number, packet),
        }
    }

    /// Deals with a packet from a consumer at `number`.
    pub(crate) fn send(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        match self.send_quickly(now, number, packet) {
            Some(verdict) => verdict,
            None => self.send_any(now, number, packet),
        }
    }

    /// [`Self::send`], the long way.
    pub(crate) fn send_any(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        if now >= self.deadline {
            self.expire(now);
        }
        let index = self.index(number);
        if self.end_of(number) != number || index >= self.ports.len() {
            return Verdict::Done;
        }
        let Ok((lrh, _)) = Lrh::mut_from_prefix(packet) else { return self.drop_at(number) };
        let port = &self.ports[index];
        let to_neighbour = (lrh.slid, lrh.dlid) == (Lid::PERMISSIVE, Lid::PERMISSIVE);
        if !to_neighbour && !port.has_lid(lrh.slid) {
            lrh.slid = port.info.lid; // a packet with a foreign source LID is not sent
        }
        if lrh.vl() != Vl::MANAGEMENT {
            return self.send_data(now, number, packet);
        }
        match SmpPacket::parse_mut(packet) {
            Some(packet) => self.manage(now, Origin::Consumer(number), packet),
            None => self.drop_at(number),
        }
    }

    /// Counts a packet that a rule forbids to act on.
    pub(crate) fn drop_at(&mut self, number: PortNum) -> Verdict {
        let index = self.index(number);
        if let Some(port) = self.ports.get_mut(index) {
            port.counters.drop_one();
        }
        Verdict::Done
    }

    /// Sends a management packet that came in by `from` by port `to`, if there is such a port and its link is up.
    #[inline]
    pub(crate) fn leave(&mut self, from: PortNum, to: PortNum) -> Verdict {
        let Some(port) = self.linked_port(to) else { return self.drop_at(from) };
        if !port.is_up() {
            port.counters.count(PortError::XmitDiscard, 1);
            return Verdict::Done;
        }
        port.counters.sent(SMP_WORDS, false);
        Verdict::Transmit(to)
    }
}

/// Length of a packet with an SMP in words of four bytes, the invariant CRC included.
pub(crate) const SMP_WORDS: u16 = 72;
const _: () = assert!(size_of::<SmpPacket>() / 4 + 1 == SMP_WORDS as usize);

/// Length of a packet in words of four bytes, the invariant CRC included.
#[inline]
pub(crate) fn words(packet: &[u8]) -> u16 {
    u16::try_from(packet.len() / 4 + 1).unwrap_or(u16::MAX)
}
