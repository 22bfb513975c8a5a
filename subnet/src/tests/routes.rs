//! All hop pointers, hop counts and directions, with all that can be permissive or not, at both kinds of node: what
//! comes of each is what the rules say.

use alloc::vec::Vec;

use iba::mad::{AttributeId, Class, Method};
use iba::packet::SmpPacket;
use iba::{Lid, PortNum};
use zerocopy::FromBytes;

use super::route_rules::{Answer, Facts, Then, forwarded, judge, judge_answer};
use super::{BEYOND_2, BEYOND_3, MANAGER, NOW, OWN, node, packet, request, without_counters};
use crate::NodeKind;
use crate::body::{Body, Verdict};

/// Ports in the paths: all that there are, one that is down, none, and one that no node has.
const INITIAL: [u8; 6] = [3, 1, 2, 0, 4, 200];
const RETURN: [u8; 6] = [2, 200, 3, 4, 0, 1];

/// One case: the facts, the port that it comes by, and whether the method fits the direction.
#[derive(Clone, Copy, Debug)]
struct Case {
    facts: Facts,
    port: u8,
    fits: bool,
}

/// Outcome of a case: the packet's exit, hop pointer and LIDs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    verdict: Verdict,
    pointer: u8,
    slid: u16,
    dlid: u16,
}

fn begin(case: &Case) -> SmpPacket {
    let method = if case.facts.returning == case.fits { Method::GET_RESP } else { Method::GET };
    let mut smp = request(Class::SUBN_DIRECTED_ROUTE, method, AttributeId::NODE_INFO, 0);
    smp.set_returning(case.facts.returning);
    smp.set_hop_pointer(case.facts.pointer);
    smp.set_hop_count(case.facts.count);
    smp.dr_slid = if case.facts.from_sm { Lid::PERMISSIVE } else { Lid::new(BEYOND_3) };
    smp.dr_dlid = if case.facts.to_end { Lid::PERMISSIVE } else { Lid::new(BEYOND_2) };
    for (entry, port) in smp.initial_path.iter_mut().zip(INITIAL.into_iter().cycle()) {
        *entry = PortNum::new(port);
    }
    for (entry, port) in smp.return_path.iter_mut().zip(RETURN.into_iter().cycle()) {
        *entry = PortNum::new(port);
    }
    if case.facts.by_lid {
        packet(MANAGER, OWN + u16::from(!case.facts.switch && case.port == 2), smp)
    } else {
        // Who sends by the permissive LID is to send from it, too; what others claim is not passed on.
        let slid = if case.facts.pointer.is_multiple_of(2) { Lid::PERMISSIVE.get() } else { BEYOND_2 };
        packet(slid, Lid::PERMISSIVE.get(), smp)
    }
}

/// Returns the outcome of a case by the rules.
fn expect(case: &Case, begun: &SmpPacket) -> Option<Seen> {
    let Case { facts, port, fits } = *case;
    let (_, then, _) = judge(&facts);
    let permissive = 0xffff;
    let last = usize::from(facts.count % 64);
    let returned = if facts.pointer == facts.count { port } else { begun.smp.return_path[last].get() };
    // By a port, if the switch or adapter has it and it is up.
    let leave = |to: u8, pointer| {
        let exists = if facts.switch { (1..=3).contains(&to) } else { to == port };
        exists.then_some(Seen {
            verdict: Verdict::Transmit(PortNum::new(to)),
            pointer,
            slid: permissive,
            dlid: permissive,
        })
    };
    // By LIDs: a switch looks in its table, an adapter has one way.
    let route = |slid: u16, dlid: u16, pointer| {
        let to = if facts.switch { forwarded(dlid)? } else { port };
        Some(Seen { verdict: Verdict::Transmit(PortNum::new(to)), pointer, slid, dlid })
    };
    let take = |pointer| {
        let end = if facts.switch { 0 } else { port };
        let (slid, dlid) = (begun.header.lrh.slid.get(), begun.header.lrh.dlid.get());
        Some(Seen { verdict: Verdict::Deliver(PortNum::new(end)), pointer, slid, dlid })
    };
    match then {
        Then::Discard => None,
        Then::Initial(hop) => leave(begun.smp.initial_path[usize::from(hop)].get(), hop),
        Then::Return(hop) => leave(begun.smp.return_path[usize::from(hop)].get(), hop),
        Then::Onward(pointer) => route(OWN, BEYOND_2, pointer),
        Then::Homeward(pointer) => route(OWN, BEYOND_3, pointer),
        Then::Take(_) if !fits => None,
        Then::Take(pointer) if facts.returning => take(pointer),
        Then::Take(pointer) => {
            let own = begun.header.lrh.dlid.get();
            let own = if facts.by_lid { own } else { OWN + u16::from(!facts.switch && port == 2) };
            match judge_answer(&facts, returned == port) {
                Answer::ToRequester if begun.header.lrh.slid == Lid::PERMISSIVE && facts.switch => {
                    // It came by the permissive LID, and goes back by it.
                    Some(Seen { verdict: Verdict::Transmit(PortNum::new(port)), pointer, slid: own, dlid: permissive })
                }
                Answer::ToRequester => route(own, begun.header.lrh.slid.get(), pointer),
                Answer::ToNeighbour => leave(port, 0),
                Answer::Homeward => route(OWN, BEYOND_3, 0),
                Answer::Return => leave(returned, facts.count),
                Answer::Discard => None,
            }
        }
    }
}

