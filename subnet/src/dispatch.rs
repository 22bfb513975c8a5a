//! What a node does with a management datagram, by its class, method and attribute: one table, without state.

use iba::mad::{AttributeId, Class, Method, Status};

use crate::NodeKind;

/// What is to be done with a datagram.
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
    /// It is for the consumers at the port: a response, or of a class that has no agent here.
    Deliver,
    /// It is a request that cannot be met: the answer has this status.
    Refuse(Status),
    /// Nobody takes it, and nothing is answered.
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

/// What a node of `kind` does with a datagram of this class, method and attribute, its versions and keys apart.
///
/// Class 0x01 and 0x81 are subnet management, for queue pair 0; all others are for queue pair 1.
#[inline]
#[must_use]
pub fn classify(kind: NodeKind, class: Class, method: Method, attribute: AttributeId) -> Action {
    match class {
        Class::SUBN_LID_ROUTED | Class::SUBN_DIRECTED_ROUTE => subnet(kind, method, attribute),
        Class::PERF => performance(method, attribute),
        _ => Action::Deliver,
    }
}

#[inline]
fn subnet(kind: NodeKind, method: Method, attribute: AttributeId) -> Action {
    let settable = match method {
        Method::GET => false,
        Method::SET => true,
        Method::TRAP_REPRESS if attribute == AttributeId::NOTICE => return Action::Repress,
        Method::TRAP_REPRESS => return Action::Discard, // it gets no response, not even this one
        Method::GET_RESP => return Action::Deliver,
        Method::TRAP | Method::REPORT | Method::REPORT_RESP => return Action::TellManager,
        _ if method.is_response() => return Action::Discard,
        _ => return Action::Refuse(Status::BAD_METHOD),
    };
    let is_switch = kind == NodeKind::Switch;
    let attribute = match attribute {
        AttributeId::NODE_DESCRIPTION if !settable => SubnetAttribute::NodeDescription,
        AttributeId::NODE_INFO if !settable => SubnetAttribute::NodeInfo,
        AttributeId::SWITCH_INFO if is_switch => SubnetAttribute::SwitchInfo,
        AttributeId::GUID_INFO => SubnetAttribute::GuidInfo,
        AttributeId::PORT_INFO => SubnetAttribute::PortInfo,
        AttributeId::P_KEY_TABLE => SubnetAttribute::PKeyTable,
        AttributeId::SL_TO_VL_MAPPING_TABLE => SubnetAttribute::SlToVlMappingTable,
        AttributeId::VL_ARBITRATION_TABLE => SubnetAttribute::VlArbitrationTable,
        AttributeId::LINEAR_FORWARDING_TABLE if is_switch => SubnetAttribute::LinearForwardingTable,
        AttributeId::MULTICAST_FORWARDING_TABLE if is_switch => SubnetAttribute::MulticastForwardingTable,
        AttributeId::SM_INFO => return Action::AskManager,
        // Among them Notice, VendorDiag and LedInfo, which are optional, and the random forwarding table, which a
        // switch has instead of a linear one.
        _ => return Action::Refuse(Status::BAD_METHOD_ATTRIBUTE),
    };
    if settable { Action::Set(attribute) } else { Action::Get(attribute) }
}

#[inline]
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
