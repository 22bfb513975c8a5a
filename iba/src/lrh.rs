//! The local route header (LRH), with which every packet begins (7.7).

use crate::wire::U16;
use crate::{Lid, Sl, Vl};

wire! {
    /// Local route header (7.7).
    #[derive(Default)]
    pub struct Lrh[8] {
        vl_lver: u8,
        sl_lnh: u8,
        /// Destination.
        pub dlid: Lid,
        length: U16,
        /// Source.
        pub slid: Lid,
    }
}

bits! { Lrh {
    /// Virtual lane. It may change on the way, so the invariant CRC leaves it out.
    vl, set_vl: Vl = vl_lver[7, 4];
    /// Link version; 0 is the only one.
    link_version, set_link_version: u8 = vl_lver[3, 0];
    /// Service level.
    sl, set_sl: Sl = sl_lnh[7, 4];
    /// Next header.
    next_header, set_next_header: NextHeader = sl_lnh[1, 0];
    /// Length of the packet in words of four bytes, from this header's first byte up to the variant CRC, which is not
    /// counted. 11 bits.
    packet_length, set_packet_length: u16 = length[10, 0];
} }

/// Next header after an [`Lrh`]: its field LNH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHeader {
    /// Not InfiniBand's transport: a raw header with an Ethertype.
    RawEthertype,
    /// Not InfiniBand's transport: an IPv6 header.
    RawIpv6,
    /// Base transport header: a packet that stays in its subnet.
    Bth,
    /// Global route header, then a base transport header.
    Grh,
}

impl crate::bits::Field for NextHeader {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::RawEthertype,
            1 => Self::RawIpv6,
            2 => Self::Bth,
            _ => Self::Grh,
        }
    }
    #[inline]
    fn into_bits(self) -> u32 {
        self as u32
    }
}
