//! The partition around the attempts.
#![allow(clippy::cast_possible_truncation)] // of random numbers, any part will do

mod calls;
mod datagrams;
mod handles;
mod memory;
mod places;
mod processor;
mod queues;
mod race;
mod raw;

use hostile_image::Attempt;
use lhca_contract::{Call, Status};
use lhca_driver::{CallError, Vmmcall};

type Machine = platform::Machine<Vmmcall>;

/// Why an attempt could not be made, or what should not have been possible.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the argument attempt= names nothing that can be tried: {0:?}")]
    NoAttempt(&'static str),
    #[error("there was memory at {0:#x}")]
    Reached(u64),
    #[error("memory was not wiped at {0:#x}")]
    Left(u64),
    #[error("{call:?} of {arguments:x?} is answered {status:?}, and not {expected:?}")]
    Answer { call: Call, arguments: [u64; 3], status: Status, expected: Status },
    #[error("datagrams with {0} do not come to what they are to")]
    Spoofed(&'static str),
    #[error("memory beside a buffer changed, at {0:#x}")]
    Beside(u64),
    #[error("a datagram came in with a key that was the queue pair's no more")]
    Entered,
    #[error("the queue pair goes on, though its index jumped")]
    GoesOn,
    #[error("the task priority register could be written: {0:#x}")]
    Priority(u64),
    #[error("the interrupt that waited did not come")]
    Lost,
}

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

/// Returns the number of repetitions: that of the arguments, or `default`.
fn count(machine: &Machine, default: u64) -> u64 {
    machine.information.number("count").unwrap_or(default)
}

/// Returns the seed of the random numbers.
fn seed(machine: &Machine) -> u64 {
    machine.information.number("seed").unwrap_or(1)
}
