use crate::Guid;
use crate::mad::{Attribute, AttributeId};

wire! {
    /// One block of a port's GUID table (14.2.5.5).
    ///
    /// The attribute modifier is the block's number. The first GUID of block 0 is the port's own and cannot be set.
    #[derive(Default)]
    pub struct GuidInfo[64] {
        /// The GUIDs; 0 means none.
        pub guids: [Guid; GuidInfo::GUIDS],
    }
}

impl Attribute for GuidInfo {
    const ID: AttributeId = AttributeId::GUID_INFO;
}

impl GuidInfo {
    /// GUIDs in a block.
    pub const GUIDS: usize = 8;
}
