//! Anything at all: no packet makes a node panic, and what comes of a datagram is what the oracle says.

use alloc::vec::Vec;

use iba::mad::{AttributeId, Class, Method};
use iba::packet::UdHeader;
use iba::smp::Smp;
use iba::{PortNum, TransactionId};
use proptest::prelude::*;
use proptest::sample::select;
use zerocopy::IntoBytes;

use super::flips::{Kind, check, kind};
use super::parts::changed;
use super::{BEYOND_2, BEYOND_3, MANAGER, NOW, node, protect};
use crate::NodeKind;
use crate::directed::NodeKind::{ChannelAdapter, Switch};

/// Numbers that are likely to mean something, and others.
fn likely(values: &'static [u8]) -> impl Strategy<Value = u8> {
    prop_oneof![9 => select(values), 1 => any::<u8>()]
}

/// A datagram of which much makes sense.
fn datagram() -> impl Strategy<Value = Smp> {
    let head = (
        likely(&[1]),
        likely(&[0x81, 0x01]),
        likely(&[1]),
        likely(&[0x01, 0x02, 0x02, 0x02, 0x07, 0x81]),
        likely(&[0x15, 0x15, 0x10, 0x11, 0x12, 0x14, 0x16, 0x17, 0x18, 0x19, 0x1b, 0x20]),
        prop_oneof![select(&[0u32, 1, 2, 0x1_0000, 0x1_0001, 0x101, 0x8000_0001][..]), 0..0x400u32, any::<u32>()],
    );
    let route = (likely(&[0, 1, 2]), likely(&[0, 1, 2]), any::<bool>(), likely(&[0xff, 0]), likely(&[0xff, 0]));
    let tail = (prop_oneof![9 => Just(super::KEY), 1 => any::<u64>()], any::<[u8; 64]>(), any::<[u8; 64]>());
    (head, route, tail).prop_map(|((base, class, version, method, attribute, modifier), route, tail)| {
        let mut smp =
            super::request(Class::new(class), Method::new(method), AttributeId::new(attribute.into()), modifier);
        (smp.header.base_version, smp.header.class_version) = (base, version);
        smp.header.transaction_id = TransactionId::new(3);
        let (pointer, count, returning, slid, dlid) = route;
        smp.header.class_specific = [pointer, count];
        smp.set_returning(returning);
        (smp.dr_slid, smp.dr_dlid) = (u16::from_be_bytes([slid; 2]).into(), u16::from_be_bytes([dlid; 2]).into());
        let (key, data, path) = tail;
        smp.m_key = key.into();
        smp.data = data;
        smp.initial_path = path.map(|port| PortNum::new(port % 6));
        smp.return_path = [PortNum::new(1); 64]; // the way that everything comes
        smp
    })
}

/// A datagram whose data is nearly what a port says of itself.
fn port_info() -> impl Strategy<Value = (Smp, usize, u8)> {
    (datagram(), 0..64usize, any::<u8>())
}

fn nodes() -> Vec<Kind> {
    let of = |kind_of: NodeKind, by_lid| kind(kind_of, AttributeId::PORT_INFO, Method::SET, 0, by_lid);
    [(Switch, false), (Switch, true), (ChannelAdapter, false), (ChannelAdapter, true)]
        .map(|(kind_of, by_lid)| of(kind_of, by_lid))
        .into()
}

/// Changes a Set that would take away the way by which its answer goes: the oracle knows but one table.
fn keep_way_back(smp: &mut Smp) {
    match smp.header.attribute_id {
        AttributeId::LINEAR_FORWARDING_TABLE => smp.data[usize::from(super::MANAGER)] = 1,
        AttributeId::SWITCH_INFO => smp.data[6] |= 0x40, // LinearFDBTop
        AttributeId::PORT_INFO => smp.data[16] |= 0x40,  // the LID
        _ => {}
    }
}

#[test]
fn what_comes_of_any_datagram_is_what_the_oracle_says() {
    let nodes = nodes();
    let config = ProptestConfig::with_cases(20_000);
    proptest!(config, |((mut smp, byte, value) in port_info(), which in 0..4usize, likely in any::<bool>())| {
        let node = &nodes[which];
        if likely {
            smp.data = node.smp.data;
            smp.data[byte] = value;
        }
        keep_way_back(&mut smp);
        check(node, &smp);
    });
}

