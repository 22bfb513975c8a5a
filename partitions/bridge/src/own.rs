//! Packets between the bridge and the host's end of its cable.
//!
//! The host's end has no node, and what it tells programs of the port it learns from the port's own answers: so the
//! bridge asks when something may have changed ([`questions`]), and hands the answers on like any other. And that a
//! subnet manager is among the programs the host's end tells by trap 144, as a port does, to the permissive LID
//! ([`announcement`]).

use iba::attr::{CapabilityMask, NodeDescription, NodeInfo, PKeyTable, PortInfo};
use iba::mad::{Attribute, AttributeId, Class, MadHeader, Method};
use iba::notice::{LocalChange, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, PortNum};

/// Transaction id of the questions: bits 48 to 63 are those of no program at the host.
const TRANSACTION: u64 = 0xffff << 48;

/// Number of [`questions`].
pub const QUESTIONS: usize = 4;

/// Returns the requests by which the host's end learns the LHCA's port `port`: directed routes without hops.
#[must_use]
pub fn questions(port: PortNum) -> [Smp; QUESTIONS] {
    let asked = [(NodeDescription::ID, 0), (NodeInfo::ID, 0), (PortInfo::ID, port.get()), (PKeyTable::ID, 0)];
    asked.map(|(attribute, modifier)| {
        let mut smp = Smp::default();
        smp.header.base_version = MadHeader::BASE_VERSION;
        (smp.header.class, smp.header.class_version) = (Class::SUBN_DIRECTED_ROUTE, Smp::CLASS_VERSION);
        smp.header.method = Method::GET;
        smp.header.transaction_id = TRANSACTION.into();
        (smp.header.attribute_id, smp.header.attribute_modifier) = (attribute, u32::from(modifier).into());
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        smp
    })
}

/// A subnet manager at the host's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostManager {
    /// A subnet manager is attached.
    Attached,
    /// None is attached.
    Absent,
}

/// Returns the report of the host's end on its subnet manager, if `packet` is one; the packet then becomes the repress.
#[must_use]
pub fn announcement(packet: &mut [u8]) -> Option<HostManager> {
    let packet = SmpPacket::parse_mut(packet)?;
    let SmpPacket { header, smp } = packet;
    let is_trap = (smp.header.class, smp.header.method) == (Class::SUBN_LID_ROUTED, Method::TRAP);
    let notice: &Notice = smp.attribute();
    let is_change = smp.header.attribute_id == AttributeId::NOTICE && notice.trap_number == TrapNumber::LOCAL_CHANGE;
    if header.lrh.dlid != Lid::PERMISSIVE || !is_trap || !is_change {
        return None;
    }
    let is_sm = notice.details::<LocalChange>().capability_mask().contains(CapabilityMask::SM);
    smp.header.method = Method::TRAP_REPRESS;
    Some(if is_sm { HostManager::Attached } else { HostManager::Absent })
}
