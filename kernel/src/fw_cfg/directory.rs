//! Formats of the device (QEMU, `docs/specs/fw_cfg.rst`). Numbers are big-endian unless noted.

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Selector of an item of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector(pub u16);

impl Selector {
    /// Signature: the four bytes "QEMU".
    pub const SIGNATURE: Self = Self(0x00);
    /// Features of the device as little-endian flags; bit 1 is the DMA interface.
    pub const FEATURES: Self = Self(0x01);
    /// Number of processors that the machine starts with, little-endian 16 bits.
    pub const PROCESSORS: Self = Self(0x05);
    /// Directory of files: the number of entries in 32 bits, and the entries.
    pub const DIRECTORY: Self = Self(0x19);
}

/// File, as the directory lists it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct File {
    size: U32,
    selector: U16,
    reserved: U16,
    name: [u8; 56],
}

const _: () = assert!(size_of::<File>() == 64);

impl File {
    /// Returns the length in bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size.get()
    }

    /// Returns the selector of the contents.
    #[must_use]
    pub fn selector(&self) -> Selector {
        Selector(self.selector.get())
    }

    /// Returns `true` if the file has this name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        self.name[..end] == *name.as_bytes()
    }
}

/// Request to the DMA interface. The device clears `control` on completion, or sets it to [`Request::ERROR`].
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Request {
    pub(super) control: U32,
    length: U32,
    address: U64,
}

impl Request {
    pub(super) const ERROR: u32 = 1 << 0;
    const READ: u32 = 1 << 1;
    const SELECT: u32 = 1 << 3;

    /// Creates a request that reads `length` bytes to memory at `address`: from the start of the selected item, or
    /// without a selector from the current position.
    pub(super) fn read(selector: Option<Selector>, length: u32, address: u64) -> Self {
        let select = selector.map_or(0, |Selector(item)| Self::SELECT | u32::from(item) << 16);
        Self { control: U32::new(Self::READ | select), length: U32::new(length), address: U64::new(address) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&[0, 0, 1, 2, 0, 0x2a, 0, 0]);
        bytes[8..8 + name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn directory_entry_is_big_endian() {
        let bytes = entry(b"etc/e820");
        let file = File::ref_from_bytes(&bytes).unwrap();
        assert_eq!((file.size(), file.selector()), (0x102, Selector(0x2a)));
        assert!(file.is_named("etc/e820"));
        assert!(!file.is_named("etc/e82"));
        assert!(!file.is_named("etc/e8200"));
    }

    #[test]
    fn name_without_nul_is_compared_whole() {
        let bytes = entry(&[b'x'; 56]);
        let file = File::ref_from_bytes(&bytes).unwrap();
        assert!(file.is_named(&"x".repeat(56)));
        assert!(!file.is_named(&"x".repeat(55)));
    }

    #[test]
    fn request_is_encoded_big_endian() {
        let request = Request::read(Some(Selector::DIRECTORY), 64, 0x1234_5678_9abc);
        let expected = [0, 0x19, 0, 0x0a, 0, 0, 0, 64, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
        assert_eq!(request.as_bytes(), expected);
        assert_eq!(Request::read(None, 1, 0).as_bytes()[..4], [0, 0, 0, 2], "reads on where it was");
    }
}
