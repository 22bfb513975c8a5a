//! As many datagrams as go, from one partition to another, by polling alone.

use iba::Lid;
use lhca_contract::Exits;
use lhca_driver::CallError;

use crate::end::{End, HELLO, Machine};

/// The receiver acknowledges so many at once.
const BURST: u64 = 32;
/// So many may be on their way.
const WINDOW: u64 = 3 * BURST;
const LENGTH: usize = 64;
/// So many go before those whose exits are counted: by then both partitions are known to be busy.
const WARM_UP: u64 = 4096;
const ACKNOWLEDGED: &[u8] = b"acknowledged";

/// VM exits of this partition from now on.
struct Window(Exits);

impl Window {
    fn open(machine: &Machine) -> Result<Self, CallError> {
        machine.lhca.exits().map(Self)
    }

    /// Says how often it was left meanwhile, for `count` datagrams. That it asked is not counted.
    fn close(self, machine: &Machine, count: u64) -> Result<(), CallError> {
        let (before, after) = (self.0, machine.lhca.exits()?);
        log::info!(
            "left for {count} datagrams: doorbells {} calls {} halts {} interrupts {} others {}",
            after.doorbells - before.doorbells,
            after.calls - before.calls - 1,
            after.halts - before.halts,
            after.interrupts - before.interrupts,
            after.others - before.others
        );
        Ok(())
    }
}

/// Receives datagrams, of which it counts the exits of `count`.
pub(crate) fn receive(machine: &Machine, end: &mut End, count: u64) -> Result<(), CallError> {
    let (mut received, mut owed, mut greeted) = (0, 0, false);
    let mut sender = Lid::default();
    let (all, mut window) = (WARM_UP + count, None);
    // What it said last must have left before it ends: nothing of a partition that ended is sent.
    while received < all || owed > 0 || !end.free.is_full() {
        // What cannot be said now, for lack of a buffer, is said later.
        if greeted && end.say(machine, sender, HELLO) {
            greeted = false;
        }
        if owed > 0 && end.say(machine, sender, ACKNOWLEDGED) {
            owed -= 1;
        }
        let Some(arrival) = end.next(machine) else { continue };
        sender = arrival.completion.slid;
        if arrival.payload() == HELLO {
            greeted = true;
        } else {
            received += 1;
            owed += u64::from(received.is_multiple_of(BURST) || received == all);
            if received == WARM_UP {
                window = Some(Window::open(machine)?);
            } else if received == all
                && let Some(window) = window.take()
            {
                window.close(machine, count)?;
            }
        }
        end.post(machine, arrival.buffer);
    }
    Ok(())
}

/// Sends datagrams, of which it counts the exits of `count`.
pub(crate) fn send(machine: &Machine, end: &mut End, peer: Lid, count: u64) -> Result<(), CallError> {
    let (mut sent, mut acknowledged) = (0, 0);
    let (all, mut window) = (WARM_UP + count, None);
    while acknowledged < all {
        if sent == WARM_UP && window.is_none() {
            window = Some(Window::open(machine)?);
        }
        if sent < all && sent - acknowledged < WINDOW && end.send(machine, peer, LENGTH) {
            sent += 1;
        }
        if let Some(arrival) = end.next(machine) {
            // A late answer to a greeting says nothing of what was received.
            acknowledged += if arrival.payload() == ACKNOWLEDGED { BURST } else { 0 };
            end.post(machine, arrival.buffer);
        }
    }
    window.map_or(Ok(()), |window| window.close(machine, count))
}
