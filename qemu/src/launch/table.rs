//! The partition tables: which LHCAs each hypervisor lends, and their GUIDs.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use iba::Guid;
use partition_table::{AssignedHca, Lhca, MAX_HCAS, MAX_UPLINKS, Name, Program, Start, Uplinks, encode, stable_guid};

use crate::config::{Config, Partition};
use fabric::topology::{Kind, Node, Topology};

/// HCAs that there are for bridges which are added later, if there are so many spare ports.
const SPARE_HCAS: u8 = 2;

/// What one hypervisor lends.
#[derive(Debug)]
pub struct Table {
    /// As the hypervisor reads it.
    pub packed: Vec<u8>,
    /// The node GUIDs that a subnet manager is to find: logical switches, and LHCAs that are plugged in at boot.
    pub guids: Vec<Guid>,
    /// HCAs that it has for partitions to drive.
    pub hcas: u8,
}

/// The table of each hypervisor of `topology`, in order, with the LHCAs that `config` gives each.
///
/// # Errors
/// What of the configuration cannot be had on this topology.
pub fn of_hypervisors(topology: &Topology, config: &Config) -> Result<Vec<Table>> {
    let hypervisors: Vec<_> = topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor).collect();
    let first = hypervisors.first().context("no node of the topology is a hypervisor")?;
    let owner = |partition: &Partition| partition.hypervisor.as_ref().unwrap_or(&first.id).clone();
    for partition in &config.partitions {
        let (owner, names) = (owner(partition), hypervisors.iter().map(|node| node.id.as_str()));
        if !names.clone().any(|name| name == owner) {
            let names: Vec<_> = names.collect();
            bail!("{} is to be on the hypervisor {owner}, and there are: {}", partition.name, names.join(", "));
        }
    }
    let ambiguous = |partition: &&Partition| partition.is_bridge() && topology.find(partition.name.text()).is_some();
    if let Some(Partition { name, .. }) = config.partitions.iter().find(ambiguous) {
        bail!("the bridge {name} has the name of a node of the topology, and SIM_HOST={name} means that: rename it");
    }
    let table = |node: &&Node| {
        let partitions = config.partitions.iter().filter(|partition| owner(partition) == node.id);
        of(node, partitions, config.spare_ports)
    };
    let tables = hypervisors.iter().map(table).collect::<Result<Vec<_>>>()?;
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

fn of<'a>(node: &Node, partitions: impl Iterator<Item = &'a Partition>, spare_ports: u8) -> Result<Table> {
    let id = node.id.as_str();
    if let Some(port) = node.ports.iter().position(|port| port.peer.is_none()) {
        bail!("port {} of the hypervisor {id} has no cable: give it one, or give {id} fewer ports", port + 1);
    }
    let uplinks = if node.ports.len() > 1 { Uplinks::BOTH } else { Uplinks::FIRST };
    let mut switches = [Guid::new(0); MAX_UPLINKS];
    for uplink in uplinks.iter() {
        // Numbers from the top for the logical switches, so that an LHCA has its own number.
        switches[uplink] = stable_guid(id, u16::MAX - u16::from(uplink == 1));
    }
    let rows = partitions.map(|partition| row(id, uplinks, partition)).collect::<Result<Vec<_>>>()?;
    let bridges = rows.iter().filter(|row| row.hca() == AssignedHca::Present).count();
    ensure!(bridges <= usize::from(MAX_HCAS), "{id} is to have {bridges} bridges, and {MAX_HCAS} are possible");
    let hcas = (bridges + usize::from(spare_ports.min(SPARE_HCAS))).min(MAX_HCAS.into());
    let name = Name::new(&node.description).with_context(|| format!("cannot name the logical switch of {id}"))?;
    let packed = encode(name, switches, spare_ports, &rows)
        .with_context(|| format!("cannot make the partition table of {id}"))?;
    let plugged = rows.iter().filter(|row| row.start() == Start::AtBoot).map(Lhca::node_guid);
    let guids = uplinks.iter().map(|uplink| switches[uplink]).chain(plugged).collect();
    Ok(Table { packed, guids, hcas: u8::try_from(hcas)? })
}

