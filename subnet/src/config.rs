//! Configuration of nodes.

use iba::attr::{Mtu, NodeDescription, NodeInfo, NodeType, VlCap};
use iba::mad::MadHeader;
use iba::smp::Smp;
use iba::{Guid, VendorId};

use crate::outlet::Speed;

/// Identity and abilities of a node of any kind.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's GUID. A switch's management port has it, too.
    pub node_guid: Guid,
    /// SystemImageGUID, the same for all nodes of one machine.
    pub system_image_guid: Guid,
    /// Vendor's id.
    pub vendor_id: VendorId,
    /// Vendor's id of the device.
    pub device_id: u16,
    /// Vendor's revision of the device.
    pub revision: u32,
    /// Name for people.
    pub description: NodeDescription,
    /// Entries in the P_Key table of a port that is an end: an adapter's, or a switch's management port. Rounded up
    /// to whole blocks of 32, of which there is one at least.
    pub partitions: u16,
    /// Data lanes of every port.
    pub vl_cap: VlCap,
    /// Largest payload that every port takes.
    pub mtu_cap: Mtu,
    /// Fastest speed that every port knows.
    pub speed: Speed,
}

impl NodeConfig {
    /// A node with this GUID, which is its system image's, too, and this name: eight data lanes, 4096 bytes, EDR, 32
    /// P_Keys, and a locally administered vendor id.
    ///
    /// OpenSM makes the least MTU and rate of all adapters the whole subnet's, so these are high. HDR is not the
    /// default because much of what reads a subnet's picture is older than it.
    #[must_use]
    pub fn new(node_guid: Guid, description: &str) -> Self {
        Self {
            node_guid,
            system_image_guid: node_guid,
            vendor_id: VendorId::new(0x52_5400),
            device_id: 1,
            revision: 1,
            description: NodeDescription::new(description),
            partitions: 32,
            vl_cap: VlCap::VL0_7,
            mtu_cap: Mtu::B4096,
            speed: Speed::Edr,
        }
    }

    /// Entries in the P_Key table of a port that is an end: such a port is in one partition at least (10.9.1.2).
    pub(crate) fn end_partitions(&self) -> u16 {
        self.partitions.max(1)
    }

    /// NodeInfo, but for what differs from port to port.
    pub(crate) fn node_info(&self, node_type: NodeType, ports: u8) -> NodeInfo {
        NodeInfo {
            base_version: MadHeader::BASE_VERSION,
            class_version: Smp::CLASS_VERSION,
            node_type,
            num_ports: ports,
            system_image_guid: self.system_image_guid,
            node_guid: self.node_guid,
            port_guid: self.node_guid,
            partition_cap: blocks(self.end_partitions()).saturating_mul(32).into(),
            device_id: self.device_id.into(),
            revision: self.revision.into(),
            vendor_id: self.vendor_id,
            ..NodeInfo::default()
        }
    }
}

/// Returns the number of blocks of 32 that hold `entries`.
pub(crate) fn blocks(entries: u16) -> u16 {
    entries.div_ceil(32)
}

/// Why a node cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// GUID 0 names nothing.
    #[error("GUID 0 was given to a node or port: give each one of its own")]
    ZeroGuid,
    /// Two ports, or two nodes, with one GUID make a subnet manager stop.
    #[error("GUID {0} was given twice: give each node and each port one of its own")]
    DuplicateGuid(Guid),
    /// Ports are numbered from 1 to 254 (IBA vol. 1, 14.2.5.3; 255 means none in a directed route).
    #[error("{0} ports were asked for: a node has 1 to 254")]
    Ports(usize),
}
