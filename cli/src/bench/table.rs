//! Comparison and median of figures.

use std::fmt::Display;

/// Compares `ours` with `theirs`, of which less is better: `2.0x slower`, `3.1x fewer`.
pub(super) fn compare(ours: f64, theirs: f64, more: impl Display, less: impl Display) -> String {
    let (factor, word): (f64, &dyn Display) =
        if ours > theirs { (ours / theirs, &more) } else { (theirs / ours, &less) };
    match format!("{factor:.1}x").as_str() {
        "1.0x" => "the same".into(),
        factor => format!("{factor} {word}"),
    }
}

/// Returns the median, the mean of the two in the middle for an even number; `None` without values.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(low.midpoint(*high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_has_factor_and_word() {
        assert_eq!(compare(10.0, 5.0, "slower", "faster"), "2.0x slower");
        assert_eq!(compare(138.0, 2001.0, "more", "fewer"), "14.5x fewer");
        assert_eq!(compare(100.0, 101.0, "more", "fewer"), "the same");
    }

    #[test]
    fn median_with_an_outlier_is_unchanged() {
        assert_eq!(median([1.0, 900.0, 3.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 2.0, 900.0]), Some(3.0));
        assert_eq!(median([]), None);
    }
}
