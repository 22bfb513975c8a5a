//! Names of images.

use core::fmt;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Name of an image: 1 to 32 lower-case letters, digits and dashes, zeros behind. The name of the fw_cfg file that
/// holds the image ends with it.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct ImageName([u8; ImageName::BYTES]);

/// Error for text that cannot name an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot name an image so: use 1 to 32 lower-case letters, digits and dashes")]
pub struct ImageNameError;

impl ImageName {
    const BYTES: usize = 32;

    /// Row entry of an LHCA without a partition; not a valid name.
    pub(crate) const ABSENT: Self = Self([0; Self::BYTES]);

    /// Folder of the fw_cfg files that hold images; the name follows.
    pub const FW_CFG_FOLDER: &str = "opt/org.portico/image/";

    /// Creates the name `text`.
    ///
    /// # Errors
    /// `text` cannot name an image.
    pub fn new(text: &str) -> Result<Self, ImageNameError> {
        let mut bytes = [0; Self::BYTES];
        bytes.get_mut(..text.len()).ok_or(ImageNameError)?.copy_from_slice(text.as_bytes());
        Self(bytes).check().map(|()| Self(bytes))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn text(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::BYTES);
        core::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }

    pub(crate) fn check(&self) -> Result<(), ImageNameError> {
        let length = self.text().len();
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let (name, rest) = self.0.split_at(length);
        if length > 0 && name.iter().all(plain) && rest.iter().all(|&byte| byte == 0) {
            Ok(())
        } else {
            Err(ImageNameError)
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl fmt::Debug for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}
