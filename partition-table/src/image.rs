//! Names of images.

use core::fmt;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The name of an image that a partition runs: up to 32 lower-case letters, digits and dashes, zeros behind. It is part of
/// the name of the fw_cfg file that holds the image.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct ImageName(pub(crate) [u8; ImageName::BYTES]);

/// Something is no image's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an image's name is up to 32 lower-case letters, digits and dashes")]
pub struct ImageNameError;

impl ImageName {
    pub(crate) const BYTES: usize = 32;

    /// Where the hypervisor finds images: this, and the name.
    pub const FW_CFG_FOLDER: &str = "opt/org.portico/image/";

    /// The name `text`.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn new(text: &str) -> Result<Self, ImageNameError> {
        let mut bytes = [0; Self::BYTES];
        bytes.get_mut(..text.len()).ok_or(ImageNameError)?.copy_from_slice(text.as_bytes());
        Self(bytes).check().map(|()| Self(bytes))
    }

    /// The name as text.
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
