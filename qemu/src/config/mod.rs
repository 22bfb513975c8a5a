//! `portico.toml`: the partitions of a run, and what each may do.
//!
//! | key | value | if not said |
//! |---|---|---|
//! | `spare-ports` | ports of each logical switch that are kept free for partitions added later | 0 |
//!
//! and for each `[[partition]]`:
//!
//! | key | value | if not said |
//! |---|---|---|
//! | `name` | NodeDescription of its LHCA, up to 64 bytes; no two are the same | must be said |
//! | `hypervisor` | on which hypervisor it is, by its name in the topology | the first |
//! | `guid` | node GUID of its LHCA, `"0x..."`; port `p` has this plus `p` | made from the names |
//! | `image` | a folder of `partitions/`, or the path of an ELF file, from the configuration's folder on | nothing runs: the hypervisor alone answers for the LHCA |
//! | `memory` | `"2M"` and more, `"1G"` | `"2M"` |
//! | `arguments` | text for the image to read, up to 256 bytes | none |
//! | `ports` | 1, or 2 where the hypervisor's HCA has two ports | all that the HCA has |
//! | `autostart` | whether it begins at boot | `true` |
//! | `qp0` | what its queue pair 0 may send: `"none"`, `"query"` (Get alone), `"manager"` (all) | `"none"` |
//! | `smps-per-second` | how many subnet management packets it may send in a second, traps apart | 2000; for a manager 1000000 |
//! | `traps-per-second` | how many traps | 4 |
//! | `refused` | what becomes of a packet that it may not send: `"drop"`, or `"answer"` with a status | `"drop"` |

mod fault;
mod keys;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use iba::Guid;
use partition_table::{ImageName, ImageNameError, MAX_UPLINKS, Name, stable_guid};
use serde::Deserialize;

pub use self::fault::Fault;
use self::fault::Source;
use self::keys::{RawConfig, RawPartition};
use fabric::topology::{Kind, Topology};

/// Memory of a partition that asks for none, in MiB.
pub const DEFAULT_MEMORY: u32 = 2;

/// The image, and so the partition, that manages the subnet, and the memory that it takes for the largest, in MiB.
pub const SUBNET_MANAGER: &str = "sm";
const SUBNET_MANAGER_MEMORY: u32 = 32;

/// The image whose partitions lend their ports to programs on the host, and so to OpenSM.
pub const BRIDGE: &str = "bridge";

/// Traps and subnet management packets that a partition may send in a second if nothing else is said.
const DEFAULT_TRAPS: u32 = 4;
const DEFAULT_SMPS: u32 = 2_000;
/// A first sweep is a burst of some thousands; whoever manages the subnet could do worse than be quick.
const DEFAULT_MANAGER_SMPS: u32 = 1_000_000;

/// The partitions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Ports of each logical switch that are kept free for partitions added later.
    pub spare_ports: u8,
    /// The partitions, in the order of the file.
    pub partitions: Vec<Partition>,
}

/// A partition and its LHCA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// NodeDescription of the LHCA.
    pub name: Name,
    /// The hypervisor that has it; the first if none is named.
    pub hypervisor: Option<String>,
    /// The LHCA's node GUID, if it is not to be made from the names.
    pub guid: Option<Guid>,
    /// What runs in it; without one the hypervisor alone answers for the LHCA.
    pub image: Option<Image>,
    /// In MiB.
    pub memory: u32,
    /// Text for the image, at most 256 bytes.
    pub arguments: String,
    /// The LHCA's ports; as many as the HCA has if that is not said.
    pub ports: Option<u8>,
    /// `true` if the partition starts at boot.
    pub autostart: bool,
    /// Packets that the aliased QP0 may send.
    pub qp0: Qp0,
    /// Limit of subnet management packets a second, traps not counted.
    pub smps_per_second: u32,
    /// Limit of traps a second.
    pub traps_per_second: u32,
    /// Reaction to a packet that the policy refuses.
    pub refused: Refused,
}

/// What a partition runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name of the image in the hypervisor.
    pub name: ImageName,
    /// Where it is; without one it is built from the sources.
    pub file: Option<PathBuf>,
}

