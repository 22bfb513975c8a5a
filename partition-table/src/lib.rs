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
//! | 12 | 1 | ports of each logical switch that are kept free, for LHCAs that are added later |
//! | 13 | 3 | 0 |
//! | 16 | 64 | the hypervisor's [`Name`] |
//! | 80 | 2 x 8 | node GUIDs of the logical switches behind uplinks 1 and 2, big-endian; 0 = no LHCA is there |
//! | 96 | 384 each | the LHCAs, each a row |
//!
//! A row is packed so, numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 64 | [`Name`] |
//! | 64 | 8 | node GUID, big-endian |
//! | 72 | 1 | [`Uplinks`] |
//! | 73 | 1 | [`Qp0`] |
//! | 74 | 1 | [`Refused`] |
//! | 75 | 1 | [`Start`] |
//! | 76 | 4 | the partition's memory in MiB |
//! | 80 | 4 | subnet management packets that it may send in a second, traps apart |
//! | 84 | 4 | traps that it may send in a second |
//! | 88 | 32 | [`ImageName`]; all 0 = no partition |
//! | 120 | 256 | what its image may read as its arguments: text, zeros behind |
//! | 376 | 1 | [`OwnHca`] |
//! | 377 | 7 | 0 |
//!
//! GUIDs follow one rule: port `p` of a node (1-based) has the node's GUID plus `p`. So nodes whose GUIDs are less than
//! three apart would share one, and are refused.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod guid;
mod image;
mod lhca;
mod name;

use alloc::vec::Vec;

use iba::Guid;
use thiserror::Error;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use guid::stable_guid;
pub use image::{ImageName, ImageNameError};
pub use lhca::{Lhca, MAX_ARGUMENTS, MIN_MEMORY, OwnHca, Program, Qp0, Refused, Start, Uplinks};
pub use name::{Name, NameError};

/// Where the hypervisor finds the table.
pub const FW_CFG_FILE: &str = "opt/org.portico/table";

/// What a table begins with.
pub const MAGIC: [u8; 8] = *b"Portico\0";

/// Version of the packed form; another one is refused.
pub const VERSION: u16 = 5;

/// LHCAs that one logical switch takes: a switch has at most 254 ports besides port 0, and one of them is the uplink.
pub const MAX_LHCAS: usize = 253;

/// HCAs that partitions drive are PCI devices of bus 0 from here on. Those before are the hypervisor's.
pub const FIRST_HCA: u8 = 16;

/// So many of them there may be: the last device of the bus is the chipset's.
pub const MAX_HCAS: u8 = 31 - FIRST_HCA;

/// Physical ports that a hypervisor may have, each an uplink of a logical switch.
pub const MAX_UPLINKS: usize = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U16,
    lhcas: U16,
    spare_ports: u8,
    reserved: [u8; 3],
    name: Name,
    switches: [Guid; MAX_UPLINKS],
}

const _: () = assert!(size_of::<Header>() == 96 && size_of::<Lhca>() == 384);

/// A table that was checked whole.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    name: &'a Name,
    switches: [Guid; MAX_UPLINKS],
    spare_ports: u8,
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
        if header.reserved != [0; 3] {
            return Err(TableError::Reserved);
        }
        let Header { name, switches, spare_ports, .. } = header;
        let table = Self { name, switches: *switches, spare_ports: *spare_ports, lhcas };
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

    /// Ports of each logical switch that are kept free for LHCAs that are added later.
    #[must_use]
    pub fn spare_ports(&self) -> u8 {
        self.spare_ports
    }

    /// The LHCAs, in order.
    #[must_use]
    pub fn lhcas(&self) -> &'a [Lhca] {
        self.lhcas
    }

    fn check(&self) -> Result<(), TableError> {
        self.name.check()?;
        for (i, lhca) in self.lhcas.iter().enumerate() {
            lhca.check()?;
            if self.lhcas[..i].iter().any(|other| other.name == lhca.name) {
                return Err(TableError::SameName(lhca.name));
            }
        }
        for uplink in 0..MAX_UPLINKS {
            let lhcas = self.lhcas.iter().filter(|lhca| lhca.uplinks.has(uplink)).count();
            let ports = lhcas + usize::from(self.spare_ports);
            if ports > MAX_LHCAS {
                return Err(TableError::TooMany { uplink, ports });
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
pub fn encode(
    name: Name,
    switches: [Guid; MAX_UPLINKS],
    spare_ports: u8,
    lhcas: &[Lhca],
) -> Result<Vec<u8>, TableError> {
    let count = u16::try_from(lhcas.len()).map_err(|_| TableError::TooMany { uplink: 0, ports: lhcas.len() })?;
    let (version, lhca_count) = (U16::new(VERSION), U16::new(count));
    let header = Header { magic: MAGIC, version, lhcas: lhca_count, spare_ports, reserved: [0; 3], name, switches };
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
    /// A choice that there is not.
    #[error("{what} of {name} is {value}, which means nothing: pack the table again")]
    Choice {
        /// The LHCA.
        name: Name,
        /// What is chosen.
        what: &'static str,
        /// What it is.
        value: u8,
    },
    /// Arguments that are no text, or have something behind their end.
    #[error("the arguments of {0} are not plain UTF-8 text with zeros behind")]
    Arguments(Name),
    /// Two LHCAs of one name.
    #[error("two LHCAs are named {0}: give each a name of its own")]
    SameName(Name),
    /// An HCA of its own for an LHCA without a partition.
    #[error("{0} is to drive an HCA of its own and has no partition: give it an image")]
    Hca(Name),
    /// An LHCA without a port, or on a physical port that no HCA has.
    #[error("{0} asks for the uplinks {1:#b}, and 0b1, 0b10 and 0b11 are possible")]
    Uplinks(Name, u8),
    /// More LHCAs and spare ports than a logical switch has ports for.
    #[error(
        "{ports} LHCAs and spare ports on uplink {}, and a logical switch takes {MAX_LHCAS}: ask for fewer; that of a subnet \
         manager in a partition is one of them",
        .uplink + 1
    )]
    TooMany {
        /// The uplink, counted from 0.
        uplink: usize,
        /// How many.
        ports: usize,
    },
    /// LHCAs on an uplink that has no logical switch.
    #[error("there are LHCAs on uplink {}, and no GUID for its logical switch", .uplink + 1)]
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
