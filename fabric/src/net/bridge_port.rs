//! Ports of bridges.
//!
//! A bridge is a partition that drives an HCA of its own, whose cables end here. It hands management datagrams on
//! between that HCA and its LHCA. So a program at a bridge's port sends and receives as the partition does: through the
//! aliased queue pair 0, and queue pair 1. This end of the cable has no agent. Its attributes come from the partition:
//!
//! - A response to a directed route without hops describes the partition's own port, whichever requester it is for. The
//!   partition sends such requests when its link comes up and when an event reports a change; requests of programs add
//!   to them. NodeDescription holds the partition's name, by which programs find the port.
//! - This end reports an attached subnet manager as a port reports a change of its capabilities: by trap 144 (IBA vol.
//!   1, 14.2.5.1), to the permissive LID and so no farther than the partition, until the partition represses it.

use std::time::Duration;

use iba::attr::{CapabilityMask, NodeDescription, NodeInfo, PKeyTable, PortInfo};
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::{LocalChange, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, PortNum, ProducerType, Sl};
use subnet::Time;

/// A port of a bridge.
#[derive(Debug)]
pub(super) struct BridgePort {
    number: PortNum,
    /// The partition's name, from the last NodeDescription.
    name: Option<String>,
    /// `true` if the last NodeDescription differs from the one before.
    is_renamed: bool,
    /// `true` if a NodeDescription has come since the link came up.
    is_named: bool,
    node: Option<NodeInfo>,
    port: Option<PortInfo>,
    p_keys: Option<PKeyTable>,
    /// `true` while a program at this port is a subnet manager.
    is_sm: bool,
    /// Transaction id of the last trap.
    transaction: u64,
    /// Time to send the trap; never after the partition repressed it.
    due: Time,
}

/// Attributes of a bridge's port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attributes {
    pub(super) node: NodeInfo,
    pub(super) port: PortInfo,
    pub(super) p_keys: PKeyTable,
}

impl BridgePort {
    /// Creates port `number` of an HCA, without attributes.
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

    /// Returns the port number.
    pub(super) fn number(&self) -> PortNum {
        self.number
    }

    /// Returns the name of the partition; `None` while [`Self::attributes`] is.
    pub(super) fn name(&self) -> Option<&str> {
        self.attributes().and(self.name.as_deref())
    }

    /// Returns `true` if another partition drives the port since the last call: programs at the port must attach again.
    pub(super) fn take_renamed(&mut self) -> bool {
        std::mem::take(&mut self.is_renamed)
    }

    /// Returns the attributes; `None` until the partition has sent all of them, and while it does not run.
    pub(super) fn attributes(&self) -> Option<Attributes> {
        let attributes = Attributes { node: self.node?, port: self.port?, p_keys: self.p_keys? };
        self.is_named.then_some(attributes)
    }

    /// Forgets the attributes, after the link to the partition came up or went down.
    pub(super) fn handle_link_change(&mut self) {
        (self.node, self.port, self.p_keys) = (None, None, None);
        (self.is_named, self.due) = (false, Time::NEVER);
    }

    /// Sets the capability IsSM of the programs at this port.
    pub(super) fn set_is_sm(&mut self, now: Time, is_sm: bool) {
        self.is_sm = is_sm;
        self.transaction = OWN | self.transaction.wrapping_add(1);
        if self.is_named {
            self.due = now;
        }
    }

    /// Reads the attributes and the TrapRepress in a packet from the partition.
    pub(super) fn learn(&mut self, now: Time, packet: &mut [u8]) {
        let Some(SmpPacket { smp, .. }) = SmpPacket::parse_mut(packet) else { return };
        let is_own = smp.hop_count() == 0 && smp.dr_slid == Lid::PERMISSIVE && smp.dr_dlid == Lid::PERMISSIVE;
        match (smp.header.class, smp.header.method) {
            (Class::SUBN_DIRECTED_ROUTE, Method::GET_RESP) if is_own && smp.status() == Status::OK => {
                self.store(now, smp)
            }
            (Class::SUBN_LID_ROUTED, Method::TRAP_REPRESS) if smp.header.transaction_id.get() == self.transaction => {
                self.due = Time::NEVER;
            }
            _ => {}
        }
    }

    /// Stores an attribute of the port itself.
    fn store(&mut self, now: Time, smp: &Smp) {
        match (smp.header.attribute_id, smp.header.attribute_modifier.get()) {
            (AttributeId::NODE_DESCRIPTION, _) => self.store_name(now, smp.attribute()),
            (AttributeId::NODE_INFO, _) => self.node = Some(*smp.attribute()),
            (AttributeId::PORT_INFO, port) if port == 0 || port == u32::from(self.number.get()) => {
                self.port = Some(*smp.attribute());
            }
            (AttributeId::P_KEY_TABLE, 0) => self.p_keys = Some(*smp.attribute()),
            _ => {}
        }
    }

    /// Stores the partition's name. A trap before that could report a subnet manager of another partition's port.
    fn store_name(&mut self, now: Time, description: &NodeDescription) {
        let name = description.to_string();
        self.is_renamed |= self.name.as_ref().is_some_and(|before| *before != name);
        self.name = Some(name);
        if !std::mem::replace(&mut self.is_named, true) {
            self.due = now;
        }
    }

