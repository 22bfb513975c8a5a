//! How busy a partition is: whoever rings again and again is watched instead, so that under load it need not ring at all.

use core::cell::Cell;

use subnet::Time;

/// A partition is watched once it rang so often in a row.
const RINGS: u8 = 32;
/// It rings in a row if it was never quiet for longer than this, in nanoseconds: if so long nothing was sent or received. And
/// it is not watched any more once it was looked at for longer, and had posted nothing. A host that runs the processors by
/// turns lets one of them wait for some tens of milliseconds.
const QUIET: u64 = 200_000_000;
/// From one look to the next no more than this counts, in nanoseconds: who looks may have had to wait as well, and what the
/// partition would have posted meanwhile nobody knows.
const LOOK: u64 = 1_000_000;
/// For so long, in nanoseconds, a partition that is not watched any more is watched again with its first ring.
const RECENT: u64 = 1_000_000_000;

/// How often a partition rings, or posts.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Rings in a row.
    rings: u8,
    /// When something was sent or received last.
    active: Cell<Time>,
    /// When it was looked at last.
    looked: Time,
    /// For how long it was looked at since it posted last.
    quiet: u64,
    is_watched: bool,
}

impl Pace {
    /// The partition rings. Whether it is to be watched from now on.
    pub(crate) fn rings(&mut self, now: Time) -> bool {
        let (last, gap) = if self.rings < RINGS { (self.active.get(), QUIET) } else { (self.looked, RECENT) };
        let in_a_row = now.0.saturating_sub(last.0) <= gap;
        self.rings = if in_a_row { self.rings.saturating_add(1) } else { 1 };
        self.posts(now);
        self.is_watched = self.rings >= RINGS;
        self.is_watched
    }

    fn posts(&mut self, now: Time) {
        self.active.set(now);
        self.looked = now;
        self.quiet = 0;
    }

    /// The partition received something.
    #[inline(always)]
    pub(crate) fn received(&self, now: Time) {
        self.active.set(now);
    }

    /// The partition, which is watched, is looked at, and had posted something, or not.
    pub(crate) fn seen(&mut self, now: Time, posted: bool) {
        if posted {
            return self.posts(now);
        }
        self.quiet += now.0.saturating_sub(self.looked.0).min(LOOK);
        self.looked = now;
        self.is_watched = self.quiet <= QUIET;
    }

    /// Whether its queues are looked at without its ringing.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that rings often enough to be watched, and when it did so last.
    fn watched() -> (Pace, u64) {
        let mut pace = Pace::default();
        let start = 7 * QUIET;
        for nth in 1..32 {
            assert!(!pace.rings(Time(start + nth * QUIET)));
        }
        assert!(pace.rings(Time(start + 32 * QUIET)));
        (pace, start + 32 * QUIET)
    }

    /// It is looked at every `step` nanoseconds until it is not watched any more: when, and after how many looks.
    fn quiet(pace: &mut Pace, since: u64, step: u64) -> (u64, u64) {
        let looks = (1..10_000_000).find(|nth| {
            pace.seen(Time(since + nth * step), false);
            !pace.is_watched()
        });
        looks.map(|looks| (since + looks * step, looks)).unwrap()
    }

    #[test]
    fn who_rings_in_a_row_is_watched_until_it_is_quiet() {
        let (mut pace, last) = watched();
        let posted = last + 3 * QUIET;
        pace.seen(Time(posted), true);
        let (end, _) = quiet(&mut pace, posted, 1_000);
        assert_eq!(end - posted, QUIET + 1_000);
        assert!(pace.rings(Time(end + RECENT)), "it was watched lately");
        let (end, _) = quiet(&mut pace, end + RECENT, 1_000);
        assert!(!pace.rings(Time(end + RECENT + 1)), "it begins anew");
    }

    #[test]
    fn who_could_not_look_has_seen_nobody_quiet() {
        let (mut pace, last) = watched();
        for nth in 1..=100 {
            pace.seen(Time(last + nth * RECENT), false);
        }
        assert!(pace.is_watched(), "a hundred looks are not many");
        pace.seen(Time(last + 101 * RECENT), true);
        let (_, looks) = quiet(&mut pace, last + 101 * RECENT, RECENT);
        assert_eq!(looks, QUIET / LOOK + 1, "looks count, however far apart");
    }

    #[test]
    fn who_posts_now_and_then_stays_watched() {
        let (mut pace, last) = watched();
        for nth in 1..100_000 {
            pace.seen(Time(last + nth * LOOK), nth % (QUIET / LOOK) == 0);
            assert!(pace.is_watched());
        }
    }

    #[test]
    fn who_rings_seldom_but_receives_all_the_time_is_watched() {
        let mut pace = Pace::default();
        let watched = (1..=32).map(|nth| {
            pace.received(Time((10 * nth - 1) * QUIET));
            pace.rings(Time(10 * nth * QUIET))
        });
        assert_eq!(watched.filter(|watched| *watched).count(), 1, "with the last ring");
    }

    #[test]
    fn who_rings_now_and_then_is_not_watched() {
        let mut pace = Pace::default();
        assert!((1..100).all(|nth| !pace.rings(Time(nth * (QUIET + 1)))));
    }
}