/// The row of `partition` in the table of `hypervisor`, which has `uplinks`.
///
/// # Errors
/// The partition asks for a port that the hypervisor has not.
pub fn row(hypervisor: &str, uplinks: Uplinks, partition: &Partition) -> Result<Lhca> {
    let name = partition.name;
    let uplinks = match partition.ports {
        None => uplinks,
        Some(1) => Uplinks::FIRST,
        Some(ports) => {
            ensure!(uplinks == Uplinks::BOTH, "{name} is to have {ports} ports, and the HCA of {hypervisor} has 1");
            Uplinks::BOTH
        }
    };
    // By names, so that it is the same wherever the partition stands in the configuration, and whenever it is added.
    let guid = partition.guid.unwrap_or_else(|| stable_guid(&format!("{hypervisor}/{name}"), 1));
    let mut row = Lhca::new(name, guid, uplinks).with_policy(partition.policy);
    if let Some(image) = &partition.image {
        let (memory, arguments) = (partition.memory, partition.arguments.as_str());
        row = row.with_partition(&Program { image: &image.name, memory, arguments });
    }
    let hca = if partition.is_bridge() { AssignedHca::Present } else { AssignedHca::Absent };
    let start = if partition.autostart { Start::AtBoot } else { Start::OnDemand };
    Ok(row.with_hca(hca).with_start(start))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use partition_table::{Policy, Qp0Policy, RefusalPolicy};

    use super::*;
    use fabric::topology::{DEFAULT, DEFAULT_HYPERVISOR};

    fn topology() -> Topology {
        let mut topology = Topology::parse(DEFAULT).unwrap();
        topology.set_hypervisor(DEFAULT_HYPERVISOR).unwrap();
        topology
    }

    #[test]
    fn guids_are_the_same_each_time_and_nobodys_twice() {
        let mut topology = topology();
        let config = Config::uniform(&topology, 253, None).unwrap();
        let first = of_hypervisors(&topology, &config).unwrap();
        assert_eq!(first[0].guids.len(), 254);
        assert!(first[0].guids.iter().all(|guid| guid.get() >> 56 == 2), "locally administered");
        assert_eq!(first[0].packed, of_hypervisors(&topology, &config).unwrap()[0].packed);
        topology.nodes[0].guid = first[0].guids[7];
        let error = of_hypervisors(&topology, &config).unwrap_err().to_string();
        assert!(error.contains(&first[0].guids[7].to_string()), "{error}");
    }

    #[test]
    fn what_is_configured_is_in_the_table() {
        let text = "spare-ports = 3\n[[partition]]\nname = 'a'\n\n[[partition]]\nname = 'b'\nimage = 'echo'\n\
            memory = '4M'\nqp0 = 'query'\nrefused = 'answer'\nautostart = false\narguments = 'x'\n\
            smps-per-second = 7\ntraps-per-second = 8";
        let config = Config::parse(Path::new("f"), text).unwrap();
        let tables = of_hypervisors(&topology(), &config).unwrap();
        let table = partition_table::Table::parse(&tables[0].packed).unwrap();
        let [a, b] = table.lhcas() else { panic!("two rows") };
        assert_eq!(table.spare_ports(), 3);
        assert_eq!((a.partition(), a.start()), (None, Start::AtBoot));
        let program = b.partition().unwrap();
        assert_eq!((program.image.text(), program.memory, program.arguments), ("echo", 4, "x"));
        let (qp0, refused) = (Qp0Policy::Query, RefusalPolicy::Answer);
        assert_eq!(b.policy(), Policy { qp0, refused, smps_per_second: 7, traps_per_second: 8 });
        assert_eq!(b.start(), Start::OnDemand);
        // People's fabrics have these GUIDs: they must not change, and `b`, not plugged in yet, is not to be found.
        let logical_switch = table.switch_guid(0).unwrap();
        assert_eq!(tables[0].guids, [logical_switch, a.node_guid()]);
        assert_eq!(b.node_guid(), stable_guid("portico-0/b", 1));
    }

    #[test]
    fn each_bridge_has_an_hca_of_its_own() {
        let mut config = Config::parse(Path::new("f"), "[[partition]]\nname = 'a'").unwrap();
        for name in ["b", "c"] {
            let words = [format!("name={name}"), "image=bridge".into(), "qp0=query".into()];
            config.partitions.push(Partition::from_words(&words).unwrap());
        }
        let tables = of_hypervisors(&topology(), &config).unwrap();
        let table = partition_table::Table::parse(&tables[0].packed).unwrap();
        let own = table.lhcas().iter().map(|row| row.hca());
        assert_eq!(own.collect::<Vec<_>>(), [AssignedHca::Absent, AssignedHca::Present, AssignedHca::Present]);
        let hcas = |config: &Config| of_hypervisors(&topology(), config).unwrap()[0].hcas;
        assert_eq!(hcas(&config), 2);
        config.spare_ports = 1;
        assert_eq!(hcas(&config), 3, "and one for a bridge that is added");
        config.spare_ports = 9;
        assert_eq!(hcas(&config), 2 + SPARE_HCAS);
        config.partitions.extend((0..20).map(|nth| {
            let words = [format!("name=more-{nth}"), "image=bridge".into(), "qp0=query".into()];
            Partition::from_words(&words).unwrap()
        }));
        let many = of_hypervisors(&topology(), &config).unwrap_err().to_string();
        assert_eq!(many, "portico-0 is to have 22 bridges, and 15 are possible");
    }

    #[test]
    fn what_the_topology_does_not_have_is_refused() {
        let error = |text| {
            let config = Config::parse(Path::new("f"), text).unwrap();
            format!("{:#}", of_hypervisors(&topology(), &config).unwrap_err())
        };
        let elsewhere = error("[[partition]]\nname = 'a'\nhypervisor = 'west'");
        assert!(elsewhere.contains("on the hypervisor west, and there are: portico-0"), "{elsewhere}");
        let wide = error("[[partition]]\nname = 'a'\nports = 2");
        assert!(wide.contains("a is to have 2 ports, and the HCA of portico-0 has 1"), "{wide}");
        let namesake = error("[[partition]]\nname = 'H1'\nimage = 'bridge'\nqp0 = 'query'");
        assert!(namesake.contains("SIM_HOST=H1 means that: rename it"), "{namesake}");
        let full = error("spare-ports = 253\n[[partition]]\nname = 'a'");
        assert!(full.contains("254 LHCAs and spare ports"), "{full}");
    }
}
