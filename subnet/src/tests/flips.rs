//! Every single bit of every kind of SMP turned over, 344,064 in all: no panic, no change but those that the rules
//! allow, and each answer as they say.
//!
//! The kinds: 14 attributes with three methods each (Get, Set and GetResp; for Notice Get, Trap and TrapRepress), to a
//! switch and to an adapter, by directed route and by LID. That is 168; an SMP has 2,048 bits.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use iba::attr::PortInfo;
use iba::mad::{AttributeId, Class, Method};
use iba::notice::{Changes, TrapNumber};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, PortNum, TransactionId};
use zerocopy::{FromBytes, IntoBytes};

use super::oracle::{ASKS, Opinion, Seen, Subject, judge_mad, part_of, role};
use super::parts::{Part, changed};
use super::port_rules::Role;
use super::{OWN, node, packet, port_rules, protect, receive_both_ways, request, settle, unchanged};
use crate::NodeKind;
use crate::body::{Body, Verdict};

/// The attributes, with the modifier of a request to a switch, and to an adapter.
const ATTRIBUTES: [(u16, u32, u32); 14] = [
    (0x0002, 0, 0),
    (0x0010, 0, 0),
    (0x0011, 0, 0),
    (0x0012, 0, 0),
    (0x0014, 0, 0),
    (0x0015, 2, 0),
    (0x0016, 2 << 16, 0),
    (0x0017, 2 << 8 | 1, 0),
    (0x0018, 1 << 16 | 3, 3 << 16),
    (0x0019, 1, 1),
    (0x001a, 0, 0),
    (0x001b, 1, 1),
    (0x0020, 0, 0),
    (0x0031, 0, 0),
];

/// A kind of SMP, and the node that it goes to.
pub(super) struct Kind {
    body: Body,
    subject: Subject,
    by_lid: bool,
    pub(super) smp: Smp,
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for node_kind in [NodeKind::Switch, NodeKind::ChannelAdapter] {
        for (attribute, to_switch, to_adapter) in ATTRIBUTES {
            let methods = if attribute == 0x0002 {
                [Method::GET, Method::TRAP, Method::TRAP_REPRESS]
            } else {
                [Method::GET, Method::SET, Method::GET_RESP]
            };
            let modifier = if node_kind == NodeKind::Switch { to_switch } else { to_adapter };
            for (method, by_lid) in methods.into_iter().flat_map(|method| [(method, false), (method, true)]) {
                kinds.push(kind(node_kind, AttributeId::new(attribute), method, modifier, by_lid));
            }
        }
    }
    kinds
}

pub(super) fn kind(node_kind: NodeKind, attribute: AttributeId, method: Method, modifier: u32, by_lid: bool) -> Kind {
    let mut body = node(node_kind);
    let switch = node_kind == NodeKind::Switch;
    // The adapter has a subnet manager, the switch has none. A trap that was sent waits for its repress.
    body.set_is_sm(super::NOW, PortNum::new(1), !switch);
    body.raise_local_change(super::NOW, PortNum::new(1), Changes::NODE_DESCRIPTION);
    let mut sent = [0; size_of::<SmpPacket>()];
    while body.chore(super::NOW, &mut sent).is_some() {}
    let trap = SmpPacket::ref_from_bytes(&sent).expect("it is one").smp.header.transaction_id;
    assert_ne!(trap.get(), 0, "a trap was sent");
    settle(&mut body);
    protect(&mut body, 2);

    let class = if by_lid { Class::SUBN_LID_ROUTED } else { Class::SUBN_DIRECTED_ROUTE };
    let mut smp = request(class, method, attribute, modifier);
    let notice = attribute == AttributeId::NOTICE;
    smp.header.transaction_id = if notice { trap } else { TransactionId::new(0x55) };
    let port = if switch { 2 } else { 0 };
    match attribute {
        AttributeId::PORT_INFO => smp.set_attribute::<PortInfo>(&unchanged(&body.ports[port].info)),
        AttributeId::SWITCH_INFO if switch => {
            let mut info = body.relay.as_ref().expect("a switch has a relay").info;
            info.linear_fdb_top = Lid::new(0x7fff);
            smp.set_attribute(&info);
        }
        _ => {
            smp.data = core::array::from_fn(|index| u8::try_from(index).expect("small") ^ 0x5a);
            smp.data[usize::from(ASKS)] = 1; // as a forwarding table it keeps the way back
        }
    }
    if !by_lid {
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        // One hop out and here; or back, and at its end.
        smp.set_hop_count(1);
        smp.set_hop_pointer(1);
        smp.set_returning(method.is_response());
        smp.initial_path[1..].fill(PortNum::new(2));
        smp.return_path[1..].fill(PortNum::new(1));
    }
    Kind { body, subject: Subject { switch, is_sm: !switch, trap: trap.get() }, by_lid, smp }
}

