//! How busy a partition is: whoever rings again and again is watched instead, so that under load it need not ring at all.

use core::cell::Cell;

use subnet::Time;

/// A partition is watched once it rang so often in a row.
const RINGS: u8 = 32;
/// It rings in a row if nothing was sent or received for no longer than this, in nanoseconds.
const GAP: u64 = 10_000_000;
/// It is not watched any more once it posted nothing for so long, in nanoseconds: longer than a host that runs the
/// processors by turns lets one of them wait.
const QUIET: u64 = 20_000_000;
/// For so long, in nanoseconds, a partition that was watched is watched again with its first ring.
const RECENT: u64 = 1_000_000_000;

/// How often a partition rings, or posts.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Rings in a row.
    rings: u8,
    /// When something was sent or received last.
    active: Cell<Time>,
    /// When it posted last.
    posted: Time,
    is_watched: bool,
}

impl Pace {
    /// The partition rings. Whether it is to be watched from now on.
    pub(crate) fn rings(&mut self, now: Time) -> bool {
        let gap = if self.rings < RINGS { GAP } else { RECENT };
        let in_a_row = now.0.saturating_sub(self.active.get().0) <= gap;
        self.rings = if in_a_row { self.rings.saturating_add(1) } else { 1 };
        self.active.set(now);
        self.posted = now;
        self.is_watched = self.rings >= RINGS;
        self.is_watched
    }

    /// The partition received something.
    #[inline(always)]
    pub(crate) fn received(&self, now: Time) {
        self.active.set(now);
    }

    /// The partition is watched, and had posted something, or not.
    pub(crate) fn seen(&mut self, now: Time, posted: bool) {
        if posted {
            self.active.set(now);
            self.posted = now;
        } else if now.0.saturating_sub(self.posted.0) > QUIET {
            self.is_watched = false;
        }
    }

    /// Whether its queues are looked at without its ringing.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rings_in_a_row_is_watched_until_it_is_quiet() {
        let mut pace = Pace::default();
        let start = 7 * QUIET;
        for nth in 1..32 {
            assert!(!pace.rings(Time(start + nth * GAP)));
        }
        assert!(pace.rings(Time(start + 32 * GAP)));
        let last = start + 40 * GAP;
        pace.seen(Time(last), true);
        pace.seen(Time(last + QUIET), false);
        assert!(pace.is_watched());
        pace.seen(Time(last + QUIET + 1), false);
        assert!(!pace.is_watched());
        assert!(pace.rings(Time(last + RECENT)), "it was watched lately");
        pace.seen(Time(last + RECENT + QUIET + 1), false);
        assert!(!pace.rings(Time(last + 2 * RECENT + 1)), "it begins anew");
    }

    #[test]
    fn who_rings_seldom_but_receives_all_the_time_is_watched() {
        let mut pace = Pace::default();
        let watched = (1..=32).map(|nth| {
            pace.received(Time((10 * nth - 1) * GAP));
            pace.rings(Time(10 * nth * GAP))
        });
        assert_eq!(watched.filter(|watched| *watched).count(), 1, "with the last ring");
    }

    #[test]
    fn who_rings_now_and_then_is_not_watched() {
        let mut pace = Pace::default();
        assert!((1..100).all(|nth| !pace.rings(Time(nth * (GAP + 1)))));
    }
}
