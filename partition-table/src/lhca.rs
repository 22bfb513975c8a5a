//! One row of the table: an LHCA, and the partition that has it.

use core::fmt;

use iba::Guid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::image::ImageName;
use crate::name::Name;
use crate::{MAX_UPLINKS, TableError};

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

/// Defines a choice between named values that a byte holds.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
        )]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            $($(#[$value_doc])* pub const $value: Self = Self($number);)*
            const ALL: &[u8] = &[$($number),*];
        }
    )* };
}

choices! {
    /// What an LHCA's queue pair 0 may send: subnet management packets.
    Qp0 {
        /// Nothing.
        NONE = 0,
        /// Questions.
        QUERY = 1,
        /// Whatever a subnet manager sends.
        MANAGER = 2,
    }

    /// What becomes of a subnet management packet that an LHCA may not send.
    Refused {
        /// It is dropped.
        DROP = 0,
        /// It is dropped, and a request is answered with a status that says so.
        ANSWER = 1,
    }

    /// When a partition begins.
    Start {
        /// At boot.
        AT_BOOT = 0,
        /// When somebody asks for it.
        ON_DEMAND = 1,
    }

    /// Whether a partition drives an HCA of its own, beside its LHCA.
    OwnHca {
        /// It does not.
        NONE = 0,
        /// While it runs it has one of those that the machine has for this ([`FIRST_HCA`](crate::FIRST_HCA)).
        ONE = 1,
    }
}

/// A partition has at least this memory, in bytes: its image begins at 1 MiB.
pub const MIN_MEMORY: u64 = 2 << 20;

/// Bytes of a partition's arguments, at most.
pub const MAX_ARGUMENTS: usize = 256;

/// One logical HCA, and its partition if it has one.
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
    /// What becomes of what that may not send.
    pub refused: Refused,
    /// When its partition begins.
    pub start: Start,
    memory: U32,
    /// Subnet management packets that it may send in a second, traps apart.
    pub smps_per_second: U32,
    /// Traps that it may send in a second.
    pub traps_per_second: U32,
    image: ImageName,
    arguments: [u8; MAX_ARGUMENTS],
    /// Whether its partition drives an HCA of its own.
    pub hca: OwnHca,
    reserved: [u8; 7],
}

/// What a partition runs, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// The image.
    pub image: &'a ImageName,
    /// Memory in MiB.
    pub memory: u32,
    /// What the image may read: at most [`MAX_ARGUMENTS`] bytes, none of them 0.
    pub arguments: &'a str,
}

impl Program<'_> {
    /// Memory in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.memory as u64) << 20
    }
}

impl Lhca {
    /// An LHCA that has no partition, and may send 2000 management packets and 4 traps a second if anything at all.
    #[must_use]
    pub const fn new(name: Name, node_guid: Guid, uplinks: Uplinks) -> Self {
        Self {
            name,
            node_guid,
            uplinks,
            qp0: Qp0::NONE,
            refused: Refused::DROP,
            start: Start::AT_BOOT,
            memory: U32::ZERO,
            smps_per_second: U32::new(2_000),
            traps_per_second: U32::new(4),
            image: ImageName([0; ImageName::BYTES]),
            arguments: [0; MAX_ARGUMENTS],
            hca: OwnHca::NONE,
            reserved: [0; 7],
        }
    }

    /// The LHCA of a partition that runs `program`; arguments are cut where they are too long.
    #[must_use]
    pub fn with_partition(self, program: &Program<'_>) -> Self {
        let mut arguments = [0; MAX_ARGUMENTS];
        let text = &program.arguments[..program.arguments.floor_char_boundary(MAX_ARGUMENTS)];
        arguments[..text.len()].copy_from_slice(text.as_bytes());
        Self { image: *program.image, memory: U32::new(program.memory), arguments, ..self }
    }

    /// What its partition runs; nothing if there is no partition, and the hypervisor alone answers for it.
    #[must_use]
    pub fn partition(&self) -> Option<Program<'_>> {
        let program = Program { image: &self.image, memory: self.memory.get(), arguments: self.arguments() };
        (self.image.0 != [0; ImageName::BYTES]).then_some(program)
    }

    /// Reads a packed row.
    ///
    /// # Errors
    /// [`TableError`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let row = Self::read_from_bytes(bytes).map_err(|_| TableError::Length { bytes: bytes.len() })?;
        row.check().map(|()| row)
    }

    fn arguments(&self) -> &str {
        let end = self.arguments.iter().position(|&byte| byte == 0).unwrap_or(MAX_ARGUMENTS);
        core::str::from_utf8(&self.arguments[..end]).unwrap_or_default()
    }

    /// What can be told of a row alone.
    pub(crate) fn check(&self) -> Result<(), TableError> {
        let name = self.name;
        name.check()?;
        if let Some(program) = self.partition() {
            program.image.check()?;
            if program.bytes() < MIN_MEMORY {
                return Err(TableError::Memory(name));
            }
        }
        if self.reserved != [0; 7] {
            return Err(TableError::Reserved);
        }
        if self.hca != OwnHca::NONE && self.partition().is_none() {
            return Err(TableError::Hca(name));
        }
        let end = self.arguments().len();
        if self.arguments[end..].iter().any(|&byte| byte != 0) {
            return Err(TableError::Arguments(name));
        }
        let choices = [
            ("the policy of queue pair 0", self.qp0.0, Qp0::ALL),
            ("what becomes of refused packets", self.refused.0, Refused::ALL),
            ("when the partition begins", self.start.0, Start::ALL),
            ("the choice of an HCA of its own", self.hca.0, OwnHca::ALL),
        ];
        if let Some((what, value, _)) = choices.into_iter().find(|(_, value, all)| !all.contains(value)) {
            return Err(TableError::Choice { name, what, value });
        }
        if self.uplinks.iter().count() == 0 || self.uplinks.0 > Uplinks::BOTH.0 {
            return Err(TableError::Uplinks(name, self.uplinks.0));
        }
        Ok(())
    }
}

impl fmt::Debug for Lhca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.node_guid, self.uplinks)
    }
}
