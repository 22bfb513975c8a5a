//! Places of ports at logical switches.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// Port of a logical switch, written `UPLINK/PORT`. Without `UPLINK/` it is a port of uplink 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the uplink that the logical switch is behind, from 1.
    pub uplink: u8,
    /// Number of the port, from 1; port 1 is the uplink's own link.
    pub port: u8,
}

/// Error for text that cannot name a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot read a port: give PORT or UPLINK/PORT as `list` shows it")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (uplink, port) = text.split_once('/').unwrap_or(("1", text));
        match (uplink.parse(), port.parse()) {
            (Ok(uplink), Ok(port)) => Ok(Self { uplink, port }),
            _ => Err(PlaceError),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uplink, self.port)
    }
}
