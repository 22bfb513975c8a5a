//! The requests that are measured.

use iba::attr::{LinearForwardingBlock, NodeInfo, PortInfo};
use iba::mad::{Attribute, AttributeId, Class, MadHeader, Method};
use iba::smp::Smp;
use iba::{Lid, PortNum};

/// A request that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Get(NodeInfo).
    NodeInfo,
    /// Get(PortInfo).
    PortInfo,
    /// Set(LinearForwardingTable): one block of 64 LIDs.
    LinearForwardingTable,
}

impl Request {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NodeInfo, Self::PortInfo, Self::LinearForwardingTable];

    /// Returns its name, also for command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeInfo => "Get(NodeInfo)",
            Self::PortInfo => "Get(PortInfo)",
            Self::LinearForwardingTable => "Set(LinearForwardingTable)",
        }
    }

    /// The request of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.name() == name)
    }

    /// Returns `true` if only a switch answers it.
    #[must_use]
    pub fn is_for_switch(self) -> bool {
        self == Self::LinearForwardingTable
    }

    /// The request by directed route, as its sender begins it: to the sender's own node, or to the next one by port 1.
    #[must_use]
    pub fn smp(self, hops: u8) -> Smp {
        let (method, attribute) = match self {
            Self::NodeInfo => (Method::GET, NodeInfo::ID),
            Self::PortInfo => (Method::GET, PortInfo::ID),
            Self::LinearForwardingTable => (Method::SET, LinearForwardingBlock::ID),
        };
        let mut smp = smp(method, attribute, hops);
        if self == Self::LinearForwardingTable {
            smp.set_attribute(&LinearForwardingBlock { ports: [PortNum::new(1); LinearForwardingBlock::LIDS] });
        }
        smp
    }
}

/// An SMP by directed route of no or one hop.
#[must_use]
pub fn smp(method: Method, attribute: AttributeId, hops: u8) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = Class::SUBN_DIRECTED_ROUTE;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = attribute;
    (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
    smp.set_hop_count(hops);
    smp.initial_path[1] = PortNum::new(1);
    smp
}
