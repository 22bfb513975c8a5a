//! Partition tables of the hypervisors.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use iba::Guid;
use partition_table::{AssignedHca, Lhca, MAX_HCAS, MAX_UPLINKS, Name, Program, Start, Uplinks, encode, stable_guid};

use crate::config::{Config, Partition};
use fabric::topology::{Kind, Node, Topology};

/// Partition table of one hypervisor.
#[derive(Debug)]
pub struct Table {
    packed: Vec<u8>,
    guids: Vec<Guid>,
    hcas: u8,
}

impl Table {
    /// Returns the packed form, for the hypervisor.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Returns the node GUIDs that a subnet manager finds: logical switches, and LHCAs that are plugged in at boot.
    pub fn guids(&self) -> &[Guid] {
        &self.guids
    }

    /// Returns the number of HCAs for partitions.
    pub fn hcas(&self) -> u8 {
        self.hcas
    }
}

/// Creates the table of each hypervisor of `topology`, in order, from the partitions of `config`.
///
/// # Errors
/// The configuration does not fit the topology.
pub fn of_hypervisors(topology: &Topology, config: &Config) -> Result<Vec<Table>> {
    let hypervisors: Vec<_> = topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor).collect();
    let first = hypervisors
        .first()
        .context("cannot create partition tables: the topology has no hypervisor; name one with --hypervisor")?;
    let owner = |partition: &Partition| partition.hypervisor.as_ref().unwrap_or(&first.id).clone();
    for partition in &config.partitions {
        let (owner, names) = (owner(partition), hypervisors.iter().map(|node| node.id.as_str()));
        if !names.clone().any(|name| name == owner) {
            let names: Vec<_> = names.collect();
            bail!("the partition {} names unknown hypervisor {owner}; known: {}", partition.name, names.join(", "));
        }
    }
    let ambiguous = |partition: &&Partition| partition.is_bridge() && topology.find(partition.name.text()).is_some();
    if let Some(Partition { name, .. }) = config.partitions.iter().find(ambiguous) {
        bail!("cannot name a bridge {name}: SIM_HOST={name} stands for a node of the topology; rename the bridge");
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
            bail!("cannot give {other} and {owner} the same GUID {guid}: rename a hypervisor");
        }
    }
    Ok(tables)
}

fn of<'a>(node: &Node, partitions: impl Iterator<Item = &'a Partition>, spare_ports: u8) -> Result<Table> {
    let id = node.id.as_str();
    if let Some(port) = node.ports.iter().position(|port| port.peer.is_none()) {
        bail!(
            "cannot use port {} of the hypervisor {id}: it has no cable; add one, or give {id} fewer ports",
            port + 1
        );
    }
    let uplinks = if node.ports.len() > 1 { Uplinks::BOTH } else { Uplinks::FIRST };
    let mut switches = [Guid::new(0); MAX_UPLINKS];
    for uplink in uplinks.iter() {
        // The numbers of logical switches count down from the top, those of LHCAs up from 1.
        switches[uplink] = stable_guid(id, u16::MAX - u16::from(uplink == 1));
    }
    let rows = partitions.map(|partition| row(id, uplinks, partition)).collect::<Result<Vec<_>>>()?;
    let bridges = rows.iter().filter(|row| row.hca() == AssignedHca::Present).count();
    ensure!(bridges <= usize::from(MAX_HCAS), "cannot place {bridges} bridges on {id}: the limit is {MAX_HCAS}");
    let hcas = (bridges + usize::from(spare_ports.min(SPARE_HCAS))).min(MAX_HCAS.into());
    let name = Name::new(&node.description).with_context(|| format!("cannot name the logical switch of {id}"))?;
    let packed = encode(name, switches, spare_ports, &rows)
        .with_context(|| format!("cannot create the partition table of {id}"))?;
    let plugged = rows.iter().filter(|row| row.start() == Start::AtBoot).map(Lhca::node_guid);
    let guids = uplinks.iter().map(|uplink| switches[uplink]).chain(plugged).collect();
    Ok(Table { packed, guids, hcas: u8::try_from(hcas)? })
}

/// Creates the row of `partition` in the table of `hypervisor`, whose HCA has `uplinks`.
///
/// # Errors
/// The partition has more ports than the hypervisor's HCA.
pub fn row(hypervisor: &str, uplinks: Uplinks, partition: &Partition) -> Result<Lhca> {
    let name = partition.name;
    let uplinks = match partition.ports {
        None => uplinks,
        Some(1) => Uplinks::FIRST,
        Some(ports) => {
            ensure!(
                uplinks == Uplinks::BOTH,
                "cannot give {name} {ports} ports: the HCA of {hypervisor} has 1; set ports = 1"
            );
            Uplinks::BOTH
        }
    };
    // From the names, so that it does not depend on the order or the time of adding.
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

/// HCAs for bridges that are added later, if there are so many spare ports.
const SPARE_HCAS: u8 = 2;

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
    fn guid_that_two_nodes_share_is_refused() {
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
    fn table_has_the_configured_values() {
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
        // Subnet managers keep these GUIDs over restarts. `b` is not plugged in at boot.
        let logical_switch = table.switch_guid(0).unwrap();
        assert_eq!(tables[0].guids, [logical_switch, a.node_guid()]);
        assert_eq!(b.node_guid(), stable_guid("portico-0/b", 1));
    }

    #[test]
    fn each_bridge_has_an_assigned_hca() {
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
        assert_eq!(hcas(&config), 3, "one more for a bridge that is added");
        config.spare_ports = 9;
        assert_eq!(hcas(&config), 2 + SPARE_HCAS);
        config.partitions.extend((0..20).map(|nth| {
            let words = [format!("name=more-{nth}"), "image=bridge".into(), "qp0=query".into()];
            Partition::from_words(&words).unwrap()
        }));
        let many = of_hypervisors(&topology(), &config).unwrap_err().to_string();
        assert_eq!(many, "cannot place 22 bridges on portico-0: the limit is 15");
    }

    #[test]
    fn configuration_beyond_the_topology_is_refused() {
        let error = |text| {
            let config = Config::parse(Path::new("f"), text).unwrap();
            format!("{:#}", of_hypervisors(&topology(), &config).unwrap_err())
        };
        let elsewhere = error("[[partition]]\nname = 'a'\nhypervisor = 'west'");
        assert!(elsewhere.contains("the partition a names unknown hypervisor west; known: portico-0"), "{elsewhere}");
        let wide = error("[[partition]]\nname = 'a'\nports = 2");
        assert!(wide.contains("cannot give a 2 ports: the HCA of portico-0 has 1"), "{wide}");
        let namesake = error("[[partition]]\nname = 'H1'\nimage = 'bridge'\nqp0 = 'query'");
        assert!(namesake.contains("SIM_HOST=H1 stands for a node of the topology; rename the bridge"), "{namesake}");
        let full = error("spare-ports = 253\n[[partition]]\nname = 'a'");
        assert!(full.contains("254 LHCAs and spare ports"), "{full}");
    }
}
