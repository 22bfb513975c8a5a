//! Directed routes: which way an SMP goes whose way is written in itself (14.2.2).
//!
//! A route has a middle part, hop by hop, and before and behind it may have parts that are routed by LIDs: DrSLID is
//! permissive where the first of these is empty, DrDLID where the second is.

use iba::smp::{HOP_LIMIT, Smp};
use iba::{Lid, PortNum};

/// Kind of node: what it may do with a directed route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Hands on, and is an end.
    Switch,
    /// Only an end.
    ChannelAdapter,
}

/// Where an SMP comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A consumer at this port of the node, who begins or answers a route.
    Consumer(PortNum),
    /// The link at this port.
    Link(PortNum),
    /// The link at this port, by the LID of the port that shall act on it: a part routed by LIDs ends here.
    Lid(PortNum),
}

impl Origin {
    /// The port of the node that the SMP entered by.
    pub(crate) fn port(self) -> PortNum {
        match self {
            Self::Consumer(port) | Self::Link(port) | Self::Lid(port) => port,
        }
    }
}

/// Next act on an SMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This node's agent or manager takes it: its route ends here.
    Here,
    /// Transmit it by this port, which may not exist, with permissive LIDs.
    Leave(PortNum),
    /// The part by LIDs begins: it goes on to this LID, in the name of this node.
    Route(Lid),
    /// The part by LIDs begins at its sender: it goes where its local route header says.
    AsAddressed,
    /// Discard it.
    Discard,
}

/// Decides the next step of `smp` at a node, and moves its hop pointer and writes its return path accordingly.
#[inline]
pub(crate) fn step(smp: &mut Smp, kind: NodeKind, origin: Origin) -> Step {
    // C14-6
    if smp.hop_count() >= HOP_LIMIT {
        return Step::Discard;
    }
    if smp.is_returning() { inward(smp, kind, origin) } else { outward(smp, kind, origin) }
}

/// Returns `true` if an SMP from a link is a request whose route, of one hop or more, ends at this node.
#[inline]
pub(crate) fn ends_here(smp: &Smp) -> bool {
    let hops = smp.hop_count();
    smp.hop_pointer() == hops && (1..HOP_LIMIT).contains(&hops) && !smp.is_returning() && smp.dr_dlid == Lid::PERMISSIVE
}

/// Returns `true` if an SMP that came to a switch by a link is between the ends of its route, in either direction.
#[inline]
pub(crate) fn passes(smp: &Smp) -> bool {
    let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
    count < HOP_LIMIT && if smp.is_returning() { (2..=count).contains(&pointer) } else { (1..count).contains(&pointer) }
}

/// Turns a request that ended here into its response, and decides the response's first step.
#[inline]
pub(crate) fn turn(smp: &mut Smp, kind: NodeKind, origin: Origin) -> Step {
    smp.set_returning(true);
    match begin_inward(smp, kind, origin.port()) {
        // C14-13:3: it never left this node, or came from the neighbour by a route without hops.
        Step::Here => match origin {
            Origin::Consumer(_) => Step::Here,
            Origin::Link(port) | Origin::Lid(port) => Step::Leave(port),
        },
        step => step,
    }
}

/// A request on its way to the end of its route (C14-9).
#[inline]
fn outward(smp: &mut Smp, kind: NodeKind, origin: Origin) -> Step {
    let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
    if let Origin::Consumer(port) = origin {
        return match (pointer, count) {
            (0, _) if smp.dr_slid != Lid::PERMISSIVE => Step::AsAddressed,
            (0, 0) => end_outward(smp, kind),
            (0, _) => start(smp, kind, port),
            _ => Step::Discard,
        };
    }
    if pointer == count {
        // C14-9:3
        if count != 0 {
            smp.return_path[usize::from(pointer & 63)] = origin.port();
        }
        return end_outward(smp, kind);
    }
    if pointer == 0 {
        // C14-9:1: a route starts only where its first part, routed by LIDs, ended.
        return match origin {
            Origin::Lid(port) if kind == NodeKind::Switch && smp.dr_slid != Lid::PERMISSIVE => start(smp, kind, port),
            _ => Step::Discard,
        };
    }
    if pointer < count {
        // C14-9:2
        if kind != NodeKind::Switch {
            return Step::Discard;
        }
        smp.return_path[usize::from(pointer & 63)] = origin.port();
        smp.set_hop_pointer(pointer + 1);
        return Step::Leave(smp.initial_path[usize::from((pointer + 1) & 63)]);
    }
    // C14-9:4 and C14-9:5
    if pointer == count + 1 { Step::Here } else { Step::Discard }
}

/// The hop by hop part starts at this node (C14-9:1).
fn start(smp: &mut Smp, kind: NodeKind, port: PortNum) -> Step {
    let first = smp.initial_path[1];
    if kind == NodeKind::ChannelAdapter && first != port {
        return Step::Discard;
    }
    smp.set_hop_pointer(1);
    Step::Leave(first)
}

/// The hop by hop part ends at this node (C14-9:3).
#[inline]
fn end_outward(smp: &mut Smp, kind: NodeKind) -> Step {
    if smp.dr_dlid == Lid::PERMISSIVE {
        smp.set_hop_pointer(smp.hop_count() + 1);
        return Step::Here;
    }
    if kind != NodeKind::Switch {
        return Step::Discard;
    }
    smp.set_hop_pointer(smp.hop_count() + 1);
    Step::Route(smp.dr_dlid)
}

/// A response on its way back (C14-13).
fn inward(smp: &mut Smp, kind: NodeKind, origin: Origin) -> Step {
    let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
    match origin {
        Origin::Consumer(port) => return begin_inward(smp, kind, port),
        // C14-13:1: the part by LIDs ended here; its first one is ours to do.
        Origin::Lid(_) if kind == NodeKind::Switch && count != 0 && pointer == count + 1 => {
            return back(smp, pointer);
        }
        _ => {}
    }
    match pointer {
        // C14-13:4
        0 => Step::Here,
        1 => end_inward(smp, kind),
        // C14-13:2
        _ if pointer <= count && kind == NodeKind::Switch => back(smp, pointer),
        // C14-13:5
        _ => Step::Discard,
    }
}

/// A response starts at this node, where its request ended.
#[inline]
fn begin_inward(smp: &mut Smp, kind: NodeKind, port: PortNum) -> Step {
    let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
    if smp.dr_dlid != Lid::PERMISSIVE {
        return Step::AsAddressed;
    }
    if pointer != count + 1 {
        return Step::Discard;
    }
    if count == 0 {
        return end_inward(smp, kind);
    }
    // C14-13:1
    if kind == NodeKind::ChannelAdapter && smp.return_path[usize::from(count & 63)] != port {
        return Step::Discard;
    }
    back(smp, pointer)
}

/// One hop back: the return path's entry before `pointer` is the port to leave by.
#[inline]
fn back(smp: &mut Smp, pointer: u8) -> Step {
    smp.set_hop_pointer(pointer - 1);
    Step::Leave(smp.return_path[usize::from((pointer - 1) & 63)])
}

/// The hop by hop part of a response ends at this node (C14-13:3).
fn end_inward(smp: &mut Smp, kind: NodeKind) -> Step {
    if smp.dr_slid == Lid::PERMISSIVE {
        smp.set_hop_pointer(0);
        return Step::Here;
    }
    if kind != NodeKind::Switch {
        return Step::Discard;
    }
    smp.set_hop_pointer(0);
    Step::Route(smp.dr_slid)
}