    /// Returns the trap that is due.
    pub(super) fn poll(&mut self, now: Time) -> Option<SmpPacket> {
        (self.due <= now).then(|| {
            self.due = now.after(INTERVAL);
            SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), self.trap())
        })
    }

    /// Returns the time of the next [`Self::poll`].
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

/// Time until a trap without TrapRepress is sent again.
const INTERVAL: Duration = Duration::from_millis(200);

/// Bits 48 to 63 of this end's own transaction ids; no client of the umad server has them.
const OWN: u64 = 0xffff << 48;

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

    /// Creates a port with all attributes; its LID is 7.
    fn port() -> BridgePort {
        let mut port = BridgePort::new(PortNum::new(1));
        port.handle_link_change();
        assert_eq!(port.poll(Time(0)), None, "the name is unknown");
        announce(&mut port, Time(0), "bridge");
        port
    }

    /// Passes all attributes of the partition `name` to the port; its LID is 7.
    fn announce(port: &mut BridgePort, now: Time, name: &str) {
        let node = NodeInfo { node_guid: Guid::new(2), ..NodeInfo::default() };
        let mut answers = [
            answer(0, &node),
            answer(1, &port_info(7)),
            answer(0, &PKeyTable::default()),
            answer(0, &NodeDescription::new(name)),
        ];
        for answer in &mut answers {
            assert_eq!((port.attributes(), port.name()), (None, None), "an attribute is missing");
            port.learn(now, answer.as_mut_bytes());
        }
        assert_eq!(port.name(), Some(name));
    }

    #[test]
    fn port_of_another_partition_is_renamed() {
        let mut port = port();
        assert!(!port.take_renamed());
        port.handle_link_change();
        assert_eq!(port.name(), None);
        announce(&mut port, Time(1), "bridge");
        assert!(!port.take_renamed(), "the same partition again");
        port.handle_link_change();
        announce(&mut port, Time(2), "other");
        assert!(port.take_renamed());
        assert!(!port.take_renamed(), "reported once");
    }

    #[test]
    fn second_port_ignores_attributes_of_the_first() {
        let mut port = BridgePort::new(PortNum::new(2));
        port.learn(Time(0), answer(1, &port_info(1)).as_mut_bytes());
        assert_eq!(port.port, None, "an attribute of port 1");
        port.learn(Time(0), answer(2, &port_info(2)).as_mut_bytes());
        assert_eq!(port.port.unwrap().lid, Lid::new(2));
    }

    #[test]
    fn response_of_another_node_is_ignored() {
        let mut port = port();
        assert_eq!(port.attributes().unwrap().port.lid, Lid::new(7));
        port.learn(Time(0), answer(1, &port_info(9)).as_mut_bytes());
        assert_eq!(port.attributes().unwrap().port.lid, Lid::new(9));
        let mut of_another = [answer(1, &port_info(1)), answer(1, &port_info(2)), answer(1, &port_info(3))];
        of_another[0].smp.set_hop_count(1);
        of_another[1].smp.dr_slid = Lid::new(4);
        of_another[2].smp.set_status(Status::INVALID_FIELD);
        for packet in &mut of_another {
            port.learn(Time(0), packet.as_mut_bytes());
            assert_eq!(port.attributes().unwrap().port.lid, Lid::new(9));
        }
        port.handle_link_change();
        assert_eq!(port.attributes(), None);
    }

    /// Returns the trap that is due at `now`, after a check of its capabilities.
    fn trap(port: &mut BridgePort, now: Time, capabilities: CapabilityMask) -> SmpPacket {
        let packet = port.poll(now).expect("a trap");
        let notice: &Notice = packet.smp.attribute();
        assert_eq!(notice.trap_number, TrapNumber::LOCAL_CHANGE);
        assert_eq!(notice.details::<LocalChange>().capability_mask(), capabilities);
        packet
    }

    #[test]
    fn trap_is_sent_until_it_is_repressed() {
        let mut port = port();
        let mut repress = trap(&mut port, Time(0), CapabilityMask::TRAP);
        port.set_is_sm(Time(1), true);
        trap(&mut port, Time(1), CapabilityMask::TRAP | CapabilityMask::SM);
        repress.smp.header.method = Method::TRAP_REPRESS;
        port.learn(Time(2), repress.as_mut_bytes());
        assert_eq!(port.deadline(), Time(1).after(INTERVAL), "the repress is for the trap before");
        assert_eq!(port.poll(Time(2)), None);
        let mut repress = port.poll(port.deadline()).unwrap();
        repress.smp.header.method = Method::TRAP_REPRESS;
        port.learn(Time(2), repress.as_mut_bytes());
        assert_eq!(port.deadline(), Time::NEVER);
        port.handle_link_change();
        assert_eq!(port.poll(Time(3)), None);
        announce(&mut port, Time(4), "bridge");
        assert!(port.poll(Time(4)).is_some(), "a restarted partition gets the trap again");
    }
}
