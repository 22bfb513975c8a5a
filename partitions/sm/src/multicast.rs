//! Which ports multicast packets go to: for each group a tree of switches, so that there are no loops and no packet
//! comes twice (IBA vol. 1, 14.4.3.4).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use iba::attr::MulticastForwardingBlock;
use iba::{Lid, PortNum};

use crate::sa::Groups;
use crate::topology::{End, Topology};

/// The blocks of one switch, by their attribute modifiers.
pub(crate) type Blocks = BTreeMap<u32, MulticastForwardingBlock>;

/// Where the tree enters each switch from: its own port and the other end.
type Parents = BTreeMap<usize, Option<(PortNum, End)>>;

/// The blocks that each switch is to hold, by the switch's number. A block in which any group is is there for each
/// switch, so that nothing old is left in it.
pub(crate) fn blocks(topology: &Topology, groups: &Groups) -> BTreeMap<usize, Blocks> {
    let switches = || topology.nodes.iter().enumerate().filter(|(_, node)| node.is_switch() && node.switch.is_some());
    let root = switches().min_by_key(|(_, node)| node.info.node_guid).map(|(number, _)| number);
    let (order, parents) = tree(topology, root);
    let mut all: BTreeMap<usize, Blocks> = switches().map(|(number, _)| (number, Blocks::new())).collect();
    for group in groups.iter() {
        let (block, entry) = place(group.lid());
        for (number, node) in switches() {
            let positions = u32::from(node.info.num_ports) / PORTS + 1;
            for modifier in (0..positions).map(|position| position << 28 | block) {
                all.entry(number).or_default().entry(modifier).or_default();
            }
        }
        let mut set = |switch: usize, port: PortNum| {
            let modifier = (u32::from(port.get()) / PORTS) << 28 | block;
            if let Some(table) = all.get_mut(&switch).and_then(|blocks| blocks.get_mut(&modifier)) {
                let mask = &mut table.masks[entry];
                mask.set(mask.get() | 1 << (u32::from(port.get()) % PORTS));
            }
        };
        let members: BTreeMap<_, _> = group.members().collect();
        let mut joined = BTreeSet::new();
        for (end, port) in topology.ends() {
            let Some(&receives) = members.get(&port.guid) else { continue };
            let at =
                if topology.nodes[end.node].is_switch() { Some(end) } else { topology.peer(end).map(|(at, _)| at) };
            let Some(at) = at.filter(|at| parents.contains_key(&at.node)) else { continue };
            joined.insert(at.node);
            if receives {
                set(at.node, at.port);
            }
        }
        // From the leaves up: a switch with members at or below it is joined to its parent, if there are others.
        let is_alone = joined.len() <= 1;
        for switch in order.iter().rev() {
            if !is_alone
                && joined.contains(switch)
                && let Some(Some((up, parent))) = parents.get(switch)
            {
                set(*switch, *up);
                set(parent.node, parent.port);
                joined.insert(parent.node);
            }
        }
    }
    all
}

/// Ports in a mask.
#[expect(clippy::cast_possible_truncation, reason = "there are 16")]
const PORTS: u32 = MulticastForwardingBlock::PORTS as u32;

/// The block of a multicast LID, and the entry in it.
fn place(lid: Lid) -> (u32, usize) {
    let lid = lid.get() - Lid::MULTICAST.start().get().min(lid.get());
    const { assert!(MulticastForwardingBlock::LIDS == 32) };
    (u32::from(lid) / 32, usize::from(lid) % 32)
}

/// A tree of all switches that can be reached from `root`: in the order of their distance, and where each is entered
/// from.
fn tree(topology: &Topology, root: Option<usize>) -> (Vec<usize>, Parents) {
    let mut parents: Parents = root.into_iter().map(|root| (root, None)).collect();
    let (mut order, mut next) = (Vec::new(), VecDeque::from_iter(root));
    while let Some(node) = next.pop_front() {
        order.push(node);
        for &port in topology.nodes[node].ports.keys() {
            let Some((peer, _)) = topology.peer(End { node, port }) else { continue };
            let is_switch = topology.nodes[peer.node].is_switch() && topology.nodes[peer.node].switch.is_some();
            if is_switch && !parents.contains_key(&peer.node) {
                parents.insert(peer.node, Some((peer.port, End { node, port })));
                next.push_back(peer.node);
            }
        }
    }
    (order, parents)
}
