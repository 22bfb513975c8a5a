//! Time, as the caller tells it.

use core::time::Duration;

/// A moment on the caller's monotonic clock, in nanoseconds since a beginning that the caller chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `duration` after this one, or [`Time::NEVER`] where the clock ends before it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        u64::try_from(duration.as_nanos()).map_or(Self::NEVER, |nanos| Self(self.0.saturating_add(nanos)))
    }

    /// Returns the time since `earlier`; zero if this moment is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// 4.096 us x 2^`exponent`, the specification's way to write times; only the lower five bits count.
#[must_use]
pub(crate) fn exponential(exponent: u8) -> Duration {
    Duration::from_nanos(4096 << (exponent & 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_saturates() {
        assert_eq!(Time(1).after(Duration::from_nanos(2)), Time(3));
        assert_eq!(Time(u64::MAX - 1).after(Duration::from_secs(1)), Time::NEVER);
        assert_eq!(Time(1).after(Duration::MAX), Time::NEVER);
        assert_eq!(Time(1).since(Time(3)), Duration::ZERO);
    }

    #[test]
    fn exponents_give_the_times_of_the_specification() {
        assert_eq!(exponential(0), Duration::from_nanos(4096));
        assert_eq!(exponential(18), Duration::from_nanos(1_073_741_824)); // OpenSM's subnet timeout: 1.07 s
        assert_eq!(exponential(31), Duration::from_nanos(4096 << 31));
    }
}
