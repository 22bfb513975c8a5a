//! An oracle for management datagrams at a node: a second opinion, made of bytes and tables, that shares
//! nothing with what it judges.

use alloc::collections::BTreeSet;

use super::parts::Part;
use super::port_rules::{self, Role};
use super::route_rules::{Answer, Facts, Then, forwarded, judge, judge_answer};
use super::{KEY, MANAGER};

/// A node as the tests make it, with port 1 as the one that everything comes by, and a key at level 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) switch: bool,
    pub(super) is_sm: bool,
    /// The transaction of the trap that waits for its repress.
    pub(super) trap: u64,
}

/// Expected outcome.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Nothing,
    /// The datagram is forwarded unchanged by this port.
    Passed(u8),
    Delivered(u8),
    /// Port 1 sends a response with this status.
    Answered(u16),
}

/// Expected outcome, and the parts of the node that may differ then.
#[derive(Clone, Debug)]
pub(super) struct Opinion {
    pub(super) seen: Seen,
    pub(super) may_change: BTreeSet<Part>,
    /// `true` for a Set that is executed.
    pub(super) done: bool,
}

fn opinion(seen: Seen, may_change: &[Part]) -> Opinion {
    Opinion { seen, may_change: may_change.iter().copied().collect(), done: false }
}

const NOTHING: Seen = Seen::Nothing;

