//! A row of the table: an LHCA, and its partition.

use core::fmt;

use iba::Guid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::TableError;
use crate::image::ImageName;
use crate::name::Name;
use crate::policy::{AssignedHca, Policy, Qp0Policy, RefusalPolicy, Start};
use crate::uplinks::Uplinks;
use crate::{MAX_ARGUMENTS, MIN_MEMORY_MIB};

/// One logical HCA, and its partition if it has one. The layout is the packed form.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Lhca {
    name: Name,
    node_guid: Guid,
    uplinks: Uplinks,
    qp0: u8,
    refused: u8,
    start: u8,
    memory_mib: U32,
    smps_per_second: U32,
    traps_per_second: U32,
    image: ImageName,
    arguments: [u8; MAX_ARGUMENTS],
    hca: u8,
    reserved: [u8; 7],
}

const _: () = assert!(size_of::<Lhca>() == 384);

/// Image of a partition, with its memory and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Name of the image.
    pub image: &'a ImageName,
    /// Memory in MiB.
    pub memory: u32,
    /// Text for the image: at most [`MAX_ARGUMENTS`] bytes, none of them 0.
    pub arguments: &'a str,
}

impl Program<'_> {
    /// Returns the memory in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.memory as u64) << 20
    }
}

impl Lhca {
    /// Creates an LHCA without a partition, with the default [`Policy`].
    #[must_use]
    pub fn new(name: Name, node_guid: Guid, uplinks: Uplinks) -> Self {
        let row = Self {
            name,
            node_guid,
            uplinks,
            qp0: 0,
            refused: 0,
            start: Start::default() as u8,
            memory_mib: U32::ZERO,
            smps_per_second: U32::ZERO,
            traps_per_second: U32::ZERO,
            image: ImageName::ABSENT,
            arguments: [0; MAX_ARGUMENTS],
            hca: AssignedHca::default() as u8,
            reserved: [0; 7],
        };
        row.with_policy(Policy::default())
    }

    /// Gives the LHCA a partition that runs `program`; arguments beyond [`MAX_ARGUMENTS`] bytes are cut.
    #[must_use]
    pub fn with_partition(self, program: &Program<'_>) -> Self {
        let mut arguments = [0; MAX_ARGUMENTS];
        let text = &program.arguments[..program.arguments.floor_char_boundary(MAX_ARGUMENTS)];
        arguments[..text.len()].copy_from_slice(text.as_bytes());
        Self { image: *program.image, memory_mib: U32::new(program.memory), arguments, ..self }
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self {
            qp0: policy.qp0 as u8,
            refused: policy.refused as u8,
            smps_per_second: policy.smps_per_second.into(),
            traps_per_second: policy.traps_per_second.into(),
            ..self
        }
    }

    /// Sets the start of the partition.
    #[must_use]
    pub fn with_start(self, start: Start) -> Self {
        Self { start: start as u8, ..self }
    }

    /// Sets the HCA that the partition drives.
    #[must_use]
    pub fn with_hca(self, hca: AssignedHca) -> Self {
        Self { hca: hca as u8, ..self }
    }

    /// Reads a packed row and checks it, as far as a row alone can be checked.
    ///
    /// # Errors
    /// [`TableError`] is the first rule that the row breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let row = Self::read_from_bytes(bytes).map_err(|_| TableError::Length { bytes: bytes.len() })?;
        row.check().map(|()| row)
    }

    /// Returns the name: the LHCA's NodeDescription, unique in the table.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the node GUID; port `p` (1-based) has this plus `p`.
    #[must_use]
    pub fn node_guid(&self) -> Guid {
        self.node_guid
    }

    /// Returns the uplinks at which the LHCA has a port.
    #[must_use]
    pub fn uplinks(&self) -> Uplinks {
        self.uplinks
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        // The defaults stand for bytes that `check` refuses.
        Policy {
            qp0: Qp0Policy::from_byte(self.qp0).unwrap_or_default(),
            refused: RefusalPolicy::from_byte(self.refused).unwrap_or_default(),
            smps_per_second: self.smps_per_second.get(),
            traps_per_second: self.traps_per_second.get(),
        }
    }

    /// Returns the start of the partition.
    #[must_use]
    pub fn start(&self) -> Start {
        Start::from_byte(self.start).unwrap_or_default()
    }

    /// Returns the HCA that the partition drives.
    #[must_use]
    pub fn hca(&self) -> AssignedHca {
        AssignedHca::from_byte(self.hca).unwrap_or_default()
    }

    /// Returns the program of the partition; `None` if there is no partition and the hypervisor alone answers for the
    /// LHCA.
    #[must_use]
    pub fn partition(&self) -> Option<Program<'_>> {
        let program = Program { image: &self.image, memory: self.memory_mib.get(), arguments: self.arguments() };
        (self.image != ImageName::ABSENT).then_some(program)
    }

    fn arguments(&self) -> &str {
        let end = self.arguments.iter().position(|&byte| byte == 0).unwrap_or(MAX_ARGUMENTS);
        core::str::from_utf8(&self.arguments[..end]).unwrap_or_default()
    }

    /// Checks what a row alone shows.
    pub(crate) fn check(&self) -> Result<(), TableError> {
        let name = self.name;
        name.check()?;
        if let Some(program) = self.partition() {
            program.image.check()?;
            if program.memory < MIN_MEMORY_MIB {
                return Err(TableError::Memory(name));
            }
        }
        if self.reserved != [0; 7] {
            return Err(TableError::Reserved);
        }
        self.check_choices()?;
        if self.hca() != AssignedHca::Absent && self.partition().is_none() {
            return Err(TableError::Hca(name));
        }
        let end = self.arguments().len();
        if self.arguments[end..].iter().any(|&byte| byte != 0) {
            return Err(TableError::Arguments(name));
        }
        if !self.uplinks.is_valid() {
            return Err(TableError::Uplinks(name, self.uplinks.byte()));
        }
        Ok(())
    }

    fn check_choices(&self) -> Result<(), TableError> {
        let choices = [
            ("the policy of queue pair 0", self.qp0, Qp0Policy::from_byte(self.qp0).is_some()),
            ("the reaction to refused packets", self.refused, RefusalPolicy::from_byte(self.refused).is_some()),
            ("the start of the partition", self.start, Start::from_byte(self.start).is_some()),
            ("the assigned HCA", self.hca, AssignedHca::from_byte(self.hca).is_some()),
        ];
        match choices.into_iter().find(|(_, _, is_known)| !is_known) {
            Some((choice, value, _)) => Err(TableError::Choice { name: self.name, choice, value }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Lhca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.node_guid, self.uplinks)
    }
}
