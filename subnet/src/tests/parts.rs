//! The parts of a node's state, to say which of them changed.

use alloc::collections::BTreeSet;

use crate::body::Body;

/// A part of a node's state, with the index of the port in its node where it is a port's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    NodeInfo,
    Description,
    PortInfo(usize),
    Lease(usize),
    Guids(usize),
    Traps(usize),
    PKeys(usize, usize),
    SlToVl(usize, usize),
    Arbitration(usize, usize),
    SwitchInfo,
    Linear(usize),
    Multicast(usize),
    LinkRequest,
    Other,
}

/// Returns the parts that differ between two states of a node; counters, deadline and pending events are ignored.
pub(super) fn changed(before: &Body, after: &Body) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    let mut note = |differs: bool, part: Part| {
        if differs {
            parts.insert(part);
        }
    };
    note(before.node_info != after.node_info, Part::NodeInfo);
    note(before.description != after.description, Part::Description);
    note(before.link_request != after.link_request, Part::LinkRequest);
    note(before.kind != after.kind || before.ports.len() != after.ports.len(), Part::Other);
    note(before.sampler != after.sampler, Part::Other);
    for (index, (old, new)) in before.ports.iter().zip(&after.ports).enumerate() {
        note(old.info != new.info, Part::PortInfo(index));
        note(old.lease != new.lease, Part::Lease(index));
        note(old.guid != new.guid || old.p_keys.len() != new.p_keys.len(), Part::Other);
        old.p_keys
            .iter()
            .zip(&new.p_keys)
            .enumerate()
            .for_each(|(n, (old, new))| note(old != new, Part::PKeys(index, n)));
        let maps = old.sl_to_vl.iter().zip(&new.sl_to_vl).enumerate();
        maps.for_each(|(n, (old, new))| note(old != new, Part::SlToVl(index, n)));
        let tables = old.vl_arbitration.iter().zip(&new.vl_arbitration).enumerate();
        tables.for_each(|(n, (old, new))| note(old != new, Part::Arbitration(index, n)));
        if let (Some(old), Some(new)) = (&old.end, &new.end) {
            note(old.guids != new.guids, Part::Guids(index));
            note(old.traps != new.traps, Part::Traps(index));
        }
    }
    if let (Some(old), Some(new)) = (&before.relay, &after.relay) {
        note(old.info != new.info, Part::SwitchInfo);
        if old.linear != new.linear {
            let blocks = old.linear.iter().zip(&new.linear).enumerate();
            blocks.for_each(|(n, (old, new))| note(old != new, Part::Linear(n)));
        }
        if old.multicast != new.multicast {
            let blocks = old.multicast.iter().zip(&new.multicast).enumerate();
            blocks.for_each(|(n, (old, new))| note(old != new, Part::Multicast(n)));
        }
    }
    parts
}
