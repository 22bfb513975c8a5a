//! What every node is made of, and how packets, links and time act on it.

use alloc::boxed::Box;

use iba::attr::{CapabilityMask, NodeDescription, NodeInfo, PortPhysicalState};
use iba::lrh::Lrh;
use iba::notice::{Changes, LinkStateChange, LocalChange, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::{Lid, PortNum, ProducerType, Vl};
use zerocopy::FromBytes;

use crate::counters::PortError;
use crate::directed::{NodeKind, Origin};
use crate::outlet::{Event, Link, LinkRequest};
use crate::port::{Port, PortRole};
use crate::relay::Relay;
use crate::sampler::Sampler;
use crate::time::Time;

/// A node: its identity, its ports and, of a switch, its relay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Core {
    pub(crate) kind: NodeKind,
    /// NodeInfo, but for what differs from port to port.
    pub(crate) node_info: NodeInfo,
    pub(crate) description: NodeDescription,
    /// A switch's ports from 0 on, an adapter's from 1 on.
    pub(crate) ports: Box<[Port]>,
    /// What a switch has to forward packets.
    pub(crate) relay: Option<Box<Relay>>,
    pub(crate) sampler: Sampler,
    /// No chore and no timer is due before this.
    pub(crate) deadline: Time,
    /// What is to become of a link, once the answer to who asked for it has left.
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

impl Core {
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

    /// What kind of port `number` is.
    pub(crate) fn role(&self, number: PortNum) -> PortRole {
        match self.kind {
            NodeKind::ChannelAdapter => PortRole::Adapter,
            NodeKind::Switch if number == PortNum::MANAGEMENT => PortRole::Management,
            NodeKind::Switch => PortRole::External,
        }
    }

    /// Deals with a packet from the link at `port`.
    pub(crate) fn receive(&mut self, now: Time, number: PortNum, packet: &mut [u8]) -> Verdict {
        match self.receive_quickly(now, number, packet) {
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
        if now >= self.deadline {
            self.expire(now);
        }
        let index = self.index(number);
        if self.end_of(number) != number || index >= self.ports.len() {
            return Verdict::Done;
        }
        let Ok((lrh, _)) = Lrh::mut_from_prefix(packet) else { return self.drop_at(number) };
        let port = &self.ports[index];
        if lrh.slid != Lid::PERMISSIVE && !port.has_lid(lrh.slid) {
            lrh.slid = port.info.lid; // nobody sends in another's name
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

    /// The link at port `number` came up.
    pub(crate) fn link_up(&mut self, now: Time, number: PortNum, link: Link) {
        if self.linked_port(number).is_some_and(|port| port.link_up(link)) {
            self.link_changed(now);
        }
    }

    /// The link at port `number` went down.
    pub(crate) fn link_down(&mut self, now: Time, number: PortNum) {
        let Some(port) = self.linked_port(number) else { return };
        let physical = match port.info.physical_state() {
            PortPhysicalState::DISABLED => PortPhysicalState::DISABLED,
            _ => PortPhysicalState::POLLING,
        };
        if port.link_down(physical) {
            self.link_changed(now);
        }
        self.deadline = Time::default();
    }

    /// A switch tells that a link changed of itself: PortStateChange, and trap 128 (14.2.5.4, 14.3.6).
    fn link_changed(&mut self, now: Time) {
        if let Some(relay) = &mut self.relay {
            relay.info.set_port_state_change(true);
            let lid = self.ports[0].info.lid;
            self.raise(now, PortNum::MANAGEMENT, TrapNumber::LINK_STATE_CHANGE, &LinkStateChange { lid });
        }
    }

    /// Takes up a trap of the port that packets end at which enter by `number`.
    pub(crate) fn raise<D: iba::notice::Details>(&mut self, now: Time, number: PortNum, trap: TrapNumber, details: &D) {
        let producer = match self.kind {
            NodeKind::Switch => ProducerType::SWITCH,
            NodeKind::ChannelAdapter => ProducerType::CHANNEL_ADAPTER,
        };
        let index = self.index(self.end_of(number));
        let Some(port) = self.ports.get_mut(index) else { return };
        let Some(end) = &mut port.end else { return };
        // A port that no manager has taken up has nobody to tell: who comes first reads all there is.
        if port.info.master_sm_lid.is_unicast() {
            end.traps.raise(now, Notice::new(trap, producer, port.info.lid, details));
            self.deadline = Time::default();
        }
    }

    /// Takes up trap 144, or adds to the one that waits.
    pub(crate) fn raise_local_change(&mut self, now: Time, number: PortNum, changes: Changes) {
        let Some(port) = self.port(self.end_of(number)) else { return };
        let waiting = port.end.as_ref().and_then(|end| end.traps.find(TrapNumber::LOCAL_CHANGE));
        let before = waiting.map_or(Changes::empty(), |notice| notice.details::<LocalChange>().changes());
        let mut details = LocalChange::default();
        details.lid = port.info.lid;
        details.set_capability_mask(port.info.capability_mask());
        details.set_changes(before | changes);
        details.set_other_local_changes(!(before | changes).is_empty());
        self.raise(now, number, TrapNumber::LOCAL_CHANGE, &details);
    }

    /// A subnet manager begins or ends at port `number`.
    pub(crate) fn set_is_sm(&mut self, now: Time, number: PortNum, is_sm: bool) {
        let index = self.index(number);
        if self.end_of(number) != number || index >= self.ports.len() {
            return;
        }
        let info = &mut self.ports[index].info;
        let mut mask = info.capability_mask();
        if mask.contains(CapabilityMask::SM) != is_sm {
            mask.set(CapabilityMask::SM, is_sm);
            info.set_capability_mask(mask);
            self.raise_local_change(now, number, Changes::empty());
        }
    }

    /// Gives the node another name.
    pub(crate) fn set_description(&mut self, now: Time, description: NodeDescription) {
        if self.description == description {
            return;
        }
        self.description = description;
        for number in self.end_ports() {
            self.raise_local_change(now, number, Changes::NODE_DESCRIPTION);
        }
    }

    /// The ports that packets end at.
    fn end_ports(&self) -> impl Iterator<Item = PortNum> + use<> {
        let numbers = match self.kind {
            NodeKind::Switch => 0..=0,
            NodeKind::ChannelAdapter => 1..=self.node_info.num_ports,
        };
        numbers.map(PortNum::new)
    }

    /// Ends what time has ended.
    #[cold]
    pub(crate) fn expire(&mut self, now: Time) {
        if let Some(port) = self.ports.get(self.sampler.port()) {
            self.sampler.look(now, &port.counters.total());
        }
        for number in self.end_ports() {
            let index = self.index(number);
            let port = &mut self.ports[index];
            if now >= port.lease {
                // The lease ran out: whoever comes next may take the port over (14.2.4.2).
                port.lease = Time::NEVER;
                port.info.set_m_key_protect_bits(0);
            }
        }
    }

    /// The next chore that is due, a trap being written to `packet`. When none is, the deadline is set anew.
    pub(crate) fn chore(&mut self, now: Time, packet: &mut [u8; size_of::<SmpPacket>()]) -> Option<Chore> {
        if now < self.deadline {
            return None;
        }
        self.expire(now);
        if let Some((number, request)) = self.link_request.take() {
            self.take_down(number, request);
            return Some(Chore::Link(number, request));
        }
        let mut deadline = self.sampler.deadline();
        for number in self.end_ports() {
            let index = self.index(number);
            let port = &mut self.ports[index];
            if let Some(event) = port.next_event() {
                return Some(Chore::Event(number, event));
            }
            deadline = deadline.min(port.lease);
            let may_trap = port.may_trap();
            let timeout = port.info.subnet_timeout();
            if let Some(end) = port.end.as_mut().filter(|_| may_trap) {
                if let Some((transaction, notice)) = end.traps.next(now, timeout) {
                    return Some(Chore::Trap(self.write_trap(number, transaction, notice, packet)));
                }
                deadline = deadline.min(end.traps.deadline());
            }
        }
        self.deadline = deadline;
        None
    }

    /// The node's own side of a link request.
    fn take_down(&mut self, number: PortNum, request: LinkRequest) {
        let Some(port) = self.linked_port(number) else { return };
        port.link_down(match request {
            LinkRequest::Disable => PortPhysicalState::DISABLED,
            LinkRequest::Enable | LinkRequest::Retrain => PortPhysicalState::POLLING,
        });
    }

    /// Counts errors that somebody else saw.
    pub(crate) fn count(&mut self, number: PortNum, error: PortError, times: u32) {
        let index = self.index(number);
        if let Some(port) = self.ports.get_mut(index) {
            port.counters.count(error, times);
        }
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
