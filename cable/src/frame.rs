//! The form of a packet on a cable: LRH through payload, then ICRC and VCRC (IBA vol. 1, 7.8).

use iba::Vl;
use iba::crc;
use iba::lrh::Lrh;
use zerocopy::FromBytes;

/// Bytes of the two CRCs.
pub(super) const CRCS: usize = crc::ICRC + crc::VCRC;

/// Returns `true` if the packet's LRH names VL15.
pub(super) fn is_vl15(packet: &[u8]) -> bool {
    Lrh::ref_from_prefix(packet).is_ok_and(|(lrh, _)| lrh.vl() == Vl::MANAGEMENT)
}

/// Returns ICRC and VCRC of a packet, in the order of the cable.
pub(super) fn crcs(packet: &[u8]) -> [u8; CRCS] {
    crc::trailer(packet)
}

/// Returns the packet without its CRCs, if these are valid, its length is the one in its LRH, and the link version is
/// 0.
pub(super) fn check(frame: &mut [u8]) -> Option<&mut [u8]> {
    let (packet, found) = frame.split_last_chunk_mut::<CRCS>()?;
    let (lrh, _) = Lrh::ref_from_prefix(packet).ok()?;
    let whole = packet.len() + crc::ICRC == 4 * usize::from(lrh.packet_length()) && lrh.link_version() == 0;
    (whole && crcs(packet) == *found).then_some(packet)
}
