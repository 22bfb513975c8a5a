//! The only field of a packet that the driver reads: the length in the local route header (LRH; IBA vol. 1, 7.7).

/// Bytes of an LRH.
pub(crate) const BYTES: usize = 8;

/// Returns the length in bytes that the LRH gives for the packet, CRCs not counted; 0 if the packet is shorter than an
/// LRH. The field counts words of four bytes, those of the ICRC included.
pub(crate) fn packet_bytes(packet: &[u8]) -> u32 {
    match packet.first_chunk::<BYTES>() {
        Some(&[_, _, _, _, high, low, _, _]) => (u32::from(high & 0x07) << 8 | u32::from(low)).saturating_sub(1) * 4,
        None => 0,
    }
}