/// Sends an SMP, and holds what comes of it against the oracle's opinion.
pub(super) fn check(kind: &Kind, smp: &Smp) {
    let mut body = kind.body.clone();
    let (slid, dlid) = if kind.by_lid { (ASKS, OWN) } else { (0xffff, 0xffff) };
    let (verdict, after) = receive_both_ways(&mut body, 1, &packet(slid, dlid, *smp));
    let sent: &[u8; 256] = zerocopy::transmute_ref!(smp);
    let answer = SmpPacket::ref_from_bytes(&after).expect("it has not changed its length").smp;

    let infos: Vec<[u8; 64]> = kind.body.ports.iter().map(|port| zerocopy::transmute!(port.info)).collect();
    let opinion = judge_mad(kind.subject, kind.by_lid, sent, &infos);
    let is_answer = answer.header.method == Method::GET_RESP && smp.header.method != Method::GET_RESP;
    let seen = match verdict {
        Verdict::Done => Seen::Nothing,
        Verdict::Deliver(port) => Seen::Delivered(port.get()),
        Verdict::Transmit(port) if is_answer && port.get() == 1 => Seen::Answered(answer.status().get()),
        Verdict::Transmit(port) => Seen::Passed(port.get()),
        Verdict::Multicast => panic!("an SMP went to a group"),
    };
    assert_eq!(seen, opinion.seen, "{:02x?}", sent);
    if let Seen::Answered(_) = seen {
        assert_eq!(answer.header.transaction_id, smp.header.transaction_id);
        assert_eq!(answer.header.attribute_id, smp.header.attribute_id);
        assert_eq!(answer.header.attribute_modifier, smp.header.attribute_modifier);
    }
    if seen == Seen::Answered(0) {
        assert_eq!(answer.data, contents(kind, sent, &body), "what the attribute is then: {sent:02x?}");
    }
    let changed = changed(&kind.body, &body);
    assert!(changed.is_subset(&opinion.may_change), "{changed:?}, not {:?}: {sent:02x?}", opinion.may_change);
    check_contents(kind, smp, &body, &opinion, &infos, &changed);
}

/// Returns the response of port 1 to `sent`: the attribute as it is now, and zeros after it.
fn contents(kind: &Kind, sent: &[u8; 256], body: &Body) -> [u8; 64] {
    let mut data = [0; 64];
    let mut fill = |bytes: &[u8]| data[..bytes.len()].copy_from_slice(bytes);
    match part_of(kind.subject, sent).expect("only what there is is answered so") {
        Part::Description => fill(body.description.as_bytes()),
        Part::NodeInfo => {
            fill(body.node_info.as_bytes());
            data[20..28].copy_from_slice(body.ports[0].guid.as_bytes());
            data[36] = 1; // LocalPortNum
        }
        Part::PortInfo(index) => {
            fill(body.ports[index].info.as_bytes());
            data[28] = 1; // LocalPortNum: of the port that responds, not of the one in the modifier
            // ClientReregister is echoed and not kept (o14-12.2.1).
            if sent[3] == 0x02 && role(kind.subject, index) != Role::External {
                data[51] |= sent[64 + 51] & 0x80;
            }
            // A link that is to fall does so behind the answer, which tells already.
            if body.link_request.is_some() {
                data[32] = data[32] & 0xf0 | 1;
            }
        }
        Part::Guids(index) => fill(body.ports[index].end.as_ref().expect("an end").guids.as_bytes()),
        Part::PKeys(index, block) => fill(body.ports[index].p_keys[block].as_bytes()),
        Part::SlToVl(index, input) => fill(body.ports[index].sl_to_vl[input].as_bytes()),
        Part::Arbitration(index, table) => fill(body.ports[index].vl_arbitration[table].as_bytes()),
        Part::SwitchInfo => fill(relay(body).info.as_bytes()),
        Part::Linear(block) => fill(relay(body).linear[block].as_bytes()),
        Part::Multicast(block) => fill(relay(body).multicast[block].as_bytes()),
        part => panic!("{part:?} has no attribute"),
    }
    data
}

