//! The rules of directed routes as a table (14.2.2): written from the rules, and not from the code that they judge.

use super::{BEYOND_2, BEYOND_3, OWN};

/// Properties of an SMP from a link on which the rules depend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) returning: bool,
    pub(super) pointer: u8,
    pub(super) count: u8,
    pub(super) switch: bool,
    /// DrSLID and DrDLID are permissive.
    pub(super) from_sm: bool,
    pub(super) to_end: bool,
    /// The packet came by the node's own LID, and not by the permissive one.
    pub(super) by_lid: bool,
}

/// Act that a rule demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Discard,
    /// The agent or the manager takes it; the hop pointer is this then.
    Take(u8),
    /// Transmit by the port in this entry of the initial path.
    Initial(u8),
    /// Transmit by the port in this entry of the return path.
    Return(u8),
    /// Forward to DrDLID, or back to DrSLID, with this hop pointer.
    Onward(u8),
    Homeward(u8),
}

/// A rule: its clause, when it applies, what it says, and whether the return path takes in the port.
struct Rule {
    clause: &'static str,
    when: fn(&Facts) -> bool,
    then: fn(&Facts) -> Then,
    writes: bool,
}

const fn rule(clause: &'static str, when: fn(&Facts) -> bool, then: fn(&Facts) -> Then, writes: bool) -> Rule {
    Rule { clause, when, then, writes }
}

/// The first rule that applies is the one. Hops are counted in 32 bits here, where nothing wraps.
const RULES: &[Rule] = &[
    rule("C14-6", |f| f.count >= 64, |_| Then::Discard, false),
    // Outward.
    rule(
        "C14-9:1, behind a part by LIDs",
        |f| !f.returning && f.pointer == 0 && f.count > 0 && f.switch && f.by_lid && !f.from_sm,
        |_| Then::Initial(1),
        false,
    ),
    rule("C14-9:1, at a receiver", |f| !f.returning && f.pointer == 0 && f.count > 0, |_| Then::Discard, false),
    rule(
        "C14-9:2, at a switch",
        |f| !f.returning && 0 < f.pointer && f.pointer < f.count && f.switch,
        |f| Then::Initial(f.pointer + 1),
        true,
    ),
    rule("C14-9:2", |f| !f.returning && 0 < f.pointer && f.pointer < f.count, |_| Then::Discard, false),
    rule(
        "C14-9:3, at the end",
        |f| !f.returning && f.pointer == f.count && f.to_end,
        |f| Then::Take(f.pointer + 1),
        true,
    ),
    rule(
        "C14-9:3, at a switch before a part by LIDs",
        |f| !f.returning && f.pointer == f.count && f.switch,
        |f| Then::Onward(f.pointer + 1),
        true,
    ),
    rule("C14-9:3", |f| !f.returning && f.pointer == f.count, |_| Then::Discard, true),
    rule(
        "C14-9:4",
        |f| !f.returning && u32::from(f.pointer) == u32::from(f.count) + 1,
        |f| Then::Take(f.pointer),
        false,
    ),
    rule("C14-9:5", |f| !f.returning, |_| Then::Discard, false),
    // Back.
    rule(
        "C14-13:1, at a switch behind a part by LIDs",
        |f| u32::from(f.pointer) == u32::from(f.count) + 1 && f.count > 0 && f.switch && f.by_lid,
        |f| Then::Return(f.count),
        false,
    ),
    rule(
        "C14-13:2, at a switch",
        |f| 2 <= f.pointer && f.pointer <= f.count && f.switch,
        |f| Then::Return(f.pointer - 1),
        false,
    ),
    rule("C14-13:3, to the manager", |f| f.pointer == 1 && f.from_sm, |_| Then::Take(0), false),
    rule("C14-13:3, at a switch before a part by LIDs", |f| f.pointer == 1 && f.switch, |_| Then::Homeward(0), false),
    rule("C14-13:4", |f| f.pointer == 0, |_| Then::Take(0), false),
    rule("C14-13:5", |_| true, |_| Then::Discard, false),
];

/// The clause that applies, what it says, and whether it writes the port into the return path's entry of the pointer.
pub(super) fn judge(facts: &Facts) -> (&'static str, Then, bool) {
    let rule = RULES.iter().find(|rule| (rule.when)(facts)).expect("the last rule always applies");
    (rule.clause, (rule.then)(facts), rule.writes && facts.count > 0)
}

/// Returns the act on the response to a request, by C14-13 as its sender. `back` says whether the return path's
/// last entry is the port that the request came by.
pub(super) fn judge_answer(facts: &Facts, back: bool) -> Answer {
    match facts {
        Facts { to_end: false, .. } => Answer::ToRequester,
        Facts { count: 0, from_sm: true, .. } => Answer::ToNeighbour,
        Facts { count: 0, switch: true, .. } => Answer::Homeward,
        Facts { count: 0, .. } => Answer::Discard,
        Facts { switch: true, .. } => Answer::Return,
        _ if back => Answer::Return,
        _ => Answer::Discard,
    }
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// By LIDs, to the LID that the request came from; the hop pointer stays.
    ToRequester,
    /// By the port that the request came by; the hop pointer is 0.
    ToNeighbour,
    /// By LIDs, to DrSLID; the hop pointer is 0.
    Homeward,
    /// By the port in the return path's last entry; the hop pointer is the hop count.
    Return,
    Discard,
}

/// Where a switch of these tests sends a packet to `lid`: its forwarding table, from memory. 0 is itself, `None`
/// nowhere.
pub(super) fn forwarded(lid: u16) -> Option<u8> {
    match lid {
        OWN => Some(0),
        super::MANAGER => Some(1),
        BEYOND_2 => Some(2),
        BEYOND_3 => Some(3),
        _ => None,
    }
}
