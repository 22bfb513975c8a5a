//! QEMU's firmware configuration device: named files that whoever started the machine left for the kernel.

#[cfg(target_os = "none")]
mod device;
mod directory;

#[cfg(target_os = "none")]
pub use device::{FwCfg, ReadError};
pub use directory::{File, Selector};

/// Words that steer the kernel, see [`crate::command_line`].
pub const COMMAND_LINE: &str = "opt/org.portico/cmdline";
/// The memory map, as [`crate::memory::map::FirmwareEntry`]s.
pub const E820: &str = "etc/e820";
