//! Memory: our own, and what is not.

use hostile_image::{Random, strange_pages};
use iba::QKey;
use lhca_contract::{Call, QueuePairKind, Status};
use lhca_driver::{CompletionQueue, Platform};
use platform::{Endpoint, GRH, Setup};

use super::datagrams::{LENGTH, LOG_BUFFERS, PORT};
use super::error::Error;
use super::machine::Machine;
use super::raw::{self, Scratch};

/// Of so many pages one is reached for in every way, the others only by a load: what cannot be read cannot be written,
/// as page tables have it.
const EVERY_WAY: u64 = 16;

/// A pattern that no other partition has.
const SECRET: QKey = QKey::new(0x5ec2_e700);

/// Sleeps with all memory in use: any change of it comes from outside.
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

/// Checks that free memory has nothing of its former owner.
pub(super) fn see_wiped(machine: &mut Machine) -> Result<(), Error> {
    let free = Scratch::free(machine);
    let left = (0..free.words()).find(|&index| free.get(index) != 0);
    left.map_or(Ok(()), |index| Err(Error::Left(free.address(index))))
}

/// Reaches for every page that is not ours, by loads and stores, and through the hypervisor, which is refused each
/// time.
pub(super) fn stray(machine: &mut Machine) -> Result<(), Error> {
    raw::catch_protection_faults();
    raw::map_all(machine);
    let call = |machine: &Machine, call, arguments: [u64; 3]| machine.lhca.platform().call(call, arguments).0;
    let mut pages = 0_u64;
    for page in strange_pages(machine.information.page().memory) {
        let others = || {
            raw::is_store_refused(page)
                && call(machine, Call::CONSOLE, [page, 1, 0]) == Status::BAD_ADDRESS
                && call(machine, Call::QUERY_HCA, [page, 0, 0]) == Status::BAD_ADDRESS
        };
        if !raw::is_load_refused(page) || pages.is_multiple_of(EVERY_WAY) && !others() {
            return Err(Error::Reached(page));
        }
        pages += 1;
    }
    log::info!("{pages} pages were refused");
    Ok(())
}
