//! PCI Express: the functions on bus 0, their base address registers (BARs), and message-signalled interrupts (MSI-X).
//!
//! The kernel uses bus 0 only: the HCA is in q35's root complex. Firmware or this module places the BARs.

mod bars;
pub mod ecam;
#[cfg(target_os = "none")]
mod machine;
mod msix;

#[cfg(target_os = "none")]
pub use machine::{Bus, Function, MsixTable, PciError};
