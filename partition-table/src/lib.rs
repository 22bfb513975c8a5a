//! The partition table: the logical host channel adapters (LHCAs) of a hypervisor, and their partitions.
//!
//! The host command packs it ([`encode`]) and hands it over at boot as the fw_cfg file [`FW_CFG_FILE`]; the hypervisor
//! reads it ([`Table::parse`]). Both sides check it by the same rules, so the host refuses what the hypervisor would.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 2 | [`VERSION`], little-endian |
//! | 10 | 2 | number of LHCAs, little-endian |
//! | 12 | 1 | spare ports of each logical switch, for LHCAs that are added later |
//! | 13 | 3 | 0 |
//! | 16 | 64 | the hypervisor's [`Name`] |
//! | 80 | 2 x 8 | node GUIDs of the logical switches behind uplinks 1 and 2, big-endian; 0 = no LHCA on this uplink |
//! | 96 | 384 each | the LHCAs, each a row |
//!
//! A row, numbers little-endian:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 64 | [`Name`] |
//! | 64 | 8 | node GUID, big-endian |
//! | 72 | 1 | [`Uplinks`] |
//! | 73 | 1 | [`Qp0Policy`] |
//! | 74 | 1 | [`RefusalPolicy`] |
//! | 75 | 1 | [`Start`] |
//! | 76 | 4 | the partition's memory in MiB |
//! | 80 | 4 | [`Policy::smps_per_second`] |
//! | 84 | 4 | [`Policy::traps_per_second`] |
//! | 88 | 32 | [`ImageName`]; all 0 = no partition |
//! | 120 | 256 | arguments of its image: UTF-8 text, zeros behind |
//! | 376 | 1 | [`AssignedHca`] |
//! | 377 | 7 | 0 |
//!
//! GUIDs follow one rule: port `p` of a node (1-based) has the node's GUID plus `p`. Nodes whose GUIDs are less than
//! three apart would share one, and the table is refused.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod guid;
mod image;
mod lhca;
mod name;
mod policy;
mod table;
mod uplinks;

pub use error::TableError;
pub use guid::stable_guid;
pub use image::{ImageName, ImageNameError};
pub use lhca::{Lhca, Program};
pub use name::{Name, NameError};
pub use policy::{AssignedHca, Policy, Qp0Policy, RefusalPolicy, Start, WordError};
pub use table::{Table, encode};
pub use uplinks::Uplinks;

/// fw_cfg file that holds the table.
pub const FW_CFG_FILE: &str = "opt/org.portico/table";

/// First bytes of a table.
pub const MAGIC: [u8; 8] = *b"Portico\0";

/// Version of the packed form; the hypervisor refuses another one.
pub const VERSION: u16 = 5;

/// Physical ports that a hypervisor may have, each an uplink of a logical switch.
pub const MAX_UPLINKS: usize = 2;

/// LHCAs and spare ports of one logical switch: a switch has at most 254 ports besides port 0, and one is the uplink.
pub const MAX_LHCAS: u8 = 253;

/// PCI device number, on bus 0, of the first HCA that a partition may drive. Lower numbers are the hypervisor's.
pub const FIRST_HCA: u8 = 16;

/// HCAs that partitions may drive; the last device of the bus is the chipset's.
pub const MAX_HCAS: u8 = 31 - FIRST_HCA;

/// Memory of a partition in MiB, at least: its image begins at 1 MiB.
pub const MIN_MEMORY_MIB: u32 = 2;

/// Memory of a partition whose configuration gives none, in MiB.
pub const DEFAULT_MEMORY_MIB: u32 = MIN_MEMORY_MIB;

/// Bytes of a partition's arguments, at most.
pub const MAX_ARGUMENTS: usize = 256;
