//! GUIDs of nodes without one in the netlist.

use std::collections::HashMap;

use iba::Guid;

use super::Node;

/// Returns a locally administered EUI-64 (02-...) that depends on the name alone, so it is the same in each run. Its
/// low byte is 0, for the port number.
pub(super) fn from_name(name: &str) -> Guid {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    // 64-bit FNV-1a.
    let hash = name.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    Guid::new(0x02 << 56 | hash >> 16 << 8)
}

/// Returns the first node GUID, or else port GUID, that two nodes share, with the indices of the nodes. A subnet
/// manager identifies nodes by GUID, so it fails on such a fabric.
pub(super) fn duplicate(nodes: &[Node]) -> Option<(usize, usize, Guid)> {
    let node_guids = nodes.iter().enumerate().map(|(index, node)| (index, node.guid));
    let port_guids =
        nodes.iter().enumerate().flat_map(|(index, node)| node.port_guids().map(move |guid| (index, guid)));
    first_repeated(node_guids).or_else(|| first_repeated(port_guids))
}

fn first_repeated(guids: impl Iterator<Item = (usize, Guid)>) -> Option<(usize, usize, Guid)> {
    let mut owner = HashMap::new();
    for (index, guid) in guids {
        if let Some(first) = owner.insert(guid, index) {
            return Some((first, index, guid));
        }
    }
    None
}
