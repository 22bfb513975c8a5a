//! Policy of a partition: the subnet management packets that it may send, and the start of the partition.
//!
//! Every value and default stands here once; host and hypervisor read it from here.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// Limits on the subnet management packets (SMPs) that leave an aliased queue pair 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// SMPs that the queue pair 0 may send.
    pub qp0: Qp0Policy,
    /// Reaction to an SMP that [`Self::qp0`] or a rate refuses.
    pub refused: RefusalPolicy,
    /// SMPs a second of the whole LHCA, traps not counted.
    pub smps_per_second: u32,
    /// Traps a second of each port. A subnet manager disables a port that repeats a trap too often.
    pub traps_per_second: u32,
}

impl Policy {
    /// SMPs a second of a partition that does not manage the subnet.
    pub const DEFAULT_SMPS_PER_SECOND: u32 = 2_000;
    /// SMPs a second of a subnet manager: its first sweep is a burst of some thousands.
    pub const DEFAULT_MANAGER_SMPS_PER_SECOND: u32 = 1_000_000;
    /// Traps a second of each port.
    pub const DEFAULT_TRAPS_PER_SECOND: u32 = 4;

    /// Returns the default limits of a partition whose queue pair 0 has the policy `qp0`.
    #[must_use]
    pub const fn new(qp0: Qp0Policy) -> Self {
        let smps_per_second = match qp0 {
            Qp0Policy::Closed | Qp0Policy::Query => Self::DEFAULT_SMPS_PER_SECOND,
            Qp0Policy::Manager => Self::DEFAULT_MANAGER_SMPS_PER_SECOND,
        };
        let traps_per_second = Self::DEFAULT_TRAPS_PER_SECOND;
        Self { qp0, refused: RefusalPolicy::Drop, smps_per_second, traps_per_second }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Qp0Policy::default())
    }
}

/// Defines choices that a byte of a row stands for.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $byte:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$value_doc])* $value = $byte,)*
        }

        impl $name {
            /// Every value, in the order of the bytes.
            pub const VALUES: &[Self] = &[$(Self::$value),*];

            /// Returns the value that `byte` of a row stands for.
            pub(crate) fn from_byte(byte: u8) -> Option<Self> {
                Self::VALUES.iter().copied().find(|value| *value as u8 == byte)
            }
        }
    )* };
}

choices! {
    /// SMPs that an aliased queue pair 0 may send.
    Qp0Policy {
        /// No SMP.
        #[default]
        Closed = 0,
        /// Get alone.
        Query = 1,
        /// Every SMP that a subnet manager sends.
        Manager = 2,
    }

    /// Reaction to an SMP that the policy refuses.
    RefusalPolicy {
        /// The hypervisor drops the SMP; its work request completes as refused.
        #[default]
        Drop = 0,
        /// The hypervisor answers a request with a status, as an agent that knows neither method nor attribute would,
        /// so that the sender's timeout does not run. It drops every other SMP.
        Answer = 1,
    }

    /// Start of a partition.
    Start {
        /// At boot.
        #[default]
        AtBoot = 0,
        /// At the command `start` on the control line.
        OnDemand = 1,
    }

    /// HCA that a partition drives by itself, beside its LHCA.
    AssignedHca {
        /// The partition drives no HCA.
        #[default]
        Absent = 0,
        /// The running partition drives one of the HCAs that begin at [`FIRST_HCA`](crate::FIRST_HCA).
        Present = 1,
    }
}

/// Defines the words for the values of a choice, in configurations and on the control line.
macro_rules! words {
    ($($name:ident { $($value:ident = $word:literal,)* })*) => { $(
        impl $name {
            /// Returns the word for this value.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                let found = Self::VALUES.iter().copied().find(|value| value.word() == text);
                found.ok_or(WordError { known: &[$($word),*] })
            }
        }
    )* };
}

words! {
    Qp0Policy {
        Closed = "none",
        Query = "query",
        Manager = "manager",
    }

    RefusalPolicy {
        Drop = "drop",
        Answer = "answer",
    }
}

/// A word that stands for no value of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown word; use one of {known:?}")]
pub struct WordError {
    known: &'static [&'static str],
}
