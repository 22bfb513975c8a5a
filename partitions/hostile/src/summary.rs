//! Outcome.

use core::fmt;

use lhca_contract::Status;

/// Number of calls by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    statuses: [u32; 11],
    unknown: u32,
}

impl Summary {
    /// Counts an answer.
    pub fn count(&mut self, status: Status) {
        let place = usize::try_from(status.0).ok().and_then(|place| self.statuses.get_mut(place));
        *place.unwrap_or(&mut self.unknown) += 1;
    }

    /// Returns the number of calls with `status`.
    #[must_use]
    pub fn of(&self, status: Status) -> u32 {
        usize::try_from(status.0).ok().and_then(|place| self.statuses.get(place)).copied().unwrap_or(self.unknown)
    }

    /// All that was counted.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.statuses.iter().sum::<u32>() + self.unknown
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.total())?;
        for (status, &count) in (0..).map(Status).zip(&self.statuses).filter(|&(_, &count)| count > 0) {
            write!(f, ", {count} {status:?}")?;
        }
        if self.unknown > 0 {
            write!(f, ", {} answered in no known way", self.unknown)?;
        }
        Ok(())
    }
}
