//! PCI Express: the functions on bus 0, their base address registers (BARs), and message-signalled interrupts (MSI-X).
//!
//! Bus 0 is all that there is: the adapter is plugged into q35's root complex, and firmware or this module placed its
//! BARs.

mod bars;
pub mod ecam;
#[cfg(target_os = "none")]
mod machine;
mod msix;

#[cfg(target_os = "none")]
pub use machine::{Bus, Function, MsixTable, PciError};
