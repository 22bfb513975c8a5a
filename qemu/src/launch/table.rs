//! The partition tables: which LHCAs each hypervisor lends, and their GUIDs.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use iba::Guid;
use partition_table::{ImageName, Lhca, MAX_UPLINKS, Name, Program, Uplinks, encode, stable_guid};

use crate::topology::{Kind, Node, Topology};

/// Memory of each partition in MiB.
const PARTITION_MEMORY: u32 = 2;

/// What one hypervisor lends.
#[derive(Debug)]
pub(crate) struct Table {
    /// As the hypervisor reads it.
    pub(crate) packed: Vec<u8>,
    /// The node GUIDs that a subnet manager is to find: logical switches and LHCAs.
    pub(crate) guids: Vec<Guid>,
}

/// The table of each hypervisor of `topology`, in order, with `lhcas` LHCAs on each. Where there is an
/// `image`, each LHCA has a partition that runs it.
///
/// # Errors
/// A name is too long, or two nodes of the whole subnet would share a GUID.
pub(crate) fn of_hypervisors(topology: &Topology, lhcas: u8, image: Option<&ImageName>) -> Result<Vec<Table>> {
    let hypervisors = topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor);
    let tables = hypervisors.map(|node| of(node, lhcas, image)).collect::<Result<Vec<_>>>()?;
    let mut owners: HashMap<Guid, &str> = HashMap::new();
    let fabric = topology.nodes.iter().map(|node| (node.guid, node.id.as_str()));
    let logical = tables.iter().flat_map(|table| &table.guids).map(|&guid| (guid, "a logical node"));
    for (guid, owner) in fabric.chain(logical) {
        if let Some(other) = owners.insert(guid, owner) {
            bail!("{other} and {owner} would both have the GUID {guid}: name a hypervisor differently");
        }
    }
    Ok(tables)
}

fn of(node: &Node, lhcas: u8, image: Option<&ImageName>) -> Result<Table> {
    let id = node.id.as_str();
    if let Some(port) = node.ports.iter().position(|port| port.peer.is_none()) {
        bail!("port {} of the hypervisor {id} has no cable: give it one, or give {id} fewer ports", port + 1);
    }
    let uplinks = if node.ports.len() > 1 { Uplinks::BOTH } else { Uplinks::FIRST };
    let mut guids = Vec::new();
    let mut switches = [Guid::new(0); MAX_UPLINKS];
    for uplink in uplinks.iter() {
        // Numbers from the top for the logical switches, so that an LHCA has its own number.
        switches[uplink] = stable_guid(id, u16::MAX - u16::from(uplink == 1));
        guids.push(switches[uplink]);
    }
    let mut rows = Vec::new();
    for number in 1..=u16::from(lhcas) {
        let name =
            Name::new(&format!("{id}-lhca{number}")).with_context(|| format!("cannot name the LHCAs of {id}"))?;
        let guid = stable_guid(id, number);
        guids.push(guid);
        let row = Lhca::new(name, guid, uplinks);
        rows.push(
            image.map_or(row, |image| row.with_partition(&Program { image, memory: PARTITION_MEMORY, arguments: "" })),
        );
    }
    let name = Name::new(&node.description).with_context(|| format!("cannot name the logical switch of {id}"))?;
    let packed =
        encode(name, switches, 0, &rows).with_context(|| format!("cannot make the partition table of {id}"))?;
    Ok(Table { packed, guids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{DEFAULT, DEFAULT_HYPERVISOR};

    #[test]
    fn guids_are_the_same_each_time_and_nobodys_twice() {
        let mut topology = Topology::parse(DEFAULT).unwrap();
        topology.set_hypervisor(DEFAULT_HYPERVISOR).unwrap();
        let first = of_hypervisors(&topology, 253, None).unwrap();
        assert_eq!(first[0].guids.len(), 254);
        assert!(first[0].guids.iter().all(|guid| guid.get() >> 56 == 2), "locally administered");
        assert_eq!(first[0].packed, of_hypervisors(&topology, 253, None).unwrap()[0].packed);
        topology.nodes[0].guid = first[0].guids[7];
        let error = of_hypervisors(&topology, 253, None).unwrap_err().to_string();
        assert!(error.contains(&first[0].guids[7].to_string()), "{error}");
    }
}
