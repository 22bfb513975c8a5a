use crate::mad::{Attribute, AttributeId};
use crate::wire::U16;
use crate::{Lid, PortNum};

wire! {
    /// One block of a switch's linear forwarding table (14.2.5.10): ports of 64 consecutive unicast LIDs.
    ///
    /// The attribute modifier is the block's number; [`PortNum::DISCARD`] means no port.
    pub struct LinearForwardingBlock[64] {
        /// The port for each LID.
        pub ports: [PortNum; LinearForwardingBlock::LIDS],
    }

    /// One block of a switch's random forwarding table (14.2.5.11), which takes the place of the linear one.
    ///
    /// The attribute modifier is the block's number.
    #[derive(Default)]
    pub struct RandomForwardingBlock[64] {
        /// The entries.
        pub entries: [RandomForwardingEntry; RandomForwardingBlock::ENTRIES],
    }

    /// The port for some LIDs (14.2.5.11).
    #[derive(Default)]
    pub struct RandomForwardingEntry[4] {
        /// The first LID.
        pub lid: Lid,
        valid_lmc: u8,
        /// The port.
        pub port: PortNum,
    }

    /// One block of a switch's multicast forwarding table (14.2.5.12): 16 of the ports of 32 consecutive multicast
    /// LIDs.
    ///
    /// The attribute modifier holds the block's number in bits 0 to 8, counted from LID 0xC000, and in bits 28 to 31
    /// the position: bit `b` of a mask is port 16 x position + `b`.
    pub struct MulticastForwardingBlock[64] {
        /// The mask of ports for each LID.
        pub masks: [U16; MulticastForwardingBlock::LIDS],
    }
}

impl Attribute for LinearForwardingBlock {
    const ID: AttributeId = AttributeId::LINEAR_FORWARDING_TABLE;
}

impl Attribute for RandomForwardingBlock {
    const ID: AttributeId = AttributeId::RANDOM_FORWARDING_TABLE;
}

bits! { RandomForwardingEntry {
    /// `true` if the entry is in use.
    is_valid, set_valid: bool = valid_lmc[7, 7];
    /// The low bits of a LID that do not matter, 0 to 7.
    lmc, set_lmc: u8 = valid_lmc[6, 4];
} }

impl Attribute for MulticastForwardingBlock {
    const ID: AttributeId = AttributeId::MULTICAST_FORWARDING_TABLE;
}

impl LinearForwardingBlock {
    /// LIDs in a block.
    pub const LIDS: usize = 64;
}

impl RandomForwardingBlock {
    /// Entries in a block.
    pub const ENTRIES: usize = 16;
}

impl Default for LinearForwardingBlock {
    /// Discards all.
    fn default() -> Self {
        Self { ports: [PortNum::DISCARD; Self::LIDS] }
    }
}

impl MulticastForwardingBlock {
    /// LIDs in a block.
    pub const LIDS: usize = 32;
    /// Ports in a mask.
    pub const PORTS: usize = 16;
}

impl Default for MulticastForwardingBlock {
    /// Discards all.
    fn default() -> Self {
        Self { masks: [U16::ZERO; Self::LIDS] }
    }
}
