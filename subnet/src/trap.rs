//! Traps of a port: at most one for each thing to tell, sent again until the manager says that it knows (13.4.9).

use core::time::Duration;

use iba::TransactionId;
use iba::notice::{Notice, TrapNumber};

use crate::time::{Time, exponential};

/// Traps that may wait for their repress at one time.
const WAITING: usize = 8;

/// Traps of one security violation that may wait: what violates once may do so for ever.
const ALIKE: usize = 2;

/// Number of times that a trap is sent to an SM that does not repress it.
const SENDS: u8 = 8;

/// No port sends traps closer together than this, whatever SubnetTimeOut is: OpenSM takes a port that babbles from the
/// subnet.
const INTERVAL: Duration = Duration::from_millis(100);

/// The traps of a port that wait to be sent, or to be repressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrapQueue {
    waiting: [Option<Trap>; WAITING],
    last_transaction: u64,
    /// No trap leaves before this (o14-2).
    pause: Time,
}

#[derive(Clone, Debug, PartialEq)]
struct Trap {
    notice: Notice,
    transaction: TransactionId,
    sent: u8,
    due: Time,
}

impl TrapQueue {
    /// Takes up a trap, to be sent as soon as may be.
    ///
    /// What tells of a state, and not of an event, takes the place of its like: the new one says it all. It is a new
    /// trap for all that, with a transaction id of its own (o13-5). Where there is no room, the trap is not told.
    pub(crate) fn raise(&mut self, now: Time, notice: Notice) {
        let number = notice.trap_number;
        let is_state = number < TrapNumber::BAD_M_KEY;
        let mut alike = self.waiting.iter().flatten().filter(|trap| trap.notice.trap_number == number);
        if !is_state && alike.clone().count() >= ALIKE {
            return;
        }
        let transaction = TransactionId::new(self.last_transaction.wrapping_add(1));
        let old = if is_state { alike.next().map(|trap| trap.transaction) } else { None };
        let place = match old {
            Some(old) => self.waiting.iter_mut().find(|trap| trap.as_ref().is_some_and(|trap| trap.transaction == old)),
            None => self.waiting.iter_mut().find(|trap| trap.is_none()),
        };
        if let Some(place) = place {
            self.last_transaction = transaction.get();
            *place = Some(Trap { notice, transaction, sent: 0, due: now });
        }
    }

    /// The waiting trap of this number that has not been repressed.
    pub(crate) fn find(&self, number: TrapNumber) -> Option<&Notice> {
        self.waiting.iter().flatten().map(|trap| &trap.notice).find(|notice| notice.trap_number == number)
    }

    /// Forgets the trap of this transaction: the manager knows (o13-6).
    pub(crate) fn repress(&mut self, transaction: TransactionId) {
        for place in &mut self.waiting {
            if place.as_ref().is_some_and(|trap| trap.transaction == transaction) {
                *place = None;
            }
        }
    }

    /// Forgets all traps.
    pub(crate) fn clear(&mut self) {
        self.waiting = Default::default();
    }

    /// The trap to send now, if there is one. `subnet_timeout` is PortInfo's.
    pub(crate) fn next(&mut self, now: Time, subnet_timeout: u8) -> Option<(TransactionId, Notice)> {
        if now < self.pause {
            return None;
        }
        let place = self.waiting.iter_mut().min_by_key(|trap| due(trap))?;
        let trap = place.as_mut()?;
        self.pause = now.after(exponential(subnet_timeout).max(INTERVAL));
        trap.sent += 1;
        trap.due = self.pause;
        let next = (trap.transaction, trap.notice);
        if trap.sent == SENDS {
            *place = None;
        }
        Some(next)
    }

    /// When to ask for the next trap.
    pub(crate) fn deadline(&self) -> Time {
        self.waiting.iter().map(due).min().map_or(Time::NEVER, |due| due.max(self.pause))
    }
}

/// Time at which a trap is sent, or sent again. Of traps due at one time the oldest is first in the queue.
fn due(trap: &Option<Trap>) -> Time {
    trap.as_ref().map_or(Time::NEVER, |trap| trap.due)
}