/// Asserts that changed bits hold the requested values.
fn check_contents(
    kind: &Kind,
    smp: &Smp,
    body: &Body,
    opinion: &Opinion,
    infos: &[[u8; 64]],
    changed: &BTreeSet<Part>,
) {
    let data = &smp.data;
    if !opinion.done {
        // The only other change of an attribute is that a violation of the key is counted, and told of.
        if changed.contains(&Part::PortInfo(0)) {
            let mut expected = kind.body.ports[0].info;
            expected.m_key_violations = 1.into();
            assert_eq!(body.ports[0].info, expected);
            let trap = body.ports[0].end.as_ref().and_then(|end| end.traps.find(TrapNumber::BAD_M_KEY));
            assert!(trap.is_some(), "a violation was not told of");
        }
        return;
    }
    for part in &opinion.may_change {
        match *part {
            Part::PortInfo(index) => {
                let extended = smp.header.attribute_modifier.get() >> 31 == 1;
                let expected = port_rules::set(role(kind.subject, index), &infos[index], data, extended);
                assert_eq!(Some(zerocopy::transmute!(body.ports[index].info)), expected);
            }
            Part::Guids(index) => {
                let guids = body.ports[index].end.as_ref().expect("an end").guids;
                assert_eq!(guids.as_bytes()[8..], data[8..]);
                assert_eq!(guids.guids[0], body.ports[index].guid, "a port's own GUID cannot be set");
            }
            Part::PKeys(index, block) => assert_eq!(body.ports[index].p_keys[block].as_bytes(), data),
            Part::SlToVl(index, input) => assert_eq!(body.ports[index].sl_to_vl[input].as_bytes(), &data[..8]),
            Part::Arbitration(index, table) => assert_eq!(body.ports[index].vl_arbitration[table].as_bytes(), data),
            Part::Linear(block) => assert_eq!(relay(body).linear[block].as_bytes(), data),
            Part::Multicast(block) => assert_eq!(relay(body).multicast[block].as_bytes(), data),
            Part::SwitchInfo => {
                let mut expected: [u8; 20] = zerocopy::transmute!(relay(&kind.body).info);
                expected[6..11].copy_from_slice(&data[6..11]);
                expected[11] = data[11] & 0xf8 | expected[11] & 0x07 & !(data[11] & 0x04);
                assert_eq!(relay(body).info.as_bytes(), expected);
            }
            _ => {}
        }
    }
}

fn relay(body: &Body) -> &crate::relay::Relay {
    body.relay.as_ref().expect("a switch has a relay")
}

#[test]
fn every_bit_of_every_smp_can_be_turned_over() {
    let kinds = kinds();
    assert_eq!(kinds.len(), 168);
    let mut flips = 0;
    for kind in &kinds {
        check(kind, &kind.smp);
        for bit in 0..2048 {
            let mut smp = kind.smp;
            smp.as_mut_bytes()[bit / 8] ^= 0x80 >> (bit % 8);
            check(kind, &smp);
            flips += 1;
        }
    }
    assert_eq!(flips, 344_064);
}

#[test]
fn every_modifier_near_a_bound_is_answered_as_the_rules_say() {
    // Each byte of a modifier may name a port, a block or a position: ports are 0 to 4, or 1 and 2, blocks up to 768.
    let asks = |kind: &&Kind| !kind.by_lid && matches!(kind.smp.header.method, Method::GET | Method::SET);
    for kind in kinds().iter().filter(asks) {
        for (high, port) in [0x00, 0x10, 0x80].into_iter().flat_map(|high| (0..=5u8).map(move |port| (high, port))) {
            for (block, low) in (0..=5u8).flat_map(|block| [0, 1, 2, 3, 4, 5, 0xff].map(|low| (block, low))) {
                let mut smp = kind.smp;
                smp.header.attribute_modifier = u32::from_be_bytes([high, port, block, low]).into();
                check(kind, &smp);
            }
        }
    }
}
