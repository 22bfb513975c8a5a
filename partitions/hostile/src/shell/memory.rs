//! Memory: our own, and what is not.

use hostile_image::{Random, STRANGE_ADDRESSES};
use iba::QKey;
use lhca::CompletionQueue;
use lhca_contract::QueuePairKind;
use platform::{Endpoint, GRH, Setup};

use super::datagrams::{LENGTH, LOG_BUFFERS, PORT};
use super::raw::{self, Scratch};
use super::{Error, Machine};

/// What nobody else knows.
const SECRET: QKey = QKey::new(0x5ec2_e700);

/// Lies still, with memory that is all in use: whatever changes it is somebody else.
pub(super) fn guard(machine: &mut Machine) -> Result<(), Error> {
    let completions = CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_BUFFERS + 1), 0)?;
    let (kind, q_key, log_buffers) = (QueuePairKind::UD, SECRET, LOG_BUFFERS);
    let setup = Setup { kind, port: PORT, q_key, log_buffers, completions: &completions };
    let mut endpoint = Endpoint::open(machine, &setup)?;
    for _ in 0..1 << LOG_BUFFERS {
        let buffer = machine.memory.buffer(GRH + LENGTH);
        // There is room for as many.
        let _ = endpoint.post(machine, buffer);
    }
    let own = Scratch::all(machine);
    (0..own.words()).for_each(|index| own.put(index, Random::new(index).number()));
    log::info!("guards {} KiB", own.words() / 128);
    loop {
        machine.wait();
    }
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
