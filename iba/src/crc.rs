//! The two checks at a packet's end: the invariant CRC (ICRC, 7.8.1) and the variant CRC (VCRC, 7.8.2).

use crc::{Algorithm, CRC_32_ISO_HDLC, Crc, Table};

use crate::grh::Grh;
use crate::lrh::{Lrh, NextHeader};
use crate::wire::FromBytes;

/// Bytes of the invariant CRC, which a packet of InfiniBand's transport has.
pub const ICRC: usize = 4;
/// Bytes of the variant CRC, which every packet has.
pub const VCRC: usize = 2;

/// The CRC-32 of Ethernet.
static CRC_32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The CRC-16 of 7.8.2: x^16 + x^12 + x^3 + x + 1.
static CRC_16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&Algorithm {
    width: 16,
    poly: 0x100b,
    init: 0xffff,
    refin: true,
    refout: true,
    xorout: 0xffff,
    check: 0,
    residue: 0,
});

/// The invariant CRC of a packet of InfiniBand's transport, from its local route header through its payload.
///
/// It stands on the wire low byte first. Fields that switches and routers may change count as ones: without a global
/// route header the lane and the base transport header's fifth byte; with one the whole local route header too, and
/// traffic class, flow label and hop limit (7.8.1).
pub fn icrc(packet: &[u8]) -> u32 {
    const LRH: usize = size_of::<Lrh>();
    const GRH: usize = size_of::<Grh>();
    const MASKED: usize = LRH + GRH + 5;

    let length = packet.len().min(MASKED);
    let mut head = [0; MASKED];
    head[..length].copy_from_slice(&packet[..length]);
    let is_global = matches!(Lrh::ref_from_prefix(packet), Ok((lrh, _)) if lrh.next_header() == NextHeader::Grh);
    if is_global {
        head[..LRH].fill(0xff);
        head[LRH] |= 0x0f;
        head[LRH + 1..LRH + 4].fill(0xff);
        head[LRH + 7] = 0xff;
        head[LRH + GRH + 4] = 0xff;
    } else {
        head[0] |= 0xf0;
        head[LRH + 4] = 0xff;
    }
    let mut digest = CRC_32.digest();
    digest.update(&head[..length]);
    digest.update(&packet[length..]);
    digest.finalize()
}

/// The variant CRC of a packet, from its local route header through its invariant CRC, if it has one.
///
/// It stands on the wire low byte first.
pub fn vcrc(packet: &[u8]) -> u16 {
    CRC_16.checksum(packet)
}

/// End of a packet of InfiniBand's transport on the wire: its invariant and its variant CRC.
pub fn trailer(packet: &[u8]) -> [u8; ICRC + VCRC] {
    let mut trailer = [0; ICRC + VCRC];
    let (invariant, variant) = trailer.split_at_mut(ICRC);
    invariant.copy_from_slice(&icrc(packet).to_le_bytes());
    let mut digest = CRC_16.digest();
    digest.update(packet);
    digest.update(invariant);
    variant.copy_from_slice(&digest.finalize().to_le_bytes());
    trailer
}
