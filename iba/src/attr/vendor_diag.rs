use crate::mad::{Attribute, AttributeId};
use crate::wire::U16;

wire! {
    /// The vendor's diagnostics of a port (14.2.5.14). The attribute modifier is the index.
    pub struct VendorDiag[64] {
        /// Index of what comes next; 0 where nothing does.
        pub next_index: U16,
        /// The vendor's own.
        pub diag_data: [u8; 62],
    }
}

impl Attribute for VendorDiag {
    const ID: AttributeId = AttributeId::VENDOR_DIAG;
}

impl Default for VendorDiag {
    /// Nothing to tell.
    fn default() -> Self {
        Self { next_index: U16::ZERO, diag_data: [0; 62] }
    }
}
