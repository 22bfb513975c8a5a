//! Datagrams on both sides of the bridge, and what does not pass it.

use bridge_image::{Home, MAX_PACKET, outbound, own, packet};
use iba::attr::CapabilityMask;
use iba::grh::Grh;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::{AttributeId, Class, Mad, MadHeader, Method};
use iba::notice::{LocalChange, Notice, TrapNumber};
use iba::packet::{MadPacket, SmpPacket};
use iba::smp::Smp;
use iba::{Gid, Guid, Lid, PKey, PortNum, ProducerType, QKey, Qpn, Sl};
use lhca_contract::{Completion, CompletionFlags, QueuePairKind, WorkFlags};
use zerocopy::{FromZeros, IntoBytes};

fn mad() -> Mad {
    let mut mad = Mad::new_zeroed();
    (mad.header.base_version, mad.header.class) = (MadHeader::BASE_VERSION, Class::SUBN_ADM);
    mad.data.iter_mut().zip(0_u8..).for_each(|(byte, value)| *byte = value);
    mad
}

/// A general service's packet, with a GRH.
fn global(grh: &Grh) -> Vec<u8> {
    let mut packet = MadPacket::new(Lid::new(7), Lid::new(9), Sl::new(2), mad());
    packet.header.bth.p_key = PKey::new(0x8123);
    let lrh = &mut packet.header.lrh;
    lrh.set_next_header(NextHeader::Grh);
    lrh.set_packet_length(lrh.packet_length() + 10);
    let (head, rest) = packet.as_bytes().split_at(size_of::<Lrh>());
    [head, grh.as_bytes(), rest].concat()
}

fn grh() -> Grh {
    let mut grh = Grh::default();
    grh.set_ip_version(Grh::IP_VERSION);
    (grh.next_header, grh.hop_limit) = (Grh::NEXT_HEADER_BTH, 3);
    grh.payload_length = (12 + 8 + 256 + 4).into();
    grh.set_traffic_class(0x5a);
    grh.set_flow_label(0xf_1234);
    grh.dgid = Gid { guid: Guid::new(9), ..Gid::default() };
    grh
}

#[test]
fn a_datagram_goes_out_as_it_was_addressed() {
    let bytes = global(&grh());
    let out = outbound(&bytes).unwrap();
    assert_eq!((out.kind, out.p_key, out.mad.as_bytes()), (QueuePairKind::GSI, PKey::new(0x8123), mad().as_bytes()));
    let to = out.address;
    assert_eq!((to.dlid, to.sl, to.remote_qp, to.q_key), (Lid::new(9), Sl::new(2), Qpn::GSI, QKey::GSI));
    assert_eq!((to.flags, to.hop_limit, to.destination_gid), (WorkFlags::GRH, 3, grh().dgid));
    assert_eq!(to.grh_word, [0x05, 0xaf, 0x12, 0x34]);

    let smp = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), Smp::default());
    let out = outbound(smp.as_bytes()).unwrap();
    assert_eq!(
        (out.kind, out.address.dlid, out.address.flags),
        (QueuePairKind::SMI, Lid::PERMISSIVE, WorkFlags::empty())
    );
}

#[test]
fn what_is_no_management_datagram_does_not_go_out() {
    let bytes = global(&grh());
    for length in 0..bytes.len() {
        assert!(outbound(&bytes[..length]).is_none());
    }
}

#[test]
fn what_arrives_is_the_packet_that_it_was() {
    let bytes = global(&grh());
    let done = Completion {
        flags: CompletionFlags::GRH,
        sl: Sl::new(2),
        slid: Lid::new(7),
        source_qp: Qpn::GSI,
        destination_path: 1,
        ..Completion::default()
    };
    let home = Home { kind: QueuePairKind::GSI, lid: Lid::new(8), p_key: PKey::new(0x8123) };
    let mut made = [0; MAX_PACKET];
    let head = grh().as_bytes().first_chunk().copied().unwrap();
    let length = packet(&home, &done, &head, mad().as_bytes(), &mut made);
    assert_eq!(made[..length], bytes);
}

#[test]
fn a_management_packet_arrives_on_its_lane() {
    let mut smp = own::questions(PortNum::new(1))[0];
    smp.set_hop_count(3);
    let home = Home { kind: QueuePairKind::SMI, lid: Lid::new(8), p_key: PKey::DEFAULT };
    for (slid, dlid) in [(Lid::PERMISSIVE, Lid::PERMISSIVE), (Lid::new(7), Lid::new(8))] {
        let mut made = [0; MAX_PACKET];
        let done = Completion { slid, ..Completion::default() };
        let length = packet(&home, &done, &[0xff; 40], smp.as_bytes(), &mut made);
        let expected = SmpPacket::new(slid, dlid, Sl::default(), smp);
        assert_eq!(&made[..length], expected.as_bytes());
    }
}

#[test]
fn the_port_is_asked_by_routes_without_hops() {
    let questions = own::questions(PortNum::new(2));
    assert!(questions.iter().all(|smp| smp.header.method == Method::GET && smp.hop_count() == 0));
    let asked = questions.map(|smp| (smp.header.attribute_id, smp.header.attribute_modifier.get()));
    assert_eq!(asked[..2], [(AttributeId::NODE_DESCRIPTION, 0), (AttributeId::NODE_INFO, 0)]);
    assert_eq!(asked[2..], [(AttributeId::PORT_INFO, 2), (AttributeId::P_KEY_TABLE, 0)]);
}

#[test]
fn an_announcement_is_understood_and_repressed_and_nothing_else_is_one() {
    let trap = |capabilities, dlid: Lid| {
        let mut change = LocalChange::default();
        change.set_capability_mask(capabilities);
        let mut smp = Smp::default();
        (smp.header.class, smp.header.method) = (Class::SUBN_LID_ROUTED, Method::TRAP);
        smp.header.attribute_id = AttributeId::NOTICE;
        smp.header.transaction_id = 5.into();
        let producer = ProducerType::CHANNEL_ADAPTER;
        smp.set_attribute(&Notice::new(TrapNumber::LOCAL_CHANGE, producer, Lid::UNASSIGNED, &change));
        SmpPacket::new(Lid::PERMISSIVE, dlid, Sl::default(), smp)
    };
    for (capabilities, is_sm) in [(CapabilityMask::SM | CapabilityMask::TRAP, true), (CapabilityMask::TRAP, false)] {
        let mut packet = trap(capabilities, Lid::PERMISSIVE);
        let expected = if is_sm { own::HostManager::Attached } else { own::HostManager::Absent };
        assert_eq!(own::announcement(packet.as_mut_bytes()), Some(expected));
        let expected = (Method::TRAP_REPRESS, 5);
        assert_eq!((packet.smp.header.method, packet.smp.header.transaction_id.get()), expected);
    }
    let real = trap(CapabilityMask::SM, Lid::new(1));
    let mut others = [real, real, real, real];
    for (nth, other) in others.iter_mut().enumerate().skip(1) {
        other.header.lrh.dlid = Lid::PERMISSIVE;
        match nth {
            1 => other.smp.header.class = Class::SUBN_DIRECTED_ROUTE,
            2 => other.smp.header.method = Method::GET,
            _ => other.smp.header.attribute_id = AttributeId::PORT_INFO,
        }
    }
    for mut other in others {
        let before = other.as_bytes().to_vec();
        assert_eq!(own::announcement(other.as_mut_bytes()), None);
        assert_eq!(other.as_bytes(), before);
    }
    assert_eq!(own::announcement(&mut [0; 3]), None);
}
