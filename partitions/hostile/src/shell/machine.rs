//! The machine of the attacks, and their common arguments.

use lhca_driver::Vmmcall;

/// The partition.
pub(super) type Machine = platform::Machine<Vmmcall>;

/// Returns the number of repetitions: that of the arguments, or `default`.
pub(super) fn count(machine: &Machine, default: u64) -> u64 {
    machine.information.number("count").unwrap_or(default)
}

/// Returns the seed of the random numbers.
pub(super) fn seed(machine: &Machine) -> u64 {
    machine.information.number("seed").unwrap_or(1)
}
