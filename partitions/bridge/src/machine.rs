//! The machine that the bridge runs on.

use lhca_driver::Vmmcall;

/// The partition.
pub(crate) type Machine = platform::Machine<Vmmcall>;
