//! As many datagrams as go, from one partition to another, by polling alone.

use iba::Lid;

use crate::shell::{End, HELLO, Machine};

/// The receiver acknowledges so many at once.
const BURST: u64 = 32;
/// So many may be on their way.
const WINDOW: u64 = 3 * BURST;
const LENGTH: usize = 64;

/// Receives `count` datagrams.
pub(crate) fn receive(machine: &Machine, end: &mut End, count: u64) {
    let mut received = 0;
    while received < count {
        let Some(arrival) = end.next(machine) else { continue };
        let from = arrival.completion.slid;
        let greeting = arrival.payload() == HELLO;
        end.post(machine, arrival.buffer);
        received += u64::from(!greeting);
        if greeting || received.is_multiple_of(BURST) || received == count {
            while !end.say(machine, from, HELLO) {
                let _ = end.next(machine).map(|arrival| end.post(machine, arrival.buffer));
            }
        }
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
            acknowledged += BURST;
            end.post(machine, arrival.buffer);
        }
    }
    log::info!("sent {sent}");
}
