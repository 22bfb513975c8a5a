//! Attacks with instructions of the processor.

use lhca_contract::{QueuePairKind, SendEntry};

use super::datagrams::Source;
use super::error::Error;
use super::machine::Machine;
use super::raw;

/// For so long an interrupt that waits may stay away, in nanoseconds.
const PATIENCE: u64 = 20_000_000_000;

pub(super) fn triple_fault() -> ! {
    raw::triple_fault()
}

pub(super) fn spin() -> ! {
    raw::spin()
}

/// Raises and lowers the task priority while an interrupt waits, which is refused each time; and then takes the
/// interrupt.
pub(super) fn change_priority(machine: &mut Machine) -> Result<(), Error> {
    let mut source = Source::open(machine, QueuePairKind::UD)?;
    // A datagram to nowhere fails at once, and its completion interrupts. Interrupts are off.
    source.completions.arm();
    source.send(machine, &[0], &SendEntry::default());
    while source.has_sent() {
        source.collect(machine);
    }
    // Once more out and in again: the processor knows of the interrupt by now.
    let until = machine.time() + PATIENCE;
    raw::catch_protection_faults();
    let priorities = (0..16).chain((0..16).rev());
    for priority in priorities.clone() {
        if !raw::is_priority_refused(priority) {
            return Err(Error::Priority(priority));
        }
    }
    log::info!("{} writes were refused", priorities.count());
    // This ends at once, by the interrupt that waits.
    machine.wait_until(until)?;
    if machine.time() < until { Ok(()) } else { Err(Error::Lost) }
}
