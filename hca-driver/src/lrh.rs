//! The one field of a packet that the driver looks at: the length in its local route header (LRH; IBA vol. 1, 7.7).

/// Bytes of an LRH.
pub(crate) const BYTES: usize = 8;

/// Bytes of the packet without its CRCs, as its LRH says; 0 where there is no LRH. The LRH counts words of four
/// bytes, and counts the four bytes of the ICRC.
pub(crate) fn packet_bytes(packet: &[u8]) -> u32 {
    match packet.first_chunk::<BYTES>() {
        Some(&[_, _, _, _, high, low, _, _]) => (u32::from(high & 0x07) << 8 | u32::from(low)).saturating_sub(1) * 4,
        None => 0,
    }
}
