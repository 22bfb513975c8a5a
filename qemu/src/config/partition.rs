//! A partition and its image, as configured.

use std::path::{Path, PathBuf};

use iba::Guid;
use partition_table::{DEFAULT_MEMORY_MIB, ImageName, ImageNameError, Name, Policy};

/// Image of the subnet manager that runs in a partition.
pub const SUBNET_MANAGER: &str = "sm";

/// Image that bridges a partition's ports to programs on the host, such as OpenSM.
pub const BRIDGE: &str = "bridge";

/// A partition and its LHCA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Name of the partition, and NodeDescription of its LHCA.
    pub name: Name,
    /// Id of its hypervisor in the topology; `None` stands for the first hypervisor.
    pub hypervisor: Option<String>,
    /// Node GUID of the LHCA; `None` stands for one that is derived from the names.
    pub guid: Option<Guid>,
    /// Image that it runs; without one the hypervisor alone answers for the LHCA.
    pub image: Option<Image>,
    /// Memory in MiB.
    pub memory: u32,
    /// Text for the image, at most [`partition_table::MAX_ARGUMENTS`] bytes.
    pub arguments: String,
    /// Ports of the LHCA; `None` stands for as many as the HCA has.
    pub ports: Option<u8>,
    /// `true` if the partition starts at boot.
    pub autostart: bool,
    /// Limits on the LHCA's management packets.
    pub policy: Policy,
}

impl Partition {
    /// Creates a partition with every default.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            hypervisor: None,
            guid: None,
            image: None,
            memory: DEFAULT_MEMORY_MIB,
            arguments: String::new(),
            ports: None,
            autostart: true,
            policy: Policy::default(),
        }
    }

    /// Returns `true` if the partition bridges its ports to programs on the host, over an HCA assigned to it.
    pub fn is_bridge(&self) -> bool {
        self.runs(BRIDGE)
    }

    /// Returns `true` if the partition runs `image`.
    pub(super) fn runs(&self, image: &str) -> bool {
        self.image.as_ref().is_some_and(|own| own.name.text() == image)
    }
}

/// Image of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name of the image in the hypervisor.
    pub name: ImageName,
    /// ELF file; `None` stands for the one that is built from the sources.
    pub file: Option<PathBuf>,
}

impl Image {
    /// Creates the image that `text` stands for: a folder of `partitions/` by its name, or an ELF file by its path.
    /// Text with a slash or a dot is a path.
    ///
    /// # Errors
    /// The name has characters that an image's name cannot have.
    pub fn new(text: &str) -> Result<Self, ImageNameError> {
        if !text.contains(['/', '.']) {
            return Ok(Self { name: ImageName::new(text)?, file: None });
        }
        let stem = Path::new(text).file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        // The prefix keeps a file apart from the images that are built from the sources.
        Ok(Self { name: ImageName::new(&format!("file-{plain}"))?, file: Some(text.into()) })
    }
}