/// A packet on a data lane that is likely to pass: headers, and the bytes after them.
fn data_packet() -> impl Strategy<Value = Vec<u8>> {
    let lids = [super::OWN, super::OWN + 1, MANAGER, BEYOND_2, BEYOND_3, 0xc001, 0xffff, 0, 0x39];
    let head = (select(&[0u8, 1, 6, 15][..]), 0..16u8, likely(&[2, 3]), select(lids.to_vec()), select(lids.to_vec()));
    let tail = (likely(&[77, 77, 1, 0]), likely(&[0xff, 0x80]), prop::collection::vec(any::<u8>(), 0..80));
    let off = prop_oneof![9 => Just(0i8), 1 => select(&[-1i8, 1][..])];
    (head, tail, off).prop_map(|((lane, sl, next, dlid, slid), (qp, key, payload), off)| {
        let mut header = UdHeader::new(slid.into(), dlid.into(), sl.into(), payload.len() / 4 * 4);
        header.bth.dest_qp = u32::from(qp).into();
        header.bth.p_key = u16::from_be_bytes([key, key]).into();
        let mut packet = header.as_bytes().to_vec();
        packet.extend(&payload[..payload.len() / 4 * 4]);
        packet[0] = lane << 4;
        packet[1] = packet[1] & 0xf0 | next & 3;
        // Most state the right length.
        packet[5] = packet[5].wrapping_add_signed(off);
        packet
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30_000))]

    #[test]
    fn the_short_ways_of_data_lead_where_the_long_ones_lead(
        packet in data_packet(),
        wrong_length in prop::bool::weighted(0.1),
        switch in any::<bool>(),
        port in 0..6u8,
        lane in 0..16u8,
        enforced in any::<[bool; 2]>(),
        mtu in 1..=5u8,
        from_consumer in any::<bool>(),
    ) {
        let mut body = node(if switch { Switch } else { ChannelAdapter });
        for port in &mut body.ports {
            // Only a switch's ports with a link have these.
            port.info.set_partition_enforcement_inbound(enforced[0] && port.end.is_none());
            port.info.set_partition_enforcement_outbound(enforced[1] && port.end.is_none());
            port.info.set_neighbor_mtu(mtu.into());
            for map in &mut port.sl_to_vl {
                map.set_vl(3.into(), lane.into());
            }
        }
        let mut long = body.clone();
        let mut one = packet;
        if wrong_length {
            one.push(0);
        }
        let mut other = one.clone();
        let number = PortNum::new(port);
        let verdicts = if from_consumer {
            (body.send(NOW, number, &mut one), long.send_any(NOW, number, &mut other))
        } else {
            (body.receive(NOW, number, &mut one), long.receive_any(NOW, number, &mut other))
        };
        prop_assert_eq!(verdicts.0, verdicts.1);
        prop_assert_eq!(one, other);
        prop_assert!(body == long, "they leave the node otherwise");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_packet_makes_a_node_panic(
        mut packet in prop::collection::vec(any::<u8>(), 0..400),
        lane in any::<bool>(),
        switch in any::<bool>(),
        port in 0..6u8,
        from_consumer in any::<bool>(),
    ) {
        let mut body = node(if switch { Switch } else { ChannelAdapter });
        protect(&mut body, 2);
        let before = body.clone();
        // A packet that states its length goes further than one that does not.
        if packet.len() >= 8 {
            packet[0] = if lane { 0xf0 } else { 0x00 };
            packet[1] = packet[1] & 0xf0 | 2 | packet[1] & 1;
            let words = u16::try_from(packet.len() / 4 + 1).expect("a short packet").to_be_bytes();
            packet[4..6].copy_from_slice(&words);
            let whole = packet.len() / 4 * 4;
            packet.truncate(whole);
        }
        let bytes = packet.as_mut_bytes();
        if from_consumer {
            body.send(NOW, PortNum::new(port), bytes);
        } else {
            body.receive(NOW, PortNum::new(port), bytes);
        }
        // Without the key nothing can be set; at most a violation is counted.
        let parts = changed(&before, &body);
        let harmless = |part: &super::parts::Part| {
            use super::parts::Part;
            matches!(part, Part::PortInfo(_) | Part::Traps(_) | Part::Lease(_))
        };
        prop_assert!(parts.iter().all(harmless), "{parts:?}");
    }
}
