//! A packet as it is on a cable: LRH through payload, then the invariant and the variant CRC (IBA vol. 1, 7.8).

use iba::Vl;
use iba::crc;
use iba::lrh::Lrh;
use zerocopy::FromBytes;

/// Bytes that the two CRCs take.
pub(super) const CRCS: usize = crc::ICRC + crc::VCRC;

/// Whether a packet is on VL15, by its LRH.
pub(super) fn is_vl15(packet: &[u8]) -> bool {
    Lrh::ref_from_prefix(packet).is_ok_and(|(lrh, _)| lrh.vl() == Vl::MANAGEMENT)
}

/// ICRC and VCRC of a packet, in the order they have on the cable.
pub(super) fn crcs(packet: &[u8]) -> [u8; CRCS] {
    crc::trailer(packet)
}

/// The packet without its CRCs if these are right, its length is the one in its LRH, and the link version is 0.
pub(super) fn check(frame: &mut [u8]) -> Option<&mut [u8]> {
    let (packet, found) = frame.split_last_chunk_mut::<CRCS>()?;
    let (lrh, _) = Lrh::ref_from_prefix(packet).ok()?;
    let whole = packet.len() + crc::ICRC == 4 * usize::from(lrh.packet_length()) && lrh.link_version() == 0;
    (whole && crcs(packet) == *found).then_some(packet)
}
