use crate::PKey;
use crate::mad::{Attribute, AttributeId};

wire! {
    /// One block of a port's partition table (14.2.5.7).
    ///
    /// The attribute modifier is the block's number, and on a switch has the port's number in its upper half.
    #[derive(Default)]
    pub struct PKeyTable[64] {
        /// The keys; [`PKey::INVALID`] means none.
        pub p_keys: [PKey; PKeyTable::P_KEYS],
    }
}

impl Attribute for PKeyTable {
    const ID: AttributeId = AttributeId::P_KEY_TABLE;
}

impl PKeyTable {
    /// Keys in a block.
    pub const P_KEYS: usize = 32;
}
