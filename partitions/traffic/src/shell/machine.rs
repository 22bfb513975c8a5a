//! The machine and the port that take part in the exchange.

use iba::PortNum;
use lhca_driver::Vmmcall;

/// The partition.
pub(super) type Machine = platform::Machine<Vmmcall>;

/// The port that takes part.
pub(super) const PORT: PortNum = PortNum::new(1);