impl Image {
    /// The image that `text` stands for: one of the sources by its name, or a file by its path.
    ///
    /// # Errors
    /// Neither has such a name.
    pub fn named(text: &str) -> Result<Self, ImageNameError> {
        if !text.contains(['/', '.']) {
            return Ok(Self { name: ImageName::new(text)?, file: None });
        }
        let stem = Path::new(text).file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        // Not the name of one that is built from the sources, whatever the file's name.
        Ok(Self { name: ImageName::new(&format!("file-{plain}"))?, file: Some(text.into()) })
    }
}

/// What a partition's queue pair 0 may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Qp0 {
    #[default]
    /// No packet.
    None,
    /// Get alone.
    Query,
    /// Everything that a subnet manager sends.
    Manager,
}

/// What becomes of a packet that a partition may not send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refused {
    #[default]
    /// The packet is dropped.
    Drop,
    /// The sender gets a response with an error status.
    Answer,
}

impl Config {
    /// Reads the configuration in `file`.
    ///
    /// # Errors
    /// The file cannot be read, or [`Fault`] says what in it is wrong.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self::parse(file, &text)?)
    }

    /// The configuration `text`, which stands in `file`.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong, and where.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Fault> {
        let source = Source::File { file, text };
        let raw: RawConfig = source.deserialize()?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let spare_ports = raw.spare_ports().map_err(|wrong| source.fault(wrong))?;
        raw.refuse_duplicates().map_err(|wrong| source.fault(wrong))?;
        let partitions = raw.partitions.into_iter().map(|raw| Partition::check(raw, folder));
        let partitions = partitions.collect::<Result<_, _>>().map_err(|wrong| source.fault(wrong))?;
        Ok(Self { spare_ports, partitions })
    }
}

impl Config {
    /// `lhcas` partitions on each hypervisor of `topology`, all alike: they run `image`, or nothing.
    ///
    /// # Errors
    /// A hypervisor's name is too long for its LHCAs to be named after it.
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
                    ..Partition::named(name)
                });
            }
        }
        Ok(config)
    }

    /// Adds a partition that runs `image` and may manage the subnet, unless one of the configuration runs it.
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
            "a partition is called {name} and does not run the image {image}: give it another name"
        );
        self.partitions.push(Partition {
            image: Some(Image::named(image)?),
            memory: if image == SUBNET_MANAGER { SUBNET_MANAGER_MEMORY } else { DEFAULT_MEMORY },
            qp0: Qp0::Manager,
            smps_per_second: DEFAULT_MANAGER_SMPS,
            ..Partition::named(name)
        });
        Ok(())
    }
}

impl Partition {
    /// A partition called `name` of which nothing else is said.
    pub fn named(name: Name) -> Self {
        Self {
            name,
            hypervisor: None,
            guid: None,
            image: None,
            memory: DEFAULT_MEMORY,
            arguments: String::new(),
            ports: None,
            autostart: true,
            qp0: Qp0::None,
            smps_per_second: DEFAULT_SMPS,
            traps_per_second: DEFAULT_TRAPS,
            refused: Refused::Drop,
        }
    }

    /// Whether it lends its ports to programs on the host, over an HCA of its own.
    pub fn is_bridge(&self) -> bool {
        self.runs(BRIDGE)
    }

    fn runs(&self, image: &str) -> bool {
        self.image.as_ref().is_some_and(|own| own.name.text() == image)
    }

    /// The partition that `words` describe, each `KEY=VALUE`: the keys of a `[[partition]]`, and values without
    /// quotation marks.
    ///
    /// # Errors
    /// [`Fault`] says which word is wrong.
    pub fn of_words(words: &[String]) -> Result<Self, Fault> {
        let text: Vec<_> = words.iter().map(|word| keys::as_toml(word)).collect();
        let source = Source::Words(&text.join("\n"));
        let raw: RawPartition = source.deserialize()?;
        Self::check(raw, Path::new("")).map_err(|wrong| source.fault(wrong))
    }
}

/// Whether two nodes with these GUIDs would share one: the node's own, or a port's.
fn share(a: Guid, b: Guid) -> bool {
    a.get().abs_diff(b.get()) <= MAX_UPLINKS as u64
}

#[cfg(test)]
mod tests;
