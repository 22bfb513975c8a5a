//! Memory: our own, and what is not.

use hostile_image::{Random, STRANGE_ADDRESSES};

use super::raw::{self, Scratch};
use super::{Error, Machine};

/// From one look at the memory to the next, in nanoseconds.
const LOOK_EVERY: u64 = 300_000_000;

/// Looks again and again whether all of the free memory is as it was filled.
pub(super) fn guard(machine: &mut Machine) -> Result<(), Error> {
    let own = Scratch::all(machine);
    let pattern = |index: u64| Random::new(index).number();
    (0..own.words()).for_each(|index| own.put(index, pattern(index)));
    for look in 1_u64.. {
        if let Some(index) = (0..own.words()).find(|&index| own.get(index) != pattern(index)) {
            return Err(Error::Changed(own.address(index)));
        }
        log::info!("look {look}: all {} KiB are as they were", own.words() / 128);
        let until = machine.time() + LOOK_EVERY;
        while machine.time() < until {
            machine.wait_until(until)?;
        }
    }
    Ok(())
}

/// Reaches for an address that is not ours: another one at each start, first to read, and then to write.
pub(super) fn stray(machine: &mut Machine) -> Result<(), Error> {
    let nth = machine.information.page().starts.saturating_sub(1) as usize;
    let address = STRANGE_ADDRESSES[nth % STRANGE_ADDRESSES.len()];
    let write = !(nth / STRANGE_ADDRESSES.len()).is_multiple_of(2);
    log::info!("{} {address:#x}", if write { "writes to" } else { "reads from" });
    raw::touch(address, write);
    Err(Error::Reached(address))
}
