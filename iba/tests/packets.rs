//! Whole packets: the specification's sample packets, those that we build, and any bytes.

use iba::bth::Opcode;
use iba::crc;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::Mad;
use iba::packet::{self, MadPacket, Packet, PacketError, SmpPacket, UdHeader};
use iba::smp::Smp;
use iba::{Guid, Lid, PKey, QKey, Qpn, Sl, Vl};
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The specification's sample packet (7.8.2), as linux-rdma quotes it (thread "RDMA/rxe: handle ICRC correctly on big
/// endian systems", 2025). Its invariant CRC is 96 25 B7 5A on the wire.
const LOCAL: [u8; 52] = [
    0x70, 0x12, 0x37, 0x5c, 0x00, 0x0e, 0x17, 0xd2, 0x0a, 0x20, 0x24, 0x87, 0x00, 0x87, 0xb1, 0xb3, 0x00, 0x0d, 0xec,
    0x2a, 0x01, 0x71, 0x0a, 0x1c, 0x01, 0x5d, 0x40, 0x02, 0x38, 0xf2, 0x7a, 0x05, 0x00, 0x00, 0x00, 0x0e, 0xbb, 0x88,
    0x4d, 0x85, 0xfd, 0x5c, 0xfb, 0xa4, 0x72, 0x8b, 0xc0, 0x69, 0x0e, 0xd4, 0x00, 0x00,
];

/// The same with a global route header. Its CRCs below are Perl's Digest::CRC's.
const GLOBAL: [u8; 92] = [
    0x70, 0x13, 0x37, 0x5c, 0x00, 0x18, 0x17, 0xd2, 0x60, 0x00, 0x00, 0x00, 0x00, 0x30, 0x1b, 0x10, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x01, 0x25, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x26, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x17, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x96, 0x0a, 0x20, 0x24, 0x87, 0x00, 0x87, 0xb1, 0xb3, 0x00,
    0x0d, 0xec, 0x2a, 0x01, 0x71, 0x0a, 0x1c, 0x01, 0x5d, 0x40, 0x02, 0x38, 0xf2, 0x7a, 0x05, 0x00, 0x00, 0x00, 0x0e,
    0xbb, 0x88, 0x4d, 0x85, 0xfd, 0x5c, 0xfb, 0xa4, 0x72, 0x8b, 0xc0, 0x69, 0x0e, 0xd4, 0x00, 0x00,
];

fn transport(packet: &[u8]) -> packet::TransportPacket<&[u8]> {
    match packet::parse(packet).expect("a right packet") {
        Packet::Transport(transport) => transport,
        Packet::Raw { .. } => panic!("a packet of the transport was taken for a raw one"),
    }
}

#[test]
fn sample_packet_is_read() {
    let packet = transport(&LOCAL);
    assert_eq!((packet.lrh.vl(), packet.lrh.sl()), (Vl::new(7), Sl::new(1)));
    assert_eq!((packet.lrh.dlid, packet.lrh.slid), (Lid::new(0x375c), Lid::new(0x17d2)));
    assert_eq!(packet.bth.opcode, Opcode::new(0x0a));
    assert_eq!(packet.bth.p_key, PKey::new(0x2487));
    assert_eq!(packet.bth.dest_qp, Qpn::new(0x87_b1b3));
    assert_eq!(packet.bth.pad_count(), 2);
    assert_eq!(packet.bth.psn.get(), 0x0d_ec2a);
    assert!(packet.grh.is_none() && packet.deth.is_none());
    assert_eq!((packet.payload_offset(), packet.payload), (20, &LOCAL[20..]));
}

#[test]
fn global_packet_is_read() {
    let packet = transport(&GLOBAL);
    let grh = packet.grh.as_ref().unwrap();
    assert_eq!((grh.hop_limit, grh.sgid.guid, grh.dgid.guid), (16, Guid::new(0x26), Guid::new(0x96)));
    assert_eq!(packet.bth.dest_qp, Qpn::new(0x87_b1b3));
    assert_eq!((packet.payload_offset(), packet.payload), (60, &GLOBAL[60..]));
}

#[test]
fn crcs_of_sample_packets() {
    assert_eq!(crc::icrc(&LOCAL).to_le_bytes(), [0x96, 0x25, 0xb7, 0x5a]);
    assert_eq!(crc::trailer(&LOCAL), [0x96, 0x25, 0xb7, 0x5a, 0x45, 0xfa]);
    assert_eq!(crc::trailer(&GLOBAL), [0xad, 0xbf, 0x9e, 0x56, 0xe9, 0x71]);
    let whole = [&LOCAL[..], &crc::trailer(&LOCAL)].concat();
    assert_eq!(crc::vcrc(&whole[..56]).to_le_bytes(), whole[56..]);
}

/// Every changed bit shows in the variant CRC, and in the invariant one but for the bits that may change on the way.
#[test]
fn crcs_show_each_changed_bit() {
    let changes = |packet: &[u8]| -> Vec<usize> {
        let before = crc::trailer(packet);
        let mut packet = packet.to_vec();
        let mut unseen = Vec::new();
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            let after = crc::trailer(&packet);
            assert_ne!(before, after, "bit {bit}");
            if before[..4] == after[..4] {
                unseen.push(bit);
            }
            packet[bit / 8] ^= 0x80 >> (bit % 8);
        }
        unseen
    };
    // Lane; the base transport header's fifth byte.
    assert_eq!(changes(&LOCAL), (0..4).chain(96..104).collect::<Vec<_>>());
    // Local route header but for what says that a global one follows; class, label, hop limit; the fifth byte.
    let variant = (0..14).chain(16..64).chain(68..96).chain(120..128).chain(416..424);
    assert_eq!(changes(&GLOBAL), variant.collect::<Vec<_>>());
}

