use crate::mad::{Attribute, AttributeId};
use crate::wire::{U16, U32};
use crate::{Guid, PortNum, VendorId};

wire! {
    /// Identity of a node (14.2.5.3).
    #[derive(Default)]
    pub struct NodeInfo[40] {
        /// Version of MADs: [`crate::mad::MadHeader::BASE_VERSION`].
        pub base_version: u8,
        /// Version of SMPs: [`crate::smp::Smp::CLASS_VERSION`].
        pub class_version: u8,
        /// Kind of node.
        pub node_type: NodeType,
        /// Number of ports; a switch's management port is not counted.
        pub num_ports: u8,
        /// GUID that the nodes of one enclosure share; 0 for none.
        pub system_image_guid: Guid,
        /// The node.
        pub node_guid: Guid,
        /// The port that the request came in by; a switch has the one of its management port.
        pub port_guid: Guid,
        /// Entries in the P_Key table, of every port, or of a switch's management port.
        pub partition_cap: U16,
        /// The vendor's id of the device.
        pub device_id: U16,
        /// The vendor's revision of the device.
        pub revision: U32,
        /// The port that the request came in by.
        pub local_port: PortNum,
        /// The vendor.
        pub vendor_id: VendorId,
    }
}

impl Attribute for NodeInfo {
    const ID: AttributeId = AttributeId::NODE_INFO;
}

values! {
    /// Kind of node (14.2.5.3).
    NodeType: u8, 1;
    /// Channel adapter: where packets begin and end.
    CHANNEL_ADAPTER = 1 "Channel Adapter";
    /// Switch: forwards packets in a subnet.
    SWITCH = 2 "Switch";
    /// Router: forwards packets between subnets.
    ROUTER = 3 "Router";
}
