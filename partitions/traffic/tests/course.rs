//! Courses against each other, in memory.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::collections::VecDeque;

use iba::Lid;
use lhca_contract::SendEntry;
use traffic_image::{Course, Key, Message, Plan, Step, Tag, To, Totals, words};

const GROUP: Lid = Lid::new(0xc001);
const STEP: usize = 512;
/// 0, 511, 1022, 1533, 2048 ... 4096.
const SIZES: u32 = 9;

/// A datagram on its way.
struct Flying {
    from: Lid,
    to: Lid,
    to_group: bool,
    tag: Tag,
    payload: Vec<u8>,
}

/// `senders` that run courses, with LIDs from 1, and `hosts` behind them that only send back. Each datagram passes
/// `spoil`.
fn run(senders: usize, hosts: usize, mut spoil: impl FnMut(&mut Flying)) -> Vec<(Step, Totals)> {
    let lids: Vec<Lid> = (1..).map(Lid::new).take(senders + hosts).collect();
    let peers = lids.len() - 1;
    let plan = |own| Plan { own, group: GROUP, peers, senders: senders - 1, step: STEP };
    let mut courses: Vec<Course> = lids[..senders].iter().map(|&lid| Course::new(plan(lid))).collect();
    let mut steps = vec![Step::Wait(0); senders];
    let mut flying: VecDeque<Flying> = VecDeque::new();
    for now in (0..).map(|turn: u64| turn * 100_000_000) {
        for (course, step) in courses.iter_mut().zip(&mut steps) {
            *step = course.next(now);
            if let Step::Send(message) = *step {
                flying.extend(datagrams(&message, &lids));
            }
        }
        while let Some(mut datagram) = flying.pop_front() {
            spoil(&mut datagram);
            let Flying { from, to, to_group, tag, payload } = datagram;
            let address = SendEntry { dlid: from, ..SendEntry::default() };
            let course = courses.get_mut(usize::from(to.get()) - 1);
            if tag.sender == to {
                course.unwrap().returned(from, tag, &payload, &address);
                continue;
            }
            if let Some(course) = course {
                course.requested(from, tag, &payload, to_group);
            }
            flying.push_back(Flying { from: to, to: from, to_group: false, tag, payload });
        }
        if steps.iter().all(|step| matches!(step, Step::Done | Step::Lost(_) | Step::Wait(u64::MAX))) {
            break;
        }
    }
    steps.into_iter().zip(courses.iter().map(Course::totals)).collect()
}

fn datagrams(message: &Message, lids: &[Lid]) -> Vec<Flying> {
    let mut payload = vec![0; message.size];
    message.key.fill(&mut payload);
    let from = message.tag.sender;
    let to: Vec<Lid> = match message.to {
        To::Group => lids.iter().copied().filter(|&lid| lid != from).collect(),
        To::Peer(address) => vec![address.dlid],
    };
    let to_group = message.to == To::Group;
    to.into_iter().map(|to| Flying { from, to, to_group, tag: message.tag, payload: payload.clone() }).collect()
}

#[test]
fn everybody_sends_everything_to_everybody() {
    const SENDERS: u32 = 4;
    const PEERS: u32 = SENDERS; // the other senders, and a host
    let outcomes = run(SENDERS as usize, 1, |_| {});
    let totals = Totals {
        unicast: 2 * SIZES * PEERS,
        multicast: SIZES,
        returned: 2 * SIZES * PEERS + (SIZES + 1) * PEERS, // and what tells of the end
        served: 3 * SIZES * (SENDERS - 1),
        wrong: 0,
    };
    for outcome in outcomes {
        assert_eq!(outcome, (Step::Done, totals));
    }
}

#[test]
fn a_wrong_byte_is_found_at_both_ends() {
    let mut spoiled = false;
    let outcomes = run(2, 0, |datagram| {
        if !spoiled && datagram.payload.len() == 2048 && datagram.from == Lid::new(1) {
            spoiled = true;
            datagram.payload[2047] ^= 1;
        }
    });
    assert!(spoiled);
    assert_eq!((outcomes[0].0, outcomes[0].1.wrong), (Step::Lost(Lid::new(2)), 1), "its sender");
    assert_eq!(outcomes[1].1.wrong, 1, "its receiver");
}

#[test]
fn what_is_lost_is_named() {
    // A datagram of another's number is none that is waited for.
    let outcomes = run(2, 0, |datagram| {
        if datagram.tag.sender == Lid::new(2) && datagram.tag.number == 3 {
            datagram.tag.number = 4;
        }
    });
    assert_eq!(outcomes[1].0, Step::Lost(Lid::new(1)));
}

#[test]
fn patterns_differ() {
    let key = Key { sender: Lid::new(1), receiver: Lid::new(2), number: 3 };
    let mut payload = [0; 100];
    key.fill(&mut payload);
    assert!(key.holds(&payload));
    let others = [Key { sender: Lid::new(2), ..key }, Key { receiver: Lid::new(1), ..key }, Key { number: 4, ..key }];
    assert!(others.iter().all(|other| !other.holds(&payload)));
    assert!(!key.holds(&payload[..99]), "its length is part of it");
    let tag = Tag { sender: Lid::new(0x1234), number: 0x5678 };
    assert_eq!((tag.to_bytes(), Tag::from_bytes(tag.to_bytes())), ([0x12, 0x34, 0x56, 0x78], tag));
}

#[test]
fn words_are_those_of_the_whole_packet() {
    // LRH 8, BTH 12, DETH 8, immediate data 4, ICRC 4; a GRH has 40.
    assert_eq!([words(0, false), words(1, false), words(4096, true)], [9, 10, 9 + 10 + 1024]);
}
