//! Names, in the form of a NodeDescription.

use core::fmt;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A name as a NodeDescription holds it (IBA vol. 1, 14.2.5.2): up to 64 bytes of UTF-8, zeros behind. Neither empty nor
/// with control characters, so that it can be shown anywhere.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Name([u8; 64]);

/// Why something is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("a name is empty")]
    Empty,
    /// More than a NodeDescription holds.
    #[error("a name has {0} bytes, and a NodeDescription takes 64")]
    TooLong(usize),
    /// Not UTF-8, or with control characters, or with something behind its end.
    #[error("a name is not plain UTF-8 text with zeros behind")]
    NotText,
}

impl Name {
    /// The name `text`.
    ///
    /// # Errors
    /// [`NameError`] says why `text` cannot be one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 64];
        bytes.get_mut(..text.len()).ok_or(NameError::TooLong(text.len()))?.copy_from_slice(text.as_bytes());
        let name = Self(bytes);
        name.check()?;
        Ok(name)
    }

    /// The name as a NodeDescription's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The name as text.
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
