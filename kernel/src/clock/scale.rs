//! Conversion between the ticks of two clocks.

/// Fixed-point factor, accurate to 1 in 2^31 for clocks between 1 MHz and 8 GHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

const FRACTION_BITS: u32 = 32;

impl Scale {
    /// Creates the factor that converts `from` ticks of one clock to `to` ticks of another, both counted over the same
    /// time. Returns `None` if `from` is 0 or the factor is 2^32 or more.
    #[must_use]
    pub fn new(from: u64, to: u64) -> Option<Self> {
        let factor = (u128::from(to) << FRACTION_BITS).checked_div(u128::from(from))?;
        u64::try_from(factor).ok().map(Self)
    }

    /// Converts a number of ticks; saturating.
    #[inline]
    #[must_use]
    pub fn convert(self, ticks: u64) -> u64 {
        let product = u128::from(ticks) * u128::from(self.0);
        u64::try_from(product >> FRACTION_BITS).unwrap_or(u64::MAX)
    }

    /// Converts a number of ticks; wrapping.
    #[inline]
    #[must_use]
    pub const fn convert_wrapping(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.0 as u128) >> FRACTION_BITS) as u64
    }

    /// Returns the factor as a 32.32 fixed-point number, for storage in an atomic.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Creates the factor from [`Self::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_of_ticks_converts_to_a_day() {
        const DAY: u64 = 86_400_000_000_000;
        for hertz in [1_000_000, 62_500_000, 1_000_000_000, 2_494_140_000, 7_999_999_999] {
            let scale = Scale::new(hertz, 1_000_000_000).unwrap();
            let ns = scale.convert(hertz * 86_400);
            assert!(ns.abs_diff(DAY) < DAY / (1 << 29), "{hertz} Hz: {ns}");
            assert_eq!(scale.convert_wrapping(hertz * 86_400), ns);
        }
    }

    #[test]
    fn extreme_factor_does_not_overflow() {
        assert_eq!(Scale::new(0, 1), None);
        assert_eq!(Scale::new(1, 1 << 32), None);
        assert_eq!(Scale::new(1, 1 << 31).unwrap().convert(u64::MAX), u64::MAX);
        assert_eq!(Scale::new(1, 2).unwrap().convert_wrapping(1 << 63 | 3), 6);
        assert_eq!(Scale::new(u64::MAX, 0).unwrap().convert(u64::MAX), 0);
    }

    #[test]
    fn conversion_is_monotonic() {
        let scale = Scale::new(2_494_140_000, 1_000_000_000).unwrap();
        let mut last = 0;
        for ticks in (u64::MAX / 2..).step_by(1).take(1000) {
            let ns = scale.convert(ticks);
            assert!(ns >= last);
            last = ns;
        }
    }
}
