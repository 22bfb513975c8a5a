//! Any bytes as a packet: headers are found or refused, and what was found covers the whole packet.
#![no_main]

use iba::crc;
use iba::mad::Mad;
use iba::packet::{self, Packet, SmpPacket};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromBytes, IntoBytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Packet::Transport(packet)) = packet::parse(bytes) {
        assert_eq!(packet.payload, &bytes[packet.payload_offset()..]);
        if let Ok(mad) = Mad::read_from_bytes(packet.payload) {
            assert_eq!(mad.as_bytes(), packet.payload);
            let _ = format!("{mad:?}");
        }
    }
    let mut copy = bytes.to_vec();
    if SmpPacket::parse_mut(&mut copy).is_some() {
        assert!(packet::parse(bytes).is_ok(), "an SMP packet is a packet");
    }
    assert_eq!(copy, bytes, "parsing changes nothing");
    crc::trailer(bytes);
});