fn number(mad: &[u8; 256], from: usize, bytes: usize) -> u64 {
    mad[from..from + bytes].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The opinion on `mad`, which came by port 1: by its LID, or by the permissive one. `infos` are the node's PortInfos,
/// in the order of its ports.
pub(super) fn judge_mad(subject: Subject, by_lid: bool, mad: &[u8; 256], infos: &[[u8; 64]]) -> Opinion {
    let directed = match mad[1] {
        _ if mad[0] != 1 => return opinion(NOTHING, &[]),
        0x01 => false,
        0x81 => true,
        _ => return opinion(NOTHING, &[]),
    };
    if !directed {
        return judge_here(subject, mad, infos);
    }
    let facts = Facts {
        returning: mad[4] & 0x80 != 0,
        pointer: mad[6],
        count: mad[7],
        switch: subject.switch,
        from_sm: number(mad, 32, 2) == 0xffff,
        to_end: number(mad, 34, 2) == 0xffff,
        by_lid,
    };
    let passed = |port: u8| {
        let exists = subject.switch && (1..=3).contains(&port);
        opinion(if exists { Seen::Passed(port) } else { NOTHING }, &[])
    };
    let forwarded = |lid: u64| forwarded(u16::try_from(lid).unwrap_or(0));
    match judge(&facts).1 {
        Then::Discard => opinion(NOTHING, &[]),
        Then::Initial(hop) => passed(mad[128 + usize::from(hop)]),
        Then::Return(hop) => passed(mad[192 + usize::from(hop)]),
        Then::Onward(_) => passed(forwarded(number(mad, 34, 2)).unwrap_or(0)),
        Then::Homeward(_) => passed(forwarded(number(mad, 32, 2)).unwrap_or(0)),
        // A response that goes out, or a request that comes back, is neither.
        Then::Take(_) if facts.returning != (mad[3] & 0x80 != 0) => opinion(NOTHING, &[]),
        Then::Take(_) => {
            let mut here = judge_here(subject, mad, infos);
            // Its way back may be none, though it was done. All flips leave the way back to port 1, or to nowhere.
            if matches!(here.seen, Seen::Answered(_)) {
                let back = if facts.pointer == facts.count { 1 } else { mad[192 + usize::from(facts.count)] };
                let arrives = match judge_answer(&facts, back == 1) {
                    Answer::ToRequester | Answer::ToNeighbour => true,
                    Answer::Return => back == 1,
                    Answer::Homeward => forwarded(number(mad, 32, 2)) == Some(1),
                    Answer::Discard => false,
                };
                if !arrives {
                    here.seen = NOTHING;
                }
            }
            here
        }
    }
}

/// An attribute that a node has: its number, whether it can be set, and whether only switches have it.
const ATTRIBUTES: [(u64, bool, bool); 10] = [
    (0x10, false, false),
    (0x11, false, false),
    (0x12, true, true),
    (0x14, true, false),
    (0x15, true, false),
    (0x16, true, false),
    (0x17, true, false),
    (0x18, true, false),
    (0x19, true, true),
    (0x1b, true, true),
];

/// The opinion on what has come to its end.
fn judge_here(subject: Subject, mad: &[u8; 256], infos: &[[u8; 64]]) -> Opinion {
    let end = if subject.switch { 0 } else { 1 };
    let (method, attribute) = (mad[3], number(mad, 16, 2));
    let to_sm = if subject.is_sm { Seen::Delivered(end) } else { NOTHING };
    match method {
        0x81 => return opinion(Seen::Delivered(end), &[]),
        0x05 | 0x06 | 0x86 => return opinion(to_sm, &[]),
        0x80.. => return opinion(NOTHING, &[]),
        0x07 if attribute != 2 || mad[2] != 1 => return opinion(NOTHING, &[]),
        _ if mad[2] != 1 => return opinion(Seen::Answered(0x04), &[]),
        0x01 | 0x02 | 0x07 => {}
        _ => return opinion(Seen::Answered(0x08), &[]),
    }
    if number(mad, 24, 8) != KEY {
        return opinion(NOTHING, &[Part::PortInfo(0), Part::Lease(0), Part::Traps(0)]);
    }
    if method == 0x07 {
        let repressed = number(mad, 8, 8) == subject.trap;
        return opinion(NOTHING, if repressed { &[Part::Traps(0)] } else { &[] });
    }
    if attribute == 0x20 && subject.is_sm {
        return opinion(to_sm, &[]);
    }
    let known = ATTRIBUTES.iter().find(|known| known.0 == attribute && (subject.switch || !known.2));
    let Some(&(_, settable, _)) = known.filter(|known| method == 0x01 || known.1) else {
        return opinion(Seen::Answered(0x0c), &[]);
    };
    let Some(part) = part_of(subject, mad) else {
        return opinion(Seen::Answered(0x1c), &[]);
    };
    if method == 0x01 || !settable {
        return opinion(Seen::Answered(0), &[]);
    }
    let data = mad[64..128].try_into().expect("64 bytes");
    if !set_is_valid(subject, part, mad, data, infos) {
        return opinion(Seen::Answered(0x1c), &[]);
    }
    let link = if let Part::PortInfo(_) = part { Part::LinkRequest } else { part };
    Opinion { done: true, ..opinion(Seen::Answered(0), &[part, link, Part::Traps(0)]) }
}

/// Returns the part of the node that the attribute of `mad` is; `None` if its modifier is not valid.
pub(super) fn part_of(subject: Subject, mad: &[u8; 256]) -> Option<Part> {
    let (attribute, modifier) = (number(mad, 16, 2), number(mad, 20, 4));
    let [b3, b2, b1, b0] = u32::try_from(modifier).ok()?.to_be_bytes().map(usize::from);
    let ports = if subject.switch { 4 } else { 2 };
    Some(match attribute {
        0x10 if modifier == 0 => Part::Description,
        0x11 if modifier == 0 => Part::NodeInfo,
        0x12 if modifier == 0 => Part::SwitchInfo,
        0x14 if modifier == 0 => Part::Guids(0),
        0x15 if b3 & 0x7f == 0 && b2 == 0 && b1 == 0 && b0 <= ports => {
            Part::PortInfo(if subject.switch || b0 == 0 { b0 } else { b0 - 1 })
        }
        // One block of 32 keys; two at a switch's ports but its management port.
        0x16 if subject.switch && b3 == 0 && b2 <= ports && b1 == 0 && b0 < if b2 == 0 { 1 } else { 2 } => {
            Part::PKeys(b2, b0)
        }
        0x16 if !subject.switch && modifier == 0 => Part::PKeys(0, 0),
        0x17 if subject.switch && b3 == 0 && b2 == 0 && b1 <= ports && b0 <= ports => Part::SlToVl(b0, b1),
        0x17 if !subject.switch && modifier == 0 => Part::SlToVl(0, 0),
        0x18 if b3 == 0 && (b2 == 1 || b2 == 3) && b1 == 0 && b0 <= if subject.switch { ports } else { 1 } => {
            Part::Arbitration(if subject.switch { b0 } else { 0 }, b2 / 2)
        }
        0x19 if modifier < 768 => Part::Linear(usize::try_from(modifier).ok()?),
        // One position is enough for four ports.
        0x1b if modifier < 512 => Part::Multicast(usize::try_from(modifier).ok()?),
        _ => return None,
    })
}

fn set_is_valid(subject: Subject, part: Part, mad: &[u8; 256], data: &[u8; 64], infos: &[[u8; 64]]) -> bool {
    match part {
        Part::PortInfo(index) if !subject.switch && index != 0 => false,
        Part::PortInfo(index) => {
            port_rules::set(role(subject, index), &infos[index], data, mad[20] & 0x80 != 0).is_some()
        }
        Part::SwitchInfo => u16::from_be_bytes([data[6], data[7]]) <= 0xbfff,
        _ => true,
    }
}

/// Kind of a port.
pub(super) fn role(subject: Subject, index: usize) -> Role {
    match (subject.switch, index) {
        (false, _) => Role::Adapter,
        (true, 0) => Role::Management,
        (true, _) => Role::External,
    }
}

/// The LID that asks.
pub(super) const ASKS: u16 = MANAGER;
