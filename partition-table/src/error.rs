//! Errors of a partition table.

use iba::Guid;
use thiserror::Error;

use crate::image::ImageNameError;
use crate::name::{Name, NameError};
use crate::{MAX_LHCAS, MIN_MEMORY_MIB, VERSION};

/// Reason why a partition table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// The length differs from what the header says, or does not hold a header.
    #[error("cannot read the partition table: {bytes} bytes do not match its header; pack it again")]
    Length {
        /// Length in bytes.
        bytes: usize,
    },
    /// The first bytes differ from [`MAGIC`](crate::MAGIC).
    #[error("cannot read the partition table: it does not begin with its magic; check the file")]
    Magic,
    /// Another version of the packed form.
    #[error(
        "cannot read the partition table: version {0}, but this build reads {VERSION}; use host command and kernel of one build"
    )]
    Version(u16),
    /// A reserved byte differs from 0.
    #[error("cannot read the partition table: reserved bytes are not 0; pack it again")]
    Reserved,
    /// A name of the table is invalid.
    #[error("cannot use the partition table: {0}")]
    Name(#[from] NameError),
    /// An image's name is invalid.
    #[error("cannot use the partition table: {0}")]
    Image(#[from] ImageNameError),
    /// The memory of the partition is less than [`MIN_MEMORY_MIB`].
    #[error("cannot use the partition {0}: its memory is below {MIN_MEMORY_MIB} MiB; give it more")]
    Memory(Name),
    /// A byte that stands for no value of its choice.
    #[error("cannot use {name}: {choice} is {value}; pack the table again")]
    Choice {
        /// Name of the LHCA.
        name: Name,
        /// Field of the row.
        choice: &'static str,
        /// Value of the byte.
        value: u8,
    },
    /// The arguments are not UTF-8, or have bytes other than 0 behind their end.
    #[error("cannot use {0}: its arguments are not UTF-8 text with zeros behind")]
    Arguments(Name),
    /// Two LHCAs have one name.
    #[error("cannot use two LHCAs named {0}: give each a name of its own")]
    SameName(Name),
    /// An LHCA without a partition has an assigned HCA.
    #[error("cannot assign an HCA to {0}: it has no partition; give it an image")]
    Hca(Name),
    /// An LHCA has no port, or one on a physical port that no HCA has.
    #[error("cannot use {0}: its uplinks are {1:#b}; use 0b1, 0b10 or 0b11")]
    Uplinks(Name, u8),
    /// LHCAs and spare ports exceed the ports of a logical switch.
    #[error(
        "cannot fit {ports} LHCAs and spare ports on uplink {}: a logical switch takes {MAX_LHCAS}; use fewer, and count \
         that of a subnet manager in a partition",
        .uplink + 1
    )]
    TooMany {
        /// Uplink, 0-based.
        uplink: usize,
        /// Ports that the LHCAs and the spare ports take together.
        ports: usize,
    },
    /// An uplink has LHCAs but no logical switch.
    #[error("cannot use the LHCAs on uplink {}: their logical switch has no GUID; pack the table again", .uplink + 1)]
    NoSwitch {
        /// Uplink, 0-based.
        uplink: usize,
    },
    /// A GUID that is 0, or leaves none for the ports.
    #[error("cannot use {0} as a node GUID: it is 0, or too high for its ports; choose another")]
    Guid(Guid),
    /// Two nodes share the GUID of a node or a port.
    #[error("cannot use the node GUIDs {0} and {1}: their ports would share GUIDs; keep them at least 3 apart")]
    SameGuid(Guid, Guid),
}
