//! Dispatch of management datagrams by class, method and attribute: one table, without state.

use iba::mad::{AttributeId, Class, Method, Status};

use crate::NodeKind;

/// Act on a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The subnet management agent (SMA) answers with an attribute (14.2.5).
    Get(SubnetAttribute),
    /// The SMA changes an attribute, and answers with what it is then.
    Set(SubnetAttribute),
    /// The SMA stops repeating a trap, and answers nothing (o13-7).
    Repress,
    /// Get or Set of SMInfo: the subnet manager at the port answers; where there is none, the SMA refuses.
    AskManager,
    /// The subnet manager at the port takes it; where there is none, it is dropped.
    TellManager,
    /// The performance management agent (PMA) answers with an attribute (16.1.3).
    Read(PerformanceAttribute),
    /// The PMA changes an attribute, and answers with what it is then.
    Write(PerformanceAttribute),
    /// Deliver it to the consumers at the port: a response, or of a class without an agent here.
    Deliver,
    /// Respond with this status: the request cannot be executed.
    Refuse(Status),
    /// Discard it without a response.
    Discard,
}

/// An attribute that the SMA of some node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubnetAttribute {
    /// 14.2.5.2
    NodeDescription,
    /// 14.2.5.3
    NodeInfo,
    /// 14.2.5.4
    SwitchInfo,
    /// 14.2.5.5
    GuidInfo,
    /// 14.2.5.6
    PortInfo,
    /// 14.2.5.7
    PKeyTable,
    /// 14.2.5.8
    SlToVlMappingTable,
    /// 14.2.5.9
    VlArbitrationTable,
    /// 14.2.5.10
    LinearForwardingTable,
    /// 14.2.5.12
    MulticastForwardingTable,
}

/// An attribute that the PMA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PerformanceAttribute {
    /// 13.4.8.1, 16.1.3.1
    ClassPortInfo,
    /// 16.1.3.2
    PortSamplesControl,
    /// 16.1.3.4
    PortSamplesResult,
    /// 16.1.3.5
    PortCounters,
    /// 16.1.4.11
    PortCountersExtended,
}

/// Returns the act of a node of `kind` on a datagram of this class, method and attribute; versions and keys are not
/// checked.
///
/// Class 0x01 and 0x81 are subnet management, for queue pair 0; all others are for queue pair 1.
#[inline(always)] // where the class is known, little is left of it
#[must_use]
pub fn classify(kind: NodeKind, class: Class, method: Method, attribute: AttributeId) -> Action {
    match class {
        Class::SUBN_LID_ROUTED | Class::SUBN_DIRECTED_ROUTE => subnet(kind, method, attribute),
        Class::PERF => performance(method, attribute),
        _ => Action::Deliver,
    }
}

#[inline(always)]
fn subnet(kind: NodeKind, method: Method, attribute: AttributeId) -> Action {
    let attributes = match kind {
        NodeKind::Switch => &OF_SWITCHES,
        NodeKind::ChannelAdapter => &OF_ADAPTERS,
    };
    let known = attributes.get(usize::from(attribute.get())).copied().flatten();
    match (method, known) {
        (Method::GET, Some(attribute)) => Action::Get(attribute),
        // These two tell what a node is made of.
        (Method::SET, Some(SubnetAttribute::NodeDescription | SubnetAttribute::NodeInfo)) => {
            Action::Refuse(Status::BAD_METHOD_ATTRIBUTE)
        }
        (Method::SET, Some(attribute)) => Action::Set(attribute),
        (Method::GET | Method::SET, None) if attribute == AttributeId::SM_INFO => Action::AskManager,
        (Method::GET | Method::SET, None) => Action::Refuse(Status::BAD_METHOD_ATTRIBUTE),
        (Method::GET_RESP, _) => Action::Deliver,
        (Method::TRAP | Method::REPORT | Method::REPORT_RESP, _) => Action::TellManager,
        (Method::TRAP_REPRESS, _) if attribute == AttributeId::NOTICE => Action::Repress,
        (Method::TRAP_REPRESS, _) => Action::Discard, // it gets no response, not even that it is wrong
        _ if method.is_response() => Action::Discard,
        _ => Action::Refuse(Status::BAD_METHOD),
    }
}

/// An attribute for each number below 0x20.
type Attributes = [Option<SubnetAttribute>; 0x20];

const OF_SWITCHES: Attributes = attributes(NodeKind::Switch);
const OF_ADAPTERS: Attributes = attributes(NodeKind::ChannelAdapter);

const fn attributes(kind: NodeKind) -> Attributes {
    let mut table = [None; 0x20];
    let mut number = 0;
    while number < 0x20 {
        table[number as usize] = attribute(kind, AttributeId::new(number));
        number += 1;
    }
    table
}

/// Attributes of a node's SMA: not Notice, VendorDiag and LedInfo, which are optional, and not the random forwarding
/// table, which a switch has instead of a linear one.
const fn attribute(kind: NodeKind, attribute: AttributeId) -> Option<SubnetAttribute> {
    Some(match (attribute, kind) {
        (AttributeId::NODE_DESCRIPTION, _) => SubnetAttribute::NodeDescription,
        (AttributeId::NODE_INFO, _) => SubnetAttribute::NodeInfo,
        (AttributeId::SWITCH_INFO, NodeKind::Switch) => SubnetAttribute::SwitchInfo,
        (AttributeId::GUID_INFO, _) => SubnetAttribute::GuidInfo,
        (AttributeId::PORT_INFO, _) => SubnetAttribute::PortInfo,
        (AttributeId::P_KEY_TABLE, _) => SubnetAttribute::PKeyTable,
        (AttributeId::SL_TO_VL_MAPPING_TABLE, _) => SubnetAttribute::SlToVlMappingTable,
        (AttributeId::VL_ARBITRATION_TABLE, _) => SubnetAttribute::VlArbitrationTable,
        (AttributeId::LINEAR_FORWARDING_TABLE, NodeKind::Switch) => SubnetAttribute::LinearForwardingTable,
        (AttributeId::MULTICAST_FORWARDING_TABLE, NodeKind::Switch) => SubnetAttribute::MulticastForwardingTable,
        _ => return None,
    })
}

#[inline(never)]
fn performance(method: Method, attribute: AttributeId) -> Action {
    let settable = match method {
        Method::GET => false,
        Method::SET => true,
        _ if method.is_response() => return Action::Deliver,
        Method::TRAP | Method::REPORT | Method::TRAP_REPRESS => return Action::Discard, // not of this class
        _ => return Action::Refuse(Status::BAD_METHOD),
    };
    let attribute = match attribute {
        AttributeId::CLASS_PORT_INFO if !settable => PerformanceAttribute::ClassPortInfo,
        AttributeId::PORT_SAMPLES_CONTROL => PerformanceAttribute::PortSamplesControl,
        AttributeId::PORT_SAMPLES_RESULT if !settable => PerformanceAttribute::PortSamplesResult,
        AttributeId::PORT_COUNTERS => PerformanceAttribute::PortCounters,
        AttributeId::PORT_COUNTERS_EXTENDED => PerformanceAttribute::PortCountersExtended,
        _ => return Action::Refuse(Status::BAD_METHOD_ATTRIBUTE),
    };
    if settable { Action::Write(attribute) } else { Action::Read(attribute) }
}
