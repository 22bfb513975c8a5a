//! Ports that partitions lend to umad programs.
//!
//! A partition that lends its ports drives an HCA of its own, whose cables end here, and hands packets on between that HCA
//! and its logical one. So a program at a lent port sends and receives as the partition does: through the aliased queue
//! pair 0, and queue pair 1. There is no node at this end, and what a program is told of the port comes by its cable:
//!
//! - An answer to a directed route without hops is always of the port itself, whoever asked. The partition asks when
//!   its link comes up, and when an event tells of a change; what programs ask and set is seen as well. By the
//!   NodeDescription among the answers, the partition's name, programs find the port.
//! - Whether a subnet manager is here this end says as a port says it that such a thing changed: by trap 144 (IBA vol. 1,
//!   14.2.5.1), to the permissive LID and so no farther than to the partition, until that represses it.

use std::time::Duration;

use iba::attr::{CapabilityMask, NodeDescription, NodeInfo, PKeyTable, PortInfo};
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::{LocalChange, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, PortNum, ProducerType, Sl};
use subnet::Time;

/// How long a repress may take before a trap is sent again.
const INTERVAL: Duration = Duration::from_millis(200);

/// Bits 48 to 63 of the transaction ids of this end's own: those of no client.
const OWN: u64 = 0xffff << 48;

/// A port that a partition lends.
#[derive(Debug)]
pub(super) struct Lent {
    number: PortNum,
    /// The partition's name, as the port told it last.
    name: Option<String>,
    /// Whether another partition's port was here before.
    is_renamed: bool,
    /// Whether it has told its name since its link came up.
    is_named: bool,
    node: Option<NodeInfo>,
    port: Option<PortInfo>,
    p_keys: Option<PKeyTable>,
    is_sm: bool,
    /// Of the last trap.
    transaction: u64,
    /// When to send the trap, again or for the first time; never if the partition knows.
    due: Time,
}

/// What is known of a lent port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) node: NodeInfo,
    pub(super) port: PortInfo,
    pub(super) p_keys: PKeyTable,
}

impl Lent {
    /// Port `number` of what partitions lend by one HCA.
    pub(super) fn new(number: PortNum) -> Self {
        Self {
            number,
            name: None,
            is_renamed: false,
            is_named: false,
            node: None,
            port: None,
            p_keys: None,
            is_sm: false,
            transaction: OWN,
            due: Time::NEVER,
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> PortNum {
        self.number
    }

    /// The name of the partition; `None` as with [`Self::facts`].
    pub(super) fn name(&self) -> Option<&str> {
        self.facts().and(self.name.as_deref())
    }

    /// Whether the port has come to another partition since this was asked last: who was attached is not any more.
    pub(super) fn take_renamed(&mut self) -> bool {
        std::mem::take(&mut self.is_renamed)
    }

    /// The port, as far as its partition has told; `None` until that is all, and while the partition does not run.
    pub(super) fn facts(&self) -> Option<Facts> {
        let facts = Facts { node: self.node?, port: self.port?, p_keys: self.p_keys? };
        self.is_named.then_some(facts)
    }

    /// The link to the partition came up or went down.
    pub(super) fn link_changed(&mut self) {
        (self.node, self.port, self.p_keys) = (None, None, None);
        (self.is_named, self.due) = (false, Time::NEVER);
    }

    /// A program is a subnet manager, or is none any more.
    pub(super) fn set_is_sm(&mut self, now: Time, is_sm: bool) {
        self.is_sm = is_sm;
        self.transaction = OWN | self.transaction.wrapping_add(1);
        if self.is_named {
            self.due = now;
        }
    }

    /// Looks at a packet that came from the partition.
    pub(super) fn learn(&mut self, now: Time, packet: &mut [u8]) {
        let Some(SmpPacket { smp, .. }) = SmpPacket::parse_mut(packet) else { return };
        let is_own = smp.hop_count() == 0 && smp.dr_slid == Lid::PERMISSIVE && smp.dr_dlid == Lid::PERMISSIVE;
        match (smp.header.class, smp.header.method) {
            (Class::SUBN_DIRECTED_ROUTE, Method::GET_RESP) if is_own && smp.status() == Status::OK => {
                self.note(now, smp)
            }
            (Class::SUBN_LID_ROUTED, Method::TRAP_REPRESS) if smp.header.transaction_id.get() == self.transaction => {
                self.due = Time::NEVER;
            }
            _ => {}
        }
    }

    /// Takes up an attribute of the port itself.
    fn note(&mut self, now: Time, smp: &Smp) {
        match (smp.header.attribute_id, smp.header.attribute_modifier.get()) {
            (AttributeId::NODE_DESCRIPTION, _) => self.note_name(now, smp.attribute()),
            (AttributeId::NODE_INFO, _) => self.node = Some(*smp.attribute()),
            (AttributeId::PORT_INFO, port) if port == 0 || port == u32::from(self.number.get()) => {
                self.port = Some(*smp.attribute());
            }
            (AttributeId::P_KEY_TABLE, 0) => self.p_keys = Some(*smp.attribute()),
            _ => {}
        }
    }

    /// Takes up whose port it is. Only then a subnet manager may be told of: one that was here before may be another's.
    fn note_name(&mut self, now: Time, description: &NodeDescription) {
        let name = description.to_string();
        self.is_renamed |= self.name.as_ref().is_some_and(|before| *before != name);
        self.name = Some(name);
        if !std::mem::replace(&mut self.is_named, true) {
            self.due = now;
        }
    }

    /// What is to be sent to the partition now.
    pub(super) fn poll(&mut self, now: Time) -> Option<SmpPacket> {
        (self.due <= now).then(|| {
            self.due = now.after(INTERVAL);
            SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), self.trap())
        })
    }