#[test]
fn smp_packet_is_as_long_as_it_says() {
    let mut packet = SmpPacket::new(Lid::PERMISSIVE, Lid::new(5), Sl::new(0), Smp::default());
    assert_eq!(
        packet.as_bytes()[..28],
        [
            0xf0, 0x02, 0x00, 0x05, 0x00, 72, 0xff, 0xff, 0x64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0
        ]
    );
    let read = transport(packet.as_bytes());
    assert_eq!(read.lrh.vl(), Vl::MANAGEMENT);
    assert_eq!(read.payload_offset(), 28);
    assert!(SmpPacket::parse_mut(packet.as_mut_bytes()).is_some());
}

#[test]
fn mad_packet_is_for_queue_pair_1() {
    let packet = MadPacket::new(Lid::new(1), Lid::new(2), Sl::new(3), Mad::new_zeroed());
    let read = transport(packet.as_bytes());
    let deth = read.deth.as_ref().unwrap();
    assert_eq!((read.lrh.vl(), read.lrh.sl()), (Vl::new(0), Sl::new(3)));
    assert_eq!((read.bth.dest_qp, deth.src_qp, deth.q_key), (Qpn::GSI, Qpn::GSI, QKey::GSI));
    assert_eq!((read.lrh.slid, read.lrh.dlid, read.bth.p_key), (Lid::new(1), Lid::new(2), PKey::DEFAULT));
    assert!(SmpPacket::parse_mut(&mut packet.as_bytes().to_vec()).is_none());
}

/// An SMP packet whose headers differ in one bit is none, but for those that say where it goes and how.
#[test]
fn smp_packet_is_strict() {
    let good = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), Smp::default());
    let accepted: Vec<usize> = (0..28 * 8)
        .filter(|bit| {
            let mut bytes = good.as_bytes().to_vec();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            SmpPacket::parse_mut(&mut bytes).is_some()
        })
        .collect();
    // LRH: SL, reserved, LIDs. BTH: solicited event, migration, P_Key, reserved, acknowledge, PSN. DETH: Q_Key,
    // reserved.
    let free = (8..14).chain(16..37).chain(48..64).chain(72..74).chain(80..104).chain(128..200);
    assert_eq!(accepted, free.collect::<Vec<_>>());
}

#[test]
fn wrong_packets_are_refused() {
    let refuse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = GLOBAL.to_vec();
        change(&mut packet);
        packet::parse(&packet[..]).map(|_| ()).unwrap_err()
    };
    assert_eq!(refuse(&|packet| packet.truncate(7)), PacketError::Short(7));
    assert_eq!(refuse(&|packet| packet[0] |= 1), PacketError::LinkVersion(1));
    assert_eq!(refuse(&|packet| packet[5] += 1), PacketError::Length { stated: 100, actual: 96 });
    assert_eq!(refuse(&|packet| packet.push(0)), PacketError::Length { stated: 96, actual: 97 });
    assert_eq!(refuse(&|packet| packet[8] = 0x40), PacketError::IpVersion(4));
    assert_eq!(refuse(&|packet| packet[14] = 0), PacketError::GrhNextHeader(0));
    assert_eq!(refuse(&|packet| packet[13] += 2), PacketError::GrhLength { stated: 50, actual: 48 });
    assert_eq!(refuse(&|packet| packet[49] |= 2), PacketError::TransportVersion(2));

    let mut header = UdHeader::new(Lid::new(1), Lid::new(2), Sl::new(0), 0);
    header.bth.set_pad_count(1);
    assert_eq!(packet::parse(header.as_bytes()).map(|_| ()), Err(PacketError::Padding { pad: 1, payload: 0 }));
    let mut short = Lrh::default();
    short.set_next_header(NextHeader::Bth);
    short.set_packet_length(3);
    assert_eq!(packet::parse(short.as_bytes()).map(|_| ()), Err(PacketError::Short(8)));
}

#[test]
fn raw_packet_is_a_value() {
    let mut lrh = Lrh::default();
    lrh.set_next_header(NextHeader::RawEthertype);
    lrh.set_packet_length(3);
    let bytes = [lrh.as_bytes(), &[1, 2, 3, 4]].concat();
    assert!(matches!(packet::parse(&bytes[..]), Ok(Packet::Raw { payload: [1, 2, 3, 4], .. })));
}

proptest! {
    /// Bytes that begin like a packet of a length that fits, and then go on anyhow.
    #[test]
    fn any_bytes_are_judged(mut bytes in prop::collection::vec(any::<u8>(), 0..400), fit: bool) {
        if fit && bytes.len() >= 8 {
            bytes[0] &= 0xf0;
            let words = u16::try_from(bytes.len() / 4 + 1).unwrap();
            let (lrh, _) = Lrh::mut_from_prefix(&mut bytes).unwrap();
            lrh.set_packet_length(words);
        }
        if let Ok(Packet::Transport(packet)) = packet::parse(&bytes[..]) {
            prop_assert_eq!(packet.payload, &bytes[packet.payload_offset()..]);
        }
        let mut copy = bytes.clone();
        let _ = packet::parse(&mut copy[..]);
        prop_assert_eq!(&copy, &bytes, "parsing changes nothing");
        crc::trailer(&bytes);
        crc::vcrc(&bytes);
    }
}
