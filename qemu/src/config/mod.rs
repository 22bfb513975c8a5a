//! `portico.toml`: the partitions of a run and their policies. `book/src/portico-toml.md` has every key.

mod fault;
mod keys;
mod partition;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use partition_table::{Name, Policy, Qp0Policy, stable_guid};

use fabric::topology::{Kind, Topology};

pub use self::fault::Fault;
use self::fault::Source;
use self::keys::RawConfig;
pub use self::partition::{BRIDGE, Image, Partition, SUBNET_MANAGER};

/// The partitions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Ports of each logical switch that stay free for partitions added later.
    pub spare_ports: u8,
    /// The partitions, in the order of the file.
    pub partitions: Vec<Partition>,
}

impl Config {
    /// Reads the configuration in `file`.
    ///
    /// # Errors
    /// The file cannot be read, or [`Fault`] is its first mistake.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self::parse(file, &text)?)
    }

    /// Parses the configuration `text` of `file`. Relative paths of images start at the file's folder.
    ///
    /// # Errors
    /// [`Fault`] is the first mistake, with its line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Fault> {
        let source = Source::File { file, text };
        let raw: RawConfig = source.deserialize()?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let (spare_ports, partitions) = raw.check(folder).map_err(|mistake| source.fault(mistake))?;
        Ok(Self { spare_ports, partitions })
    }

    /// Creates `lhcas` partitions on each hypervisor of `topology`, all alike: they run `image`, or nothing.
    ///
    /// # Errors
    /// The name of a hypervisor is too long to begin the names of its LHCAs.
    pub fn uniform(topology: &Topology, lhcas: u8, image: Option<&Image>) -> Result<Self> {
        let mut config = Self::default();
        for node in topology.nodes.iter().filter(|node| node.kind == Kind::Hypervisor) {
            for number in 1..=u16::from(lhcas) {
                let name = Name::new(&format!("{}-lhca{number}", node.id));
                let name = name.with_context(|| format!("cannot name the LHCAs of {}", node.id))?;
                config.partitions.push(Partition {
                    hypervisor: Some(node.id.clone()),
                    guid: Some(stable_guid(&node.id, number)),
                    image: image.cloned(),
                    ..Partition::new(name)
                });
            }
        }
        Ok(config)
    }

    /// Adds a partition that runs `image` and may manage the subnet, unless a partition runs it already.
    ///
    /// # Errors
    /// Another partition has its name.
    pub fn add_manager(&mut self, image: &str) -> Result<()> {
        if self.partitions.iter().any(|partition| partition.runs(image)) {
            return Ok(());
        }
        let name = Name::new(image)?;
        ensure!(
            self.partitions.iter().all(|other| other.name != name),
            "cannot add the partition {name}: a partition with another image has this name; rename that one"
        );
        let mut partition = Partition {
            image: Some(Image::new(image)?),
            policy: Policy::new(Qp0Policy::Manager),
            ..Partition::new(name)
        };
        if image == SUBNET_MANAGER {
            partition.memory = SUBNET_MANAGER_MEMORY;
        }
        self.partitions.push(partition);
        Ok(())
    }
}

/// Memory of the partition that manages the subnet, in MiB: enough for the largest subnet.
const SUBNET_MANAGER_MEMORY: u32 = 32;
