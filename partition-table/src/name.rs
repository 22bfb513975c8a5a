//! Names, in the form of a NodeDescription.

use core::fmt;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Name in the form of a NodeDescription (IBA vol. 1, 14.2.5.2): 1 to 64 bytes of UTF-8 without control characters,
/// zeros behind. Safe to print on a terminal.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Name([u8; 64]);

/// Reason why text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("cannot use an empty name: give 1 to 64 bytes")]
    Empty,
    /// The text exceeds a NodeDescription.
    #[error("cannot use a name of {0} bytes: a NodeDescription takes 64")]
    TooLong(usize),
    /// The text is not UTF-8, has control characters, or has bytes other than 0 behind its end.
    #[error("cannot use the name: it is not plain UTF-8 text; remove control characters")]
    NotText,
}

impl Name {
    /// Creates the name `text`.
    ///
    /// # Errors
    /// [`NameError`] is the rule that `text` breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 64];
        bytes.get_mut(..text.len()).ok_or(NameError::TooLong(text.len()))?.copy_from_slice(text.as_bytes());
        let name = Self(bytes);
        name.check()?;
        Ok(name)
    }

    /// Returns the bytes of the NodeDescription.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Returns the name as text.
    #[must_use]
    pub fn text(&self) -> &str {
        core::str::from_utf8(self.trimmed()).unwrap_or("?")
    }

    pub(crate) fn check(&self) -> Result<(), NameError> {
        let text = core::str::from_utf8(self.trimmed()).map_err(|_| NameError::NotText)?;
        match text {
            "" => Err(NameError::Empty),
            _ if text.chars().any(char::is_control) => Err(NameError::NotText),
            _ => Ok(()),
        }
    }

    fn trimmed(&self) -> &[u8] {
        let end = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        &self.0[..end]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}
