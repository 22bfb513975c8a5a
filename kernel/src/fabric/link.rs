//! Conversion of a link's width and speed from the driver's types to the subnet's.

use core::fmt;

use hca_driver::Rate;
use iba::attr::LinkWidth;
use subnet::{Link, Speed};

/// Returns the link that runs at `rate`.
pub(super) fn to_subnet(rate: Rate) -> Link {
    let speed = match (rate.speed_ext, rate.speed) {
        (0, 1) => Speed::Sdr,
        (0, 2) => Speed::Ddr,
        (0, _) => Speed::Qdr,
        (1, _) => Speed::Fdr,
        (2, _) => Speed::Edr,
        _ => Speed::Hdr,
    };
    Link { width: LinkWidth::from_bits_retain(rate.width), speed }
}

/// Display form of a rate: lanes and speed of a lane, such as `4X 10.0 Gb/s`.
pub(super) struct RateText(pub(super) Rate);

impl fmt::Display for RateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = match self.0.width {
            1 => "1X",
            2 => "4X",
            4 => "8X",
            8 => "12X",
            _ => "2X",
        };
        let speed = match (self.0.speed_ext, self.0.speed) {
            (0, 1) => "2.5",
            (0, 2) => "5.0",
            (0, _) => "10.0",
            (1, _) => "14.0625",
            (2, _) => "25.78125",
            (4, _) => "53.125",
            _ => "106.25",
        };
        write!(f, "{width} {speed} Gb/s")
    }
}
