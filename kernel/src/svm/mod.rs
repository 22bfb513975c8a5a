//! AMD's Secure Virtual Machine (APM vol. 2, chapter 15): how a partition's processor is described, entered and left.

pub mod asid;
#[cfg(target_os = "none")]
mod enter;
pub mod exit;
#[cfg(target_os = "none")]
mod machine;
pub mod permissions;
pub mod vmcb;

#[cfg(target_os = "none")]
pub use enter::{FloatingPoint, GuestRegisters};
#[cfg(target_os = "none")]
pub use machine::{Host, SvmError, VirtualCpu, enable, with_host};
