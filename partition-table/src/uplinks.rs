//! Placement of an LHCA's ports on the physical ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::MAX_UPLINKS;

/// Physical ports at which an LHCA has a port: a set of uplinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Uplinks(u8);

impl Uplinks {
    /// Physical port 1 only.
    pub const FIRST: Self = Self(1);
    /// Physical port 2 only.
    pub const SECOND: Self = Self(2);
    /// One port on each.
    pub const BOTH: Self = Self(3);

    /// Returns `true` if there is a port on `uplink` (0-based).
    #[must_use]
    pub const fn has(self, uplink: usize) -> bool {
        uplink < MAX_UPLINKS && self.0 & 1 << uplink != 0
    }

    /// Returns the uplinks (0-based), in the order of the LHCA's ports 1 and 2.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_UPLINKS).filter(move |&uplink| self.has(uplink))
    }

    /// Returns the byte that stands for the set in a row.
    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// Returns `true` if the set is neither empty nor has an uplink that no HCA has.
    pub(crate) const fn is_valid(self) -> bool {
        self.0 != 0 && self.0 <= Self::BOTH.0
    }
}
