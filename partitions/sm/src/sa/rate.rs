//! Rates of links, as paths and groups encode them.

use iba::attr::{LinkSpeed, LinkSpeedExt, LinkWidth, PortInfo};

/// A rate by its code (IBA vol. 1, 9.11, table of IPD; 15.2.5.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u8);

/// Codes for one, two, four, eight and twelve lanes, of each speed from SDR to HDR.
const CODES: [[u8; 6]; 5] = [
    [2, 5, 3, 11, 15, 20],
    [5, 3, 6, 19, 20, 16],
    [3, 6, 7, 12, 16, 17],
    [6, 7, 9, 13, 17, 21],
    [4, 8, 10, 14, 18, 22],
];

/// Gb/s of each code, from 2 on, doubled.
const DOUBLE_GBPS: [u16; 21] =
    [5, 20, 60, 10, 40, 80, 120, 160, 240, 28, 112, 224, 336, 50, 200, 400, 600, 56, 100, 800, 1200];

impl Rate {
    /// The rate of a port's link.
    pub(crate) fn of(info: &PortInfo) -> Self {
        let width = match info.link_width_active {
            LinkWidth::X1 => 0,
            LinkWidth::X2 => 1,
            LinkWidth::X8 => 3,
            LinkWidth::X12 => 4,
            _ => 2,
        };
        let speed = match (info.link_speed_ext_active(), info.link_speed_active()) {
            (LinkSpeedExt::FDR, _) => 3,
            (LinkSpeedExt::EDR, _) => 4,
            (LinkSpeedExt::HDR, _) => 5,
            (_, LinkSpeed::QDR) => 2,
            (_, LinkSpeed::DDR) => 1,
            _ => 0,
        };
        Self(CODES[width][speed])
    }

    /// All rates that there are.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (2_u8..).take(DOUBLE_GBPS.len()).map(Self)
    }

    /// Twice as much as the Gb/s that the rate is known by; codes are in no order.
    pub(crate) fn double_gbps(self) -> u16 {
        let index = usize::from(self.0).checked_sub(2);
        index.and_then(|index| DOUBLE_GBPS.get(index)).copied().unwrap_or(0)
    }

    /// The lower of two rates.
    pub(crate) fn min(self, other: Self) -> Self {
        if other.double_gbps() < self.double_gbps() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_as_many_lanes_as_fast_as_they_are() {
        // Lanes, and twice the Gb/s of a lane; FDR counts as 14, EDR as 25 and HDR as 50.
        for (lanes, row) in [1, 2, 4, 8, 12].into_iter().zip(CODES) {
            for (lane, code) in [5, 10, 20, 28, 50, 100].into_iter().zip(row) {
                assert_eq!(Rate(code).double_gbps(), lanes * lane, "{lanes} lanes of {lane}");
            }
        }
    }
}
