//! A packet as it is on a cable: LRH through payload, then the invariant and the variant CRC (IBA vol. 1, 7.8).

use crc::{Algorithm, Crc};

/// Bytes that the two CRCs take.
pub(super) const CRCS: usize = 6;

const LRH: usize = 8;
const GRH: usize = 40;

static VCRC: Crc<u16> = Crc::<u16>::new(&Algorithm {
    width: 16,
    poly: 0x100b,
    init: 0xffff,
    refin: true,
    refout: true,
    xorout: 0xffff,
    check: 0,
    residue: 0,
});

/// Whether a packet is on VL15, by its LRH.
pub(super) fn is_vl15(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 15)
}

/// ICRC and VCRC of a packet, in the order they have on the cable.
pub(super) fn crcs(packet: &[u8]) -> [u8; CRCS] {
    let icrc = icrc(packet);
    let mut digest = VCRC.digest();
    digest.update(packet);
    digest.update(&icrc);
    let vcrc = digest.finalize().to_le_bytes();
    [icrc[0], icrc[1], icrc[2], icrc[3], vcrc[0], vcrc[1]]
}

/// The packet without its CRCs if these are right, its length is the one in its LRH, and the link version is 0.
pub(super) fn check(frame: &mut [u8]) -> Option<&mut [u8]> {
    let (packet, found) = frame.split_last_chunk_mut::<CRCS>()?;
    let words = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]) & 0x7ff);
    let whole = packet.len() + 4 == 4 * words && packet[0] & 0xf == 0;
    (whole && crcs(packet) == *found).then_some(packet)
}

/// The fields that may change on the way count as ones.
fn icrc(packet: &[u8]) -> [u8; 4] {
    let mut head = [0; LRH + GRH + 5];
    let length = head.len().min(packet.len());
    head[..length].copy_from_slice(&packet[..length]);
    head[0] |= 0xf0;
    let bth = match head[1] & 3 {
        3 => {
            head[LRH] |= 0x0f;
            head[LRH + 1..LRH + 4].fill(0xff);
            head[LRH + 7] = 0xff;
            LRH + GRH
        }
        _ => LRH,
    };
    head[bth + 4] = 0xff;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..length]);
    hasher.update(&packet[length..]);
    hasher.finalize().to_le_bytes()
}
