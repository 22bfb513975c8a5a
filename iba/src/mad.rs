//! Common parts of management datagrams (MADs) (13.4).

use crate::TransactionId;
use crate::wire::{Format, U16, U32};

wire! {
    /// Common header of a MAD (13.4.3).
    #[derive(Default)]
    pub struct MadHeader[24] {
        /// Version of this header: [`MadHeader::BASE_VERSION`].
        pub base_version: u8,
        /// Management class.
        pub class: Class,
        /// Version of the class's own formats.
        pub class_version: u8,
        /// Method.
        pub method: Method,
        /// Status; a directed-route SMP's uppermost bit is the direction, see [`crate::smp::Smp::status`].
        pub status: Status,
        /// The class's own; in a directed-route SMP the hop pointer and the hop count (14.2.1.2).
        pub class_specific: [u8; 2],
        /// Ties a response to its request.
        pub transaction_id: TransactionId,
        /// The attribute that the data holds.
        pub attribute_id: AttributeId,
        reserved: U16,
        /// Which part or instance of the attribute.
        pub attribute_modifier: U32,
    }

    /// A MAD of a general service class, its data not looked into (13.4.2).
    pub struct Mad[256] {
        /// The common header.
        pub header: MadHeader,
        /// The rest; what it holds is the class's.
        pub data: [u8; 232],
    }
}

impl MadHeader {
    /// The only version of the header (13.4.3).
    pub const BASE_VERSION: u8 = 1;
}

values! {
    /// Management class (13.4.4).
    Class: u8, 1;
    /// Subnet management, routed by LIDs.
    SUBN_LID_ROUTED = 0x01 "SubnLidRouted";
    /// Subnet management, by directed route.
    SUBN_DIRECTED_ROUTE = 0x81 "SubnDirectedRoute";
    /// Subnet administration.
    SUBN_ADM = 0x03 "SubnAdm";
    /// Performance management.
    PERF = 0x04 "Perf";
    /// Baseboard management.
    BM = 0x05 "BM";
    /// Device management.
    DEV_MGT = 0x06 "DevMgt";
    /// Communication management.
    COM_MGT = 0x07 "ComMgt";
    /// SNMP tunnelling.
    SNMP = 0x08 "SNMP";
    /// Congestion control (annex A10).
    CONGESTION = 0x21 "Congestion";
}

values! {
    /// Method (13.4.5): the lower seven bits say what, the upper one that this is a response.
    Method: u8, 1;
    /// Asks for an attribute.
    GET = 0x01 "Get";
    /// Changes an attribute; the response holds what it is now.
    SET = 0x02 "Set";
    /// A datagram that is answered only if its class says so.
    SEND = 0x03 "Send";
    /// Tells of an event, unasked.
    TRAP = 0x05 "Trap";
    /// Forwards an event to who subscribed to it.
    REPORT = 0x06 "Report";
    /// Stops a trap from being repeated.
    TRAP_REPRESS = 0x07 "TrapRepress";
    /// Answers Get and Set.
    GET_RESP = 0x81 "GetResp";
    /// Answers Report.
    REPORT_RESP = 0x86 "ReportResp";
}

impl Method {
    /// Returns `true` if this method is of a response.
    #[inline]
    pub const fn is_response(self) -> bool {
        self.get() & 0x80 != 0
    }
}

values! {
    /// Status of a response (13.4.7).
    Status: u16, 2;
    /// Success.
    OK = 0x0000 "ok";
    /// Not now: try again later.
    BUSY = 0x0001 "busy";
    /// Ask elsewhere: the class's ClassPortInfo says where.
    REDIRECT = 0x0002 "redirect";
    /// The base or class version is not known here.
    BAD_VERSION = 0x0004 "bad version";
    /// The method is not known here.
    BAD_METHOD = 0x0008 "bad method";
    /// The method is not known for this attribute, or the attribute not at all.
    BAD_METHOD_ATTRIBUTE = 0x000c "bad method or attribute";
    /// A field of the attribute, or the modifier, has no valid value.
    INVALID_FIELD = 0x001c "invalid field";
}

number! {
    /// Attribute of a class; a number has another meaning in another class (13.4.8, 14.2.5, 16.1.3).
    AttributeId: u16, 2, "{:#06x}";
}

/// Attributes of subnet management (14.2.5), and the two that other classes know too.
impl AttributeId {
    /// Capabilities of a class, and the address of its agent (13.4.8.1).
    pub const CLASS_PORT_INFO: Self = Self::new(0x0001);
    /// An event (13.4.8.2).
    pub const NOTICE: Self = Self::new(0x0002);
    /// A subscription to events (13.4.8.3).
    pub const INFORM_INFO: Self = Self::new(0x0003);
    /// A node's name for people (14.2.5.2).
    pub const NODE_DESCRIPTION: Self = Self::new(0x0010);
    /// Identity of a node (14.2.5.3).
    pub const NODE_INFO: Self = Self::new(0x0011);
    /// Capabilities of a switch (14.2.5.4).
    pub const SWITCH_INFO: Self = Self::new(0x0012);
    /// The GUIDs of a port (14.2.5.5).
    pub const GUID_INFO: Self = Self::new(0x0014);
    /// A port (14.2.5.6).
    pub const PORT_INFO: Self = Self::new(0x0015);
    /// Partitions of a port (14.2.5.7).
    pub const P_KEY_TABLE: Self = Self::new(0x0016);
    /// Lane of each service level (14.2.5.8).
    pub const SL_TO_VL_MAPPING_TABLE: Self = Self::new(0x0017);
    /// Turns of the lanes (14.2.5.9).
    pub const VL_ARBITRATION_TABLE: Self = Self::new(0x0018);
    /// Port of each unicast LID (14.2.5.10).
    pub const LINEAR_FORWARDING_TABLE: Self = Self::new(0x0019);
    /// Port of some unicast LIDs (14.2.5.11).
    pub const RANDOM_FORWARDING_TABLE: Self = Self::new(0x001a);
    /// Ports of each multicast LID (14.2.5.12).
    pub const MULTICAST_FORWARDING_TABLE: Self = Self::new(0x001b);
    /// A subnet manager (14.2.5.13).
    pub const SM_INFO: Self = Self::new(0x0020);
    /// The vendor's diagnostics (14.2.5.14).
    pub const VENDOR_DIAG: Self = Self::new(0x0030);
    /// The light that shows where a port is (14.2.5.15).
    pub const LED_INFO: Self = Self::new(0x0031);
}

/// An attribute in the data of a MAD; what it leaves of the data is reserved.
pub trait Attribute: Format {
    /// Its number.
    const ID: AttributeId;
}
