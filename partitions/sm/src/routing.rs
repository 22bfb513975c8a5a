//! Which way packets go: shortest paths, balanced over those that are equally short.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use iba::attr::LinearForwardingBlock;
use iba::{Lid, PortNum};

use crate::lids::Lids;
use crate::topology::{End, Topology};

/// A switch as routing sees it: its node's number, and its links to other switches, as ports and places in the list.
struct Switch {
    node: usize,
    links: Vec<(PortNum, usize)>,
    /// LIDs at this switch, its own included, and the ports to them.
    here: BTreeMap<Lid, PortNum>,
    /// Number of LIDs by egress port.
    loads: [u32; 256],
}

/// Computes each switch's forwarding table: min-hop, and of equal ways the one that the fewest LIDs take so far. Each
/// hop is one nearer to the destination, so there are no loops.
pub(crate) fn fill_tables(topology: &mut Topology, lids: &Lids) {
    let mut switches = switches(topology, lids);
    let top = topology.ends().filter_map(|(_, port)| lids.get(port.guid)).max().unwrap_or(Lid::UNASSIGNED);
    let blocks = usize::from(top.get()) / LinearForwardingBlock::LIDS + 1;
    let mut tables = vec![vec![PortNum::DISCARD; blocks * LinearForwardingBlock::LIDS]; switches.len()];
    for destination in 0..switches.len() {
        let hops = hops(&switches, destination);
        let here = core::mem::take(&mut switches[destination].here);
        for (place, (switch, table)) in switches.iter_mut().zip(&mut tables).enumerate() {
            if place == destination {
                here.iter().for_each(|(lid, port)| table[usize::from(lid.get())] = *port);
                continue;
            }
            let Some(near) = hops[place].and_then(|hops| hops.checked_sub(1)) else { continue };
            let ways = switch.links.iter().filter(|(_, to)| hops[*to] == Some(near)).map(|(port, _)| *port);
            let ways = ways.collect::<Vec<_>>();
            for lid in here.keys() {
                let Some(&way) = ways.iter().min_by_key(|port| switch.loads[usize::from(port.get())]) else { break };
                switch.loads[usize::from(way.get())] += 1;
                table[usize::from(lid.get())] = way;
            }
        }
    }
    for (switch, table) in switches.into_iter().zip(tables) {
        topology.nodes[switch.node].table = table;
    }
}

/// All switches, by GUID: so the outcome does not depend on the order in which they were found.
fn switches(topology: &Topology, lids: &Lids) -> Vec<Switch> {
    let is_switch = |(_, node): &(usize, &crate::topology::Node)| node.is_switch() && node.switch.is_some();
    let mut nodes: Vec<_> = topology.nodes.iter().enumerate().filter(is_switch).collect();
    nodes.sort_unstable_by_key(|(_, node)| node.info.node_guid);
    let places: BTreeMap<usize, usize> = nodes.iter().enumerate().map(|(place, (node, _))| (*node, place)).collect();
    let switch = |(node, it): (usize, &crate::topology::Node)| {
        let (mut links, mut here) = (Vec::new(), BTreeMap::new());
        for (&port, at) in &it.ports {
            let own = it.is_end(port).then_some((End { node, port }, at));
            let Some((end, peer)) = own.or_else(|| topology.peer(End { node, port })) else { continue };
            match (topology.nodes[end.node].is_end(end.port), places.get(&end.node)) {
                (true, _) => here.extend(lids.get(peer.guid).map(|lid| (lid, port))),
                (false, Some(&place)) if end.node != node => links.push((port, place)),
                (false, _) => {}
            }
        }
        Switch { node, links, here, loads: [0; 256] }
    };
    nodes.into_iter().map(switch).collect()
}

/// Returns the distance of each switch from `destination`.
fn hops(switches: &[Switch], destination: usize) -> Vec<Option<u16>> {
    let mut hops = vec![None; switches.len()];
    hops[destination] = Some(0);
    let mut next = VecDeque::from([(destination, 0)]);
    while let Some((place, far)) = next.pop_front() {
        for &(_, to) in &switches[place].links {
            if hops[to].is_none() {
                hops[to] = Some(far + 1);
                next.push_back((to, far + 1));
            }
        }
    }
    hops
}
