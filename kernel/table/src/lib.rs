//! The partition table: which logical host channel adapters (LHCAs) a hypervisor lends, and who they are.
//!
//! The host command packs it ([`encode`]) and hands it over at boot as the fw_cfg file [`FW_CFG_FILE`]; the hypervisor
//! reads it ([`Table::parse`]). Both sides check it by the same rules, so that the host refuses what the hypervisor would.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 2 | [`VERSION`], little-endian |
//! | 10 | 2 | number of LHCAs, little-endian |
//! | 12 | 4 | 0 |
//! | 16 | 64 | the hypervisor's [`Name`] |
//! | 80 | 2 x 8 | node GUIDs of the logical switches behind uplinks 1 and 2, big-endian; 0 = no LHCA is there |
//! | 96 | 112 each | the LHCAs: [`Name`] 64, node GUID 8, [`Uplinks`] 1, [`Qp0`] 1, 0, memory 4, [`ImageName`] 32 |
//!
//! GUIDs follow one rule: port `p` of a node (1-based) has the node's GUID plus `p`. So nodes whose GUIDs are less than
//! three apart would share one, and are refused.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod guid;
mod image;
mod name;

use alloc::vec::Vec;
use core::fmt;

use iba::Guid;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use guid::stable_guid;
pub use image::{ImageName, ImageNameError};
pub use name::{Name, NameError};

/// Where the hypervisor finds the table.
pub const FW_CFG_FILE: &str = "opt/org.portico/table";

/// What a table begins with.
pub const MAGIC: [u8; 8] = *b"Portico\0";

/// Version of the packed form; another one is refused.
pub const VERSION: u16 = 2;

/// LHCAs that one logical switch takes: a switch has at most 254 ports besides port 0, and one of them is the uplink.
pub const MAX_LHCAS: usize = 253;

/// Physical ports that a hypervisor may have, each an uplink of a logical switch.
pub const MAX_UPLINKS: usize = 2;

/// On which physical ports an LHCA has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Uplinks(u8);

impl Uplinks {
    /// On physical port 1 only.
    pub const FIRST: Self = Self(1);
    /// On physical port 2 only.
    pub const SECOND: Self = Self(2);
    /// One port on each.
    pub const BOTH: Self = Self(3);

    /// Whether there is a port on `uplink` (0-based).
    #[must_use]
    pub const fn has(self, uplink: usize) -> bool {
        uplink < MAX_UPLINKS && self.0 & 1 << uplink != 0
    }

    /// The uplinks (0-based), in the order of the LHCA's ports 1, 2.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_UPLINKS).filter(move |&uplink| self.has(uplink))
    }
}

/// What an LHCA's queue pair 0 may send: subnet management packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Qp0(u8);

impl Qp0 {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Questions.
    pub const QUERY: Self = Self(1);
    /// Whatever a subnet manager sends.
    pub const MANAGER: Self = Self(2);
}

/// A partition has at least this memory, in bytes: its image begins at 1 MiB.
pub const MIN_MEMORY: u64 = 2 << 20;

/// One logical HCA.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Lhca {
    /// What a subnet manager reads as its NodeDescription, and people know it by; no two are the same.
    pub name: Name,
    /// Its node GUID; port `p` (1-based) has this plus `p`.
    pub node_guid: Guid,
    /// Where its ports are.
    pub uplinks: Uplinks,
    /// What its queue pair 0 may send.
    pub qp0: Qp0,
    reserved: [u8; 2],
    memory: U32,
    image: ImageName,
}

impl Lhca {
    /// An LHCA that has no partition: the hypervisor alone answers for it.
    #[must_use]
    pub const fn new(name: Name, node_guid: Guid, uplinks: Uplinks) -> Self {
        let image = ImageName([0; ImageName::BYTES]);
        Self { name, node_guid, uplinks, qp0: Qp0::NONE, reserved: [0; 2], memory: U32::ZERO, image }
    }

    /// The LHCA of a partition that runs `image`, with `memory` MiB.
    #[must_use]
    pub const fn with_partition(self, image: ImageName, memory: u32) -> Self {
        Self { image, memory: U32::new(memory), ..self }
    }

    /// What its partition runs, and its memory in bytes; nothing if there is no partition.
    #[must_use]
    pub fn partition(&self) -> Option<(&ImageName, u64)> {
        (self.image.0 != [0; ImageName::BYTES]).then(|| (&self.image, u64::from(self.memory.get()) << 20))
    }
}

impl fmt::Debug for Lhca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.node_guid, self.uplinks)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U16,
    lhcas: U16,
    reserved: [u8; 4],
    name: Name,
    switches: [Guid; MAX_UPLINKS],
}

const _: () = assert!(size_of::<Header>() == 96 && size_of::<Lhca>() == 112);

/// A table that was checked whole.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    name: &'a Name,
    switches: [Guid; MAX_UPLINKS],
    lhcas: &'a [Lhca],
}

