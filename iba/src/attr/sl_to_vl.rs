use crate::mad::{Attribute, AttributeId};
use crate::{Sl, Vl};

wire! {
    /// The lane of each service level (14.2.5.8).
    ///
    /// The attribute modifier is 0 on a channel adapter; on a switch bits 0 to 7 are the output port and bits 8 to 15
    /// the input port.
    #[derive(Default)]
    pub struct SlToVlMapping[8] {
        pairs: [u8; 8],
    }
}

impl Attribute for SlToVlMapping {
    const ID: AttributeId = AttributeId::SL_TO_VL_MAPPING_TABLE;
}

impl SlToVlMapping {
    /// The lane of `sl`, of whose value the lower four bits are taken. [`Vl::MANAGEMENT`] means drop.
    #[inline]
    pub fn vl(&self, sl: Sl) -> Vl {
        let (pair, shift) = Self::place(sl);
        Vl::new(self.pairs[pair] >> shift & 15)
    }

    /// Sets [`Self::vl`] of `sl`.
    #[inline]
    pub fn set_vl(&mut self, sl: Sl, vl: Vl) {
        let (pair, shift) = Self::place(sl);
        self.pairs[pair] = self.pairs[pair] & !(15 << shift) | (vl.get() & 15) << shift;
    }

    /// The byte, and the shift in it: even service levels are in the upper half.
    fn place(sl: Sl) -> (usize, u8) {
        let sl = sl.get() & 15;
        (usize::from(sl / 2), 4 - sl % 2 * 4)
    }
}
