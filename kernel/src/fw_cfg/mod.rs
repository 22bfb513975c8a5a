//! QEMU's firmware configuration device (fw_cfg): named files from the host.

#[cfg(target_os = "none")]
mod device;
mod directory;

#[cfg(target_os = "none")]
pub use device::{FwCfg, ReadError};
pub use directory::{File, Selector};

/// File with the kernel's command line, see [`crate::command_line`].
pub const COMMAND_LINE: &str = "opt/org.portico/cmdline";
/// File with the memory map, as [`crate::memory::map::FirmwareEntry`]s.
pub const E820: &str = "etc/e820";
