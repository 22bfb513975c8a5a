//! Adaptive polling: the queues of a partition that notifies often are polled, so that under load it need not notify.

use core::cell::Cell;

use subnet::Time;

/// Number of notifications in a row after which a partition is polled.
const NOTIFICATIONS: u8 = 32;
/// Longest gap between notifications in a row, in nanoseconds, and the time without a request after which polling ends.
/// A host that shares its processors delays one of them by some tens of milliseconds.
const QUIET: u64 = 200_000_000;
/// Longest time between two polls that counts as quiet, in nanoseconds. The poller may have been delayed as well, and
/// what the partition would have posted meanwhile is unknown.
const MAX_POLL_GAP: u64 = 1_000_000;
/// Time after the end of polling, in nanoseconds, within which one notification starts it again.
const RECENT: u64 = 1_000_000_000;

/// Decision between notifications and polling for one partition.
#[derive(Debug, Default)]
pub(crate) struct AdaptivePolling {
    /// Notifications in a row.
    notifications: u8,
    /// Time of the last datagram that was sent or received.
    active: Cell<Time>,
    /// Time of the last poll.
    polled: Time,
    /// Nanoseconds of polling since the last request.
    quiet: u64,
    is_polled: bool,
}

impl AdaptivePolling {
    /// Notes a notification. Returns `true` if the partition must be polled from now on.
    pub(crate) fn note_notification(&mut self, now: Time) -> bool {
        let (last, gap) =
            if self.notifications < NOTIFICATIONS { (self.active.get(), QUIET) } else { (self.polled, RECENT) };
        let in_a_row = now.0.saturating_sub(last.0) <= gap;
        self.notifications = if in_a_row { self.notifications.saturating_add(1) } else { 1 };
        self.note_request(now);
        self.is_polled = self.notifications >= NOTIFICATIONS;
        self.is_polled
    }

    fn note_request(&mut self, now: Time) {
        self.active.set(now);
        self.polled = now;
        self.quiet = 0;
    }

    /// Notes a datagram that the partition received.
    #[inline(always)]
    pub(crate) fn note_received(&self, now: Time) {
        self.active.set(now);
    }

    /// Notes a poll of a polled partition, and whether it found requests.
    pub(crate) fn note_poll(&mut self, now: Time, has_requests: bool) {
        if has_requests {
            return self.note_request(now);
        }
        self.quiet += now.0.saturating_sub(self.polled.0).min(MAX_POLL_GAP);
        self.polled = now;
        self.is_polled = self.quiet <= QUIET;
    }

    /// Returns `true` if the partition's queues are polled.
    pub(crate) fn is_polled(&self) -> bool {
        self.is_polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a partition that has just become polled, and the time of its last notification.
    fn polled() -> (AdaptivePolling, u64) {
        let mut polling = AdaptivePolling::default();
        let start = 7 * QUIET;
        for nth in 1..32 {
            assert!(!polling.note_notification(Time(start + nth * QUIET)));
        }
        assert!(polling.note_notification(Time(start + 32 * QUIET)));
        (polling, start + 32 * QUIET)
    }

    /// Polls every `step` nanoseconds until polling ends. Returns the time of the end and the number of polls.
    fn poll_until_end(polling: &mut AdaptivePolling, since: u64, step: u64) -> (u64, u64) {
        let polls = (1..10_000_000).find(|nth| {
            polling.note_poll(Time(since + nth * step), false);
            !polling.is_polled()
        });
        polls.map(|polls| (since + polls * step, polls)).unwrap()
    }

    #[test]
    fn partition_that_notifies_in_a_row_is_polled_until_quiet() {
        let (mut polling, last) = polled();
        let posted = last + 3 * QUIET;
        polling.note_poll(Time(posted), true);
        let (end, _) = poll_until_end(&mut polling, posted, 1_000);
        assert_eq!(end - posted, QUIET + 1_000);
        assert!(polling.note_notification(Time(end + RECENT)), "it was polled lately");
        let (end, _) = poll_until_end(&mut polling, end + RECENT, 1_000);
        assert!(!polling.note_notification(Time(end + RECENT + 1)), "the count starts again");
    }

    #[test]
    fn delayed_poller_does_not_end_polling() {
        let (mut polling, last) = polled();
        for nth in 1..=100 {
            polling.note_poll(Time(last + nth * RECENT), false);
        }
        assert!(polling.is_polled(), "a hundred polls are few");
        polling.note_poll(Time(last + 101 * RECENT), true);
        let (_, polls) = poll_until_end(&mut polling, last + 101 * RECENT, RECENT);
        assert_eq!(polls, QUIET / MAX_POLL_GAP + 1, "polls count, however far apart");
    }

    #[test]
    fn partition_that_posts_now_and_then_stays_polled() {
        let (mut polling, last) = polled();
        for nth in 1..100_000 {
            polling.note_poll(Time(last + nth * MAX_POLL_GAP), nth % (QUIET / MAX_POLL_GAP) == 0);
            assert!(polling.is_polled());
        }
    }

    #[test]
    fn partition_that_notifies_seldom_but_receives_often_is_polled() {
        let mut polling = AdaptivePolling::default();
        let polled = (1..=32).map(|nth| {
            polling.note_received(Time((10 * nth - 1) * QUIET));
            polling.note_notification(Time(10 * nth * QUIET))
        });
        assert_eq!(polled.filter(|polled| *polled).count(), 1, "with the last notification");
    }

    #[test]
    fn partition_that_notifies_now_and_then_is_not_polled() {
        let mut polling = AdaptivePolling::default();
        assert!((1..100).all(|nth| !polling.note_notification(Time(nth * (QUIET + 1)))));
    }
}
