//! The partition around the attempts.
#![allow(clippy::cast_possible_truncation)] // of random numbers, any part will do

mod calls;
mod datagrams;
mod error;
mod handles;
mod machine;
mod memory;
mod places;
mod processor;
mod queues;
mod race;
mod raw;

use hostile_image::Attempt;

pub(crate) use self::error::Error;
use self::machine::Machine;

/// Makes the attempt that the arguments name.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, Error> {
    let name = machine.information.value("attempt").unwrap_or_default();
    let attempt = Attempt::named(name).ok_or(Error::NoAttempt(name))?;
    log::info!("tries {name}");
    memory::see_wiped(machine)?;
    match attempt {
        Attempt::Guard => memory::guard(machine)?,
        Attempt::Calls => calls::every(machine),
        Attempt::Random => calls::random(machine),
        Attempt::Memory => memory::stray(machine)?,
        Attempt::Places => places::places(machine)?,
        Attempt::Handles => handles::handles(machine)?,
        Attempt::Keys => datagrams::keys(machine)?,
        Attempt::Traps => datagrams::traps(machine)?,
        Attempt::Smps => datagrams::smps(machine)?,
        Attempt::Rings => queues::rings(machine)?,
        Attempt::Race => race::race(machine)?,
        Attempt::Target => race::target(machine)?,
        Attempt::Requests => race::requests(machine)?,
        Attempt::Indices => queues::indices(machine)?,
        Attempt::Live => queues::live(machine)?,
        Attempt::Doorbells => queues::doorbells(machine)?,
        Attempt::TripleFault => {
            datagrams::abandon(machine)?;
            processor::triple_fault()
        }
        Attempt::Spin => processor::spin(),
        Attempt::Cr8 => processor::change_priority(machine)?,
    }
    Ok(0)
}
