//! Values of records and requests.

use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

/// Declares an enum of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const VARIANTS: &[Self] = &[$(Self::$variant),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownWord),
                }
            }
        }
    };
}

/// Declares a 64-bit number in 16 hexadecimal digits after `0x`.
macro_rules! hexadecimal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#018x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u64::from_str_radix(text.strip_prefix("0x").unwrap_or_default(), 16).map(Self)
            }
        }
    };
}

words! {
    /// State of an LHCA's partition.
    PartitionState {
        /// The LHCA has no partition.
        Absent = "none",
        /// The partition has not started, was stopped, or could not start.
        Stopped = "stopped",
        /// The partition runs.
        Running = "running",
        /// The partition ended by itself or by a fault.
        Ended = "ended",
    }
}

words! {
    /// State of a port (IBA vol. 1, 14.2.5.6, PortState).
    PortState {
        /// The link is down.
        Down = "Down",
        /// The port waits for an SM.
        Init = "Init",
        /// The SM has configured the port and has not activated it.
        Armed = "Armed",
        /// The port carries data.
        Active = "Active",
    }
}

words! {
    /// State of a physical link.
    LinkStatus {
        /// The link is trained.
        Up = "up",
        /// The link has no partner or is disabled.
        Down = "down",
    }
}

words! {
    /// State of the cable of a logical port.
    Cable {
        /// The cable is plugged.
        In = "in",
        /// The cable is unplugged.
        Out = "out",
    }
}

hexadecimal! {
    /// GUID, in host byte order.
    Guid
}

hexadecimal! {
    /// CRC-64/XZ of a partition's memory.
    Checksum
}

/// Error for a word that the grammar does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;
