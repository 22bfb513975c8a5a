use crate::Vl;
use crate::mad::{Attribute, AttributeId};

wire! {
    /// Half of one of a port's two arbitration tables (14.2.5.9).
    ///
    /// The attribute modifier's upper half says which: 1 and 2 are the low-priority table, 3 and 4 the high-priority
    /// one. Its lower half is the port, on a switch.
    #[derive(Default)]
    pub struct VlArbitration[64] {
        /// Virtual lane of this turn.
        pub entries: [VlArbitrationEntry; VlArbitration::ENTRIES],
    }

    /// A turn of a lane (7.6.9).
    #[derive(Default)]
    pub struct VlArbitrationEntry[2] {
        vl: u8,
        /// Weight of this turn, in units of 64 bytes; 0 skips it.
        pub weight: u8,
    }
}

impl Attribute for VlArbitration {
    const ID: AttributeId = AttributeId::VL_ARBITRATION_TABLE;
}

impl VlArbitration {
    /// Entries in a block.
    pub const ENTRIES: usize = 32;
}

bits! { VlArbitrationEntry {
    /// The lane.
    vl, set_vl: Vl = vl[3, 0];
} }
