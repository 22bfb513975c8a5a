//! The table as a whole.

use alloc::vec::Vec;

use iba::Guid;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::TableError;
use crate::lhca::Lhca;
use crate::name::Name;
use crate::{MAGIC, MAX_LHCAS, MAX_UPLINKS, VERSION};

/// A partition table that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    name: &'a Name,
    switches: [Guid; MAX_UPLINKS],
    spare_ports: u8,
    lhcas: &'a [Lhca],
}

impl<'a> Table<'a> {
    /// Reads a packed table and checks it whole.
    ///
    /// # Errors
    /// [`TableError`] is the first rule that the table breaks.
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

    /// Returns the hypervisor's name, which is the NodeDescription of its logical switches.
    #[must_use]
    pub fn name(&self) -> &'a Name {
        self.name
    }

    /// Returns the node GUID of the logical switch behind `uplink` (0-based); `None` if the uplink has none.
    #[must_use]
    pub fn switch_guid(&self, uplink: usize) -> Option<Guid> {
        self.switches.get(uplink).copied().filter(|guid| guid.get() != 0)
    }

    /// Returns the number of ports of each logical switch that stay free for LHCAs that are added later.
    #[must_use]
    pub fn spare_ports(&self) -> u8 {
        self.spare_ports
    }

    /// Returns the LHCAs, in order.
    #[must_use]
    pub fn lhcas(&self) -> &'a [Lhca] {
        self.lhcas
    }

    fn check(&self) -> Result<(), TableError> {
        self.name.check()?;
        for (i, lhca) in self.lhcas.iter().enumerate() {
            lhca.check()?;
            if self.lhcas[..i].iter().any(|other| other.name() == lhca.name()) {
                return Err(TableError::SameName(*lhca.name()));
            }
        }
        for uplink in 0..MAX_UPLINKS {
            let lhcas = self.lhcas.iter().filter(|lhca| lhca.uplinks().has(uplink)).count();
            let ports = lhcas + usize::from(self.spare_ports);
            if ports > usize::from(MAX_LHCAS) {
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
        let nodes = || switches.clone().chain(self.lhcas.iter().map(|lhca| lhca.node_guid()));
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
/// [`TableError`] is the rule by which the hypervisor would refuse the table.
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

/// First bytes of a packed table; the rows follow.
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

const _: () = assert!(size_of::<Header>() == 96);