/// Returns the packet's expected paths: only the port that it came by is written, at the hop where it came.
fn expected_return_path(case: &Case, begun: &SmpPacket) -> Vec<PortNum> {
    let mut path = begun.smp.return_path.to_vec();
    if judge(&case.facts).2 {
        path[usize::from(case.facts.pointer % 64)] = PortNum::new(case.port);
    }
    path
}

/// Sends a case, and judges what comes of it.
fn check(body: &mut Body, case: &Case) {
    let begun = begin(case);
    let mut bytes = zerocopy::transmute!(begun);
    let bytes: &mut [u8; 284] = &mut bytes;
    let verdict = body.receive(NOW, PortNum::new(case.port), bytes);
    let after = SmpPacket::ref_from_bytes(bytes).expect("it has not changed its length");
    let seen = (verdict != Verdict::Done).then(|| Seen {
        verdict,
        pointer: after.smp.hop_pointer(),
        slid: after.header.lrh.slid.get(),
        dlid: after.header.lrh.dlid.get(),
    });
    let expected = expect(case, &begun);
    assert_eq!(seen, expected, "{:?}: {case:?}", judge(&case.facts));
    if expected.is_some() {
        assert_eq!(after.smp.return_path.as_slice(), expected_return_path(case, &begun), "{case:?}");
        assert_eq!(after.smp.initial_path, begun.smp.initial_path);
        assert_eq!(after.smp.hop_count(), begun.smp.hop_count());
    }
}

fn check_all(kind: NodeKind) -> u64 {
    let mut body = node(kind);
    let before = without_counters(&body);
    let mut cases = 0;
    for variant in 0..32u8 {
        let bit = |number: u8| variant & 1 << number != 0;
        for returning in [false, true] {
            for pointer in 0..=255 {
                for count in 0..=255 {
                    let facts = Facts {
                        returning,
                        pointer,
                        count,
                        switch: kind == NodeKind::Switch,
                        from_sm: bit(0),
                        to_end: bit(1),
                        by_lid: bit(2),
                    };
                    check(&mut body, &Case { facts, port: if bit(3) { 1 } else { 2 }, fits: bit(4) });
                    cases += 1;
                }
            }
        }
        assert!(before == without_counters(&body), "a read changed the node");
    }
    cases
}

#[test]
fn a_switch_follows_every_route_as_the_rules_say() {
    assert_eq!(check_all(NodeKind::Switch), 32 * 2 * 256 * 256);
}

#[test]
fn an_adapter_follows_every_route_as_the_rules_say() {
    assert_eq!(check_all(NodeKind::ChannelAdapter), 32 * 2 * 256 * 256);
}

/// Ports 1 and 2 are in the paths: one in the entry that counts, the other in all the rest.
#[test]
fn consumers_begin_and_answer_routes_at_their_ends_only_and_by_their_own_port() {
    for (kind, from) in [(NodeKind::ChannelAdapter, 1), (NodeKind::ChannelAdapter, 2), (NodeKind::Switch, 0)] {
        let mut body = node(kind);
        for (returning, by) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
            for (pointer, count) in (0..=255u8).flat_map(|pointer| (1..=255u8).map(move |count| (pointer, count))) {
                let method = if returning { Method::GET_RESP } else { Method::GET };
                let mut smp = request(Class::SUBN_DIRECTED_ROUTE, method, AttributeId::NODE_INFO, 0);
                (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
                smp.set_returning(returning);
                smp.set_hop_pointer(pointer);
                smp.set_hop_count(count);
                let path = if returning { &mut smp.return_path } else { &mut smp.initial_path };
                path.fill(PortNum::new(3 - by));
                // The pointer before, and after: C14-9:1 and C14-13:1.
                let (begin, first) = if returning { (u32::from(count) + 1, count) } else { (0, 1) };
                path[usize::from(first % 64)] = PortNum::new(by);
                let mut bytes = zerocopy::transmute!(packet(0xffff, 0xffff, smp));
                let bytes: &mut [u8; 284] = &mut bytes;
                let verdict = body.send(NOW, PortNum::new(from), bytes);
                let after = SmpPacket::ref_from_bytes(bytes).expect("it has not changed its length");
                let seen = (verdict != Verdict::Done).then(|| (verdict, after.smp.hop_pointer()));
                let goes = count < 64 && u32::from(pointer) == begin && (kind == NodeKind::Switch || from == by);
                let expected = goes.then_some((Verdict::Transmit(PortNum::new(by)), first));
                assert_eq!(seen, expected, "{kind:?}, from {from} by {by}, back {returning}: {pointer} of {count}");
            }
        }
    }
}
