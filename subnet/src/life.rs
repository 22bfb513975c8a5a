//! Events of a node and its own work: links, traps, timers.

use iba::attr::{CapabilityMask, NodeDescription, PortPhysicalState};
use iba::notice::{Changes, Details, LinkStateChange, LocalChange, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::{PortNum, ProducerType};

use crate::body::{Body, Chore};
use crate::counters::PortError;
use crate::directed::NodeKind;
use crate::outlet::{Link, LinkRequest};
use crate::time::Time;

impl Body {
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
    pub(crate) fn raise<D: Details>(&mut self, now: Time, number: PortNum, trap: TrapNumber, details: &D) {
        let producer = match self.kind {
            NodeKind::Switch => ProducerType::SWITCH,
            NodeKind::ChannelAdapter => ProducerType::CHANNEL_ADAPTER,
        };
        let index = self.index(self.end_of(number));
        let Some(port) = self.ports.get_mut(index) else { return };
        let Some(end) = &mut port.end else { return };
        // Until an SM configures the port there is no destination for traps: the first SM reads all state.
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
                // The lease ran out: the next SM may take the port over (14.2.4.2).
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

    /// Counts errors that the caller observed.
    pub(crate) fn count(&mut self, number: PortNum, error: PortError, times: u32) {
        let index = self.index(number);
        if let Some(port) = self.ports.get_mut(index) {
            port.counters.count(error, times);
        }
    }
}
