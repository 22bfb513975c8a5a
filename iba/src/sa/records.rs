use crate::attr::{
    GuidInfo, LinearForwardingBlock, MulticastForwardingBlock, NodeDescription, NodeInfo, PKeyTable, PortInfo, SmInfo,
    SwitchInfo,
};
use crate::mad::AttributeId;
use crate::sa::Record;
use crate::wire::U16;
use crate::{Lid, PortNum};

wire! {
    /// A node, as it is at one of its ports (15.2.5.2).
    pub struct NodeRecord[108] {
        /// The port.
        pub lid: Lid,
        reserved: U16,
        /// NodeInfo.
        pub info: NodeInfo,
        /// Its name.
        pub description: NodeDescription,
    }

    /// A port (15.2.5.3).
    #[derive(Default)]
    pub struct PortInfoRecord[68] {
        /// The node's port that packets end at: of a switch its management port.
        pub lid: Lid,
        /// The port.
        pub port: PortNum,
        options: u8,
        /// Identity.
        pub info: PortInfo,
    }

    /// A switch (15.2.5.5).
    #[derive(Default)]
    pub struct SwitchInfoRecord[24] {
        /// Its management port.
        pub lid: Lid,
        reserved: U16,
        /// Capabilities.
        pub info: SwitchInfo,
    }

    /// A block of a switch's linear forwarding table (15.2.5.6).
    #[derive(Default)]
    pub struct LinearForwardingRecord[72] {
        /// The switch's management port.
        pub lid: Lid,
        /// The block.
        pub block: U16,
        reserved: [u8; 4],
        /// Content.
        pub table: LinearForwardingBlock,
    }

    /// A block of a switch's multicast forwarding table (15.2.5.8).
    #[derive(Default)]
    pub struct MulticastForwardingRecord[72] {
        /// The switch's management port.
        pub lid: Lid,
        position_block: U16,
        reserved: [u8; 4],
        /// Content.
        pub table: MulticastForwardingBlock,
    }

    /// A block of a port's GUIDs (15.2.5.18).
    #[derive(Default)]
    pub struct GuidInfoRecord[72] {
        /// The port.
        pub lid: Lid,
        /// The block.
        pub block: u8,
        reserved: u8,
        reserved2: [u8; 4],
        /// Content.
        pub info: GuidInfo,
    }

    /// A block of a port's P_Keys (15.2.5.11).
    #[derive(Default)]
    pub struct PKeyTableRecord[72] {
        /// The node's port that packets end at, as in [`PortInfoRecord::lid`].
        pub lid: Lid,
        /// The block.
        pub block: U16,
        /// The port.
        pub port: PortNum,
        reserved: [u8; 3],
        /// Content.
        pub table: PKeyTable,
    }

    /// A subnet manager (15.2.5.10).
    #[derive(Default)]
    pub struct SmInfoRecord[25] {
        /// The port that it runs at.
        pub lid: Lid,
        reserved: U16,
        /// Identity.
        pub info: SmInfo,
    }

    /// A link, from one of its ends (15.2.5.13).
    #[derive(Default)]
    pub struct LinkRecord[8] {
        /// The node at this end, as in [`PortInfoRecord::lid`].
        pub from_lid: Lid,
        /// Its port.
        pub from_port: PortNum,
        /// The other end's port.
        pub to_port: PortNum,
        /// The node at the other end.
        pub to_lid: Lid,
        reserved: U16,
    }
}

bits! { MulticastForwardingRecord {
    /// Which sixteen ports.
    position, set_position: u8 = position_block[15, 12];
    /// Which LIDs.
    block, set_block: u16 = position_block[8, 0];
} }

impl Default for NodeRecord {
    /// All zeros.
    fn default() -> Self {
        Self {
            lid: Lid::default(),
            reserved: U16::ZERO,
            info: NodeInfo::default(),
            description: NodeDescription::default(),
        }
    }
}

impl Record for NodeRecord {
    const ID: AttributeId = AttributeId::new(0x11);
    const COMPONENTS: &'static [u16] = &[16, 16, 8, 8, 8, 8, 64, 64, 64, 16, 16, 32, 8, 24, 512];
}

impl PortInfoRecord {
    /// The component that holds the capability mask.
    pub const CAPABILITY_MASK: u32 = 7;
}

impl Record for PortInfoRecord {
    const ID: AttributeId = AttributeId::new(0x12);
    const COMPONENTS: &'static [u16] = &[
        16, 8, 8, 64, 64, 16, 16, 32, 16, 16, 8, 8, 8, 8, 4, 4, 4, 4, 2, 3, 3, 4, 4, 4, 4, 4, 4, 8, 8, 8, 4, 4, 3, 5,
        4, 1, 1, 1, 1, 16, 16, 16, 8, 1, 2, 5, 3, 5, 4, 4, 16, 8, 24, 16, 4, 4, 3, 5,
    ];
}

impl Record for SwitchInfoRecord {
    const ID: AttributeId = AttributeId::new(0x14);
    const COMPONENTS: &'static [u16] = &[16, 16, 16, 16, 16, 16, 8, 8, 8, 5, 1, 2, 16, 16, 1, 1, 1, 1, 1, 3];
}

impl Record for LinearForwardingRecord {
    const ID: AttributeId = AttributeId::new(0x15);
    const COMPONENTS: &'static [u16] = &[16, 16, 32, 512];
}

impl Record for MulticastForwardingRecord {
    const ID: AttributeId = AttributeId::new(0x17);
    const COMPONENTS: &'static [u16] = &[16, 4, 3, 9, 32, 512];
}

impl Record for GuidInfoRecord {
    const ID: AttributeId = AttributeId::new(0x30);
    const COMPONENTS: &'static [u16] = &[16, 8, 8, 32, 64, 64, 64, 64, 64, 64, 64, 64];
}

impl Record for PKeyTableRecord {
    const ID: AttributeId = AttributeId::new(0x33);
    const COMPONENTS: &'static [u16] = &[16, 16, 8, 24, 512];
}

impl Record for SmInfoRecord {
    const ID: AttributeId = AttributeId::new(0x18);
    const COMPONENTS: &'static [u16] = &[16, 16, 64, 64, 32, 4, 4];
}

impl Record for LinkRecord {
    const ID: AttributeId = AttributeId::new(0x20);
    const COMPONENTS: &'static [u16] = &[16, 8, 8, 16];
}