    /// When to [`Self::poll`] again.
    pub(super) fn deadline(&self) -> Time {
        self.due
    }

    fn trap(&self) -> Smp {
        let lid = self.port.map_or(Lid::UNASSIGNED, |port| port.lid);
        let mut change = LocalChange::default();
        change.lid = lid;
        let mut capabilities = self.port.map_or(CapabilityMask::empty(), |port| port.capability_mask());
        capabilities.set(CapabilityMask::SM, self.is_sm);
        change.set_capability_mask(capabilities);
        let mut smp = Smp::default();
        smp.header.base_version = MadHeader::BASE_VERSION;
        (smp.header.class, smp.header.class_version) = (Class::SUBN_LID_ROUTED, Smp::CLASS_VERSION);
        (smp.header.method, smp.header.attribute_id) = (Method::TRAP, AttributeId::NOTICE);
        smp.header.transaction_id = self.transaction.into();
        smp.set_attribute(&Notice::new(TrapNumber::LOCAL_CHANGE, ProducerType::CHANNEL_ADAPTER, lid, &change));
        smp
    }
}

#[cfg(test)]
mod tests {
    use iba::Guid;
    use zerocopy::IntoBytes;

    use super::*;

    fn answer<A: iba::mad::Attribute>(modifier: u32, attribute: &A) -> SmpPacket {
        let mut smp = Smp::default();
        (smp.header.class, smp.header.method) = (Class::SUBN_DIRECTED_ROUTE, Method::GET_RESP);
        (smp.header.attribute_id, smp.header.attribute_modifier) = (A::ID, modifier.into());
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        smp.set_returning(true);
        smp.set_attribute(attribute);
        SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), smp)
    }

    fn port_info(lid: u16) -> PortInfo {
        let mut info = PortInfo::default();
        info.lid = Lid::new(lid);
        info.set_capability_mask(CapabilityMask::TRAP);
        info
    }

    /// A port whose partition has told all of it; its LID is 7.
    fn lent() -> Lent {
        let mut lent = Lent::new(PortNum::new(1));
        lent.link_changed();
        assert_eq!(lent.poll(Time(0)), None, "it does not know whom to tell");
        tell(&mut lent, Time(0), "bridge");
        lent
    }

    /// Has the partition `name` tell all of its port; its LID is 7.
    fn tell(lent: &mut Lent, now: Time, name: &str) {
        let node = NodeInfo { node_guid: Guid::new(2), ..NodeInfo::default() };
        let mut answers = [
            answer(0, &node),
            answer(1, &port_info(7)),
            answer(0, &PKeyTable::default()),
            answer(0, &NodeDescription::new(name)),
        ];
        for answer in &mut answers {
            assert_eq!((lent.facts(), lent.name()), (None, None), "it does not know all");
            lent.learn(now, answer.as_mut_bytes());
        }
        assert_eq!(lent.name(), Some(name));
    }

    #[test]
    fn who_comes_after_another_is_told_apart() {
        let mut lent = lent();
        assert!(!lent.take_renamed());
        lent.link_changed();
        assert_eq!(lent.name(), None);
        tell(&mut lent, Time(1), "bridge");
        assert!(!lent.take_renamed(), "it has only begun again");
        lent.link_changed();
        tell(&mut lent, Time(2), "other");
        assert!(lent.take_renamed());
        assert!(!lent.take_renamed(), "that was said");
    }

    #[test]
    fn a_second_port_tells_of_itself() {
        let mut lent = Lent::new(PortNum::new(2));
        lent.learn(Time(0), answer(1, &port_info(1)).as_mut_bytes());
        assert_eq!(lent.port, None, "that was the first");
        lent.learn(Time(0), answer(2, &port_info(2)).as_mut_bytes());
        assert_eq!(lent.port.unwrap().lid, Lid::new(2));
    }

    #[test]
    fn what_a_port_answers_of_itself_is_seen() {
        let mut lent = lent();
        assert_eq!(lent.facts().unwrap().port.lid, Lid::new(7));
        lent.learn(Time(0), answer(1, &port_info(9)).as_mut_bytes());
        assert_eq!(lent.facts().unwrap().port.lid, Lid::new(9));
        let mut of_another = [answer(1, &port_info(1)), answer(1, &port_info(2)), answer(1, &port_info(3))];
        of_another[0].smp.set_hop_count(1);
        of_another[1].smp.dr_slid = Lid::new(4);
        of_another[2].smp.set_status(Status::INVALID_FIELD);
        for packet in &mut of_another {
            lent.learn(Time(0), packet.as_mut_bytes());
            assert_eq!(lent.facts().unwrap().port.lid, Lid::new(9));
        }
        lent.link_changed();
        assert_eq!(lent.facts(), None);
    }

    /// The trap that is sent at `now`; it tells of these capabilities.
    fn trap(lent: &mut Lent, now: Time, capabilities: CapabilityMask) -> SmpPacket {
        let packet = lent.poll(now).expect("a trap");
        let notice: &Notice = packet.smp.attribute();
        assert_eq!(notice.trap_number, TrapNumber::LOCAL_CHANGE);
        assert_eq!(notice.details::<LocalChange>().capability_mask(), capabilities);
        packet
    }

    #[test]
    fn that_a_subnet_manager_is_here_is_said_until_it_is_heard() {
        let mut lent = lent();
        let mut repress = trap(&mut lent, Time(0), CapabilityMask::TRAP);
        lent.set_is_sm(Time(1), true);
        trap(&mut lent, Time(1), CapabilityMask::TRAP | CapabilityMask::SM);
        repress.smp.header.method = Method::TRAP_REPRESS;
        lent.learn(Time(2), repress.as_mut_bytes());
        assert_eq!(lent.deadline(), Time(1).after(INTERVAL), "that was of the trap before");
        assert_eq!(lent.poll(Time(2)), None);
        let mut repress = lent.poll(lent.deadline()).unwrap();
        repress.smp.header.method = Method::TRAP_REPRESS;
        lent.learn(Time(2), repress.as_mut_bytes());
        assert_eq!(lent.deadline(), Time::NEVER);
        lent.link_changed();
        assert_eq!(lent.poll(Time(3)), None);
        tell(&mut lent, Time(4), "bridge");
        assert!(lent.poll(Time(4)).is_some(), "a partition that begins knows nothing");
    }
}
