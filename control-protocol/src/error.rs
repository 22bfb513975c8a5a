//! Error for lines outside the grammar.

use thiserror::Error;

/// Error for a line that is neither a record nor an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot read the answer {0:?}: use a client and a hypervisor of one version")]
pub struct UnknownLine<'a>(pub &'a str);
