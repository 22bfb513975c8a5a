//! As many datagrams as go, from one partition to another, by polling alone.

use iba::Lid;

use crate::shell::{End, HELLO, Machine};

/// The receiver acknowledges so many at once.
const BURST: u64 = 32;
/// So many may be on their way.
const WINDOW: u64 = 3 * BURST;
const LENGTH: usize = 64;
const ACKNOWLEDGED: &[u8] = b"acknowledged";

/// Receives `count` datagrams.
pub(crate) fn receive(machine: &Machine, end: &mut End, count: u64) {
    let (mut received, mut owed, mut greeted) = (0, 0, false);
    let mut sender = Lid::default();
    // What it said last must have left before it ends: nothing of a partition that ended is sent.
    while received < count || owed > 0 || !end.free.is_full() {
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
            owed += u64::from(received.is_multiple_of(BURST) || received == count);
        }
        end.post(machine, arrival.buffer);
    }
    log::info!("received {received}");
}

/// Sends `count` datagrams.
pub(crate) fn send(machine: &Machine, end: &mut End, peer: Lid, count: u64) {
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count {
        if sent < count && sent - acknowledged < WINDOW && end.send(machine, peer, LENGTH) {
            sent += 1;
        }
        if let Some(arrival) = end.next(machine) {
            // A late answer to a greeting says nothing of what was received.
            acknowledged += if arrival.payload() == ACKNOWLEDGED { BURST } else { 0 };
            end.post(machine, arrival.buffer);
        }
    }
    log::info!("sent {sent}");
}
