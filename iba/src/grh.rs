//! The global route header (GRH): an IPv6 header (8.3).

use crate::Gid;
use crate::wire::{U16, U32};

wire! {
    /// Global route header (8.3).
    #[derive(Default)]
    pub struct Grh[40] {
        version_class_flow: U32,
        /// Length in bytes of what follows this header, the invariant CRC included, the variant CRC not.
        pub payload_length: U16,
        /// Next header: [`Grh::NEXT_HEADER_BTH`].
        pub next_header: u8,
        /// Number of routers that the packet may still pass. Not under the invariant CRC.
        pub hop_limit: u8,
        /// Source.
        pub sgid: Gid,
        /// Destination.
        pub dgid: Gid,
    }
}

bits! { Grh {
    /// IP version: 6.
    ip_version, set_ip_version: u8 = version_class_flow[31, 28];
    /// Traffic class. Not under the invariant CRC.
    traffic_class, set_traffic_class: u8 = version_class_flow[27, 20];
    /// Flow label, 20 bits. Not under the invariant CRC.
    flow_label, set_flow_label: u32 = version_class_flow[19, 0];
} }

impl Grh {
    /// The only IP version.
    pub const IP_VERSION: u8 = 6;
    /// [`Self::next_header`] of a packet of InfiniBand's transport: a base transport header follows.
    pub const NEXT_HEADER_BTH: u8 = 0x1b;
}
