//! What the processor offers.

use super::{Error, Machine, raw};

pub(super) fn triple_fault() -> ! {
    raw::triple_fault()
}

pub(super) fn spin() -> ! {
    raw::spin()
}

/// Raises the task priority while an interrupt waits. That is refused by an exception, which ends the partition.
pub(super) fn raise_priority(machine: &Machine) -> Result<(), Error> {
    machine.lhca.set_timer(0, platform::VECTOR)?;
    let until = machine.time() + 20_000_000;
    while machine.time() < until {}
    (0..16).rev().for_each(raw::set_priority);
    Err(Error::Priority)
}
