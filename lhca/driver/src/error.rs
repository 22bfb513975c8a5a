//! Errors of the driver.

use lhca_contract::{Call, Status, VERSION};
use thiserror::Error;

/// The hypervisor did not do what a hypercall asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("hypercall {call:?} was refused: {status:?}")]
pub struct CallError {
    /// Call that was refused.
    pub call: Call,
    /// Why it was not done.
    pub status: Status,
}

/// There is no LHCA to drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// The processor says nothing of this hypervisor.
    #[error("cannot use an LHCA: this machine is not a partition of Portico, its CPUID lacks Portico's leaf")]
    NoHypervisor,
    /// The hypervisor speaks another major version of the contract.
    #[error("the hypervisor speaks contract version {0:#010x}, this image {VERSION:#010x}: build both from one source")]
    Version(u32),
}

/// A ring has no room; a completion will tell of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the queue is full: wait for a completion")]
pub struct Full;