impl<'a> Table<'a> {
    /// Reads a packed table.
    ///
    /// # Errors
    /// [`TableError`] says what is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| TableError::Length { bytes: bytes.len() })?;
        if header.magic != MAGIC {
            return Err(TableError::Magic);
        }
        if header.version.get() != VERSION {
            return Err(TableError::Version(header.version.get()));
        }
        let lhcas = <[Lhca]>::ref_from_bytes_with_elems(rest, usize::from(header.lhcas.get()))
            .map_err(|_| TableError::Length { bytes: bytes.len() })?;
        if header.reserved != [0; 4] || lhcas.iter().any(|lhca| lhca.reserved != [0; 2]) {
            return Err(TableError::Reserved);
        }
        let table = Self { name: &header.name, switches: header.switches, lhcas };
        table.check()?;
        Ok(table)
    }

    /// The hypervisor's name, and the NodeDescription of its logical switches.
    #[must_use]
    pub fn name(&self) -> &'a Name {
        self.name
    }

    /// Node GUID of the logical switch behind `uplink` (0-based), if there is one.
    #[must_use]
    pub fn switch_guid(&self, uplink: usize) -> Option<Guid> {
        self.switches.get(uplink).copied().filter(|guid| guid.get() != 0)
    }

    /// The LHCAs, in order.
    #[must_use]
    pub fn lhcas(&self) -> &'a [Lhca] {
        self.lhcas
    }

    fn check(&self) -> Result<(), TableError> {
        self.name.check()?;
        for (i, lhca) in self.lhcas.iter().enumerate() {
            lhca.name.check()?;
            if let Some((image, memory)) = lhca.partition() {
                image.check()?;
                if memory < MIN_MEMORY {
                    return Err(TableError::Memory(lhca.name));
                }
            }
            if lhca.qp0.0 > Qp0::MANAGER.0 {
                return Err(TableError::Qp0(lhca.name, lhca.qp0.0));
            }
            if lhca.uplinks.iter().count() == 0 || lhca.uplinks.0 > Uplinks::BOTH.0 {
                return Err(TableError::Uplinks { lhca: i, bits: lhca.uplinks.0 });
            }
            if self.lhcas[..i].iter().any(|other| other.name == lhca.name) {
                return Err(TableError::SameName(lhca.name));
            }
        }
        for uplink in 0..MAX_UPLINKS {
            let lhcas = self.lhcas.iter().filter(|lhca| lhca.uplinks.has(uplink)).count();
            if lhcas > MAX_LHCAS {
                return Err(TableError::TooMany { uplink, lhcas });
            }
            if lhcas > 0 && self.switch_guid(uplink).is_none() {
                return Err(TableError::NoSwitch { uplink });
            }
        }
        self.check_guids()
    }

    fn check_guids(&self) -> Result<(), TableError> {
        let switches = (0..MAX_UPLINKS).filter_map(|uplink| self.switch_guid(uplink));
        let nodes = || switches.clone().chain(self.lhcas.iter().map(|lhca| lhca.node_guid));
        for (i, guid) in nodes().enumerate() {
            let first = guid.get();
            if first == 0 || first.checked_add(MAX_UPLINKS as u64).is_none() {
                return Err(TableError::Guid(guid));
            }
            if let Some(other) = nodes().take(i).find(|other| other.get().abs_diff(first) <= MAX_UPLINKS as u64) {
                return Err(TableError::SameGuid(other, guid));
            }
        }
        Ok(())
    }
}

/// Packs a table.
///
/// # Errors
/// [`TableError`] says why the hypervisor would refuse it.
pub fn encode(name: Name, switches: [Guid; MAX_UPLINKS], lhcas: &[Lhca]) -> Result<Vec<u8>, TableError> {
    let count = u16::try_from(lhcas.len()).map_err(|_| TableError::TooMany { uplink: 0, lhcas: lhcas.len() })?;
    let header =
        Header { magic: MAGIC, version: U16::new(VERSION), lhcas: U16::new(count), reserved: [0; 4], name, switches };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(lhcas.as_bytes());
    Table::parse(&bytes)?;
    Ok(bytes)
}

/// What is wrong with a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// Not the length that its header asks for, or not even a header.
    #[error("the partition table has {bytes} bytes, and its header asks for another length: pack it again")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// It does not begin with [`MAGIC`].
    #[error("the partition table does not begin with its magic: is it the right file?")]
    Magic,
    /// A version that is not spoken here.
    #[error(
        "the partition table has version {0}, and {VERSION} is spoken here: use host command and kernel of one build"
    )]
    Version(u16),
    /// A byte that has no meaning yet is not 0.
    #[error("the partition table has reserved bytes that are not 0")]
    Reserved,
    /// A name that cannot be one.
    #[error("in the partition table: {0}")]
    Name(#[from] NameError),
    /// An image's name that cannot be one.
    #[error("in the partition table: {0}")]
    Image(#[from] ImageNameError),
    /// Too little memory for any image.
    #[error("the partition {0} has less than 2 MiB of memory")]
    Memory(Name),
    /// A policy that there is not.
    #[error("the policy of the queue pair 0 of {0} is {1}, and 0 to 2 are possible")]
    Qp0(Name, u8),
    /// Two LHCAs of one name.
    #[error("two LHCAs are named {0}: give each a name of its own")]
    SameName(Name),
    /// An LHCA without a port, or on a physical port that no HCA has.
    #[error("LHCA number {lhca} asks for the uplinks {bits:#b}, and 0b1, 0b10 and 0b11 are possible")]
    Uplinks {
        /// Which LHCA, counted from 0.
        lhca: usize,
        /// What it asks for.
        bits: u8,
    },
    /// More LHCAs than a logical switch has ports for.
    #[error("{lhcas} LHCAs on uplink {uplink}, and a logical switch takes {MAX_LHCAS}")]
    TooMany {
        /// The uplink, counted from 0.
        uplink: usize,
        /// How many.
        lhcas: usize,
    },
    /// LHCAs on an uplink that has no logical switch.
    #[error("there are LHCAs on uplink {uplink}, and no GUID for its logical switch")]
    NoSwitch {
        /// The uplink, counted from 0.
        uplink: usize,
    },
    /// A GUID that is 0, or leaves none for the ports.
    #[error("{0} cannot be a node GUID")]
    Guid(Guid),
    /// Two nodes whose own or port GUIDs are the same.
    #[error("the node GUIDs {0} and {1} would share port GUIDs: keep them at least 3 apart")]
    SameGuid(Guid, Guid),
}
