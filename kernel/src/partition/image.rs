//! Images: ELF files whose segments are loaded into a partition's memory.

use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;

/// The lowest address that an image may use: below are the page tables and the information page.
pub const IMAGE_MIN: u64 = 1 << 20;

/// An image, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Entry point.
    pub entry: u64,
    /// Segments to load.
    pub segments: Vec<Segment<'a>>,
}

/// A piece of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its address in the partition.
    pub address: u64,
    /// Its size in bytes; what the bytes do not fill is zeros.
    pub size: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Reason for which a file cannot be used as an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file is not in the ELF format, or damaged.
    #[error("cannot read the image: it is not an ELF file, or damaged")]
    Format,
    /// The file is for another machine, or not linked to fixed addresses.
    #[error("cannot use the image: it is not a static x86-64 executable; link it with -C relocation-model=static")]
    Kind,
    /// A segment or the entry lies outside of the partition's memory.
    #[error(
        "cannot load the image: its address {0:#x} is outside of 1 MiB to the partition's memory size; give it more"
    )]
    Address(u64),
}

impl<'a> Image<'a> {
    /// Parses an ELF file, for a partition with `memory` bytes.
    ///
    /// # Errors
    /// An [`ImageError`].
    pub fn elf(file: &'a [u8], memory: u64) -> Result<Self, ImageError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ImageError::Format)?;
        let header = &elf.ehdr;
        if header.class != Class::ELF64 || header.e_machine != EM_X86_64 || header.e_type != ET_EXEC {
            return Err(ImageError::Kind);
        }
        let mut segments = Vec::new();
        for program in elf.segments().ok_or(ImageError::Format)?.iter().filter(|program| program.p_type == PT_LOAD) {
            let bytes = elf.segment_data(&program).map_err(|_| ImageError::Format)?;
            if bytes.len() as u64 > program.p_memsz {
                return Err(ImageError::Format);
            }
            segments.push(Segment { address: program.p_paddr, size: program.p_memsz, bytes });
        }
        Self { entry: header.e_entry, segments }.checked(memory)
    }

    /// The image that is `bytes` at `address`, begun at its first byte.
    ///
    /// # Errors
    /// [`ImageError::Address`] if it does not fit.
    pub fn flat(bytes: &'a [u8], address: u64, memory: u64) -> Result<Self, ImageError> {
        let segment = Segment { address, size: bytes.len() as u64, bytes };
        Self { entry: address, segments: Vec::from([segment]) }.checked(memory)
    }

    fn checked(self, memory: u64) -> Result<Self, ImageError> {
        for segment in &self.segments {
            let end = segment.address.checked_add(segment.size);
            if segment.address < IMAGE_MIN || end.is_none_or(|end| end > memory) {
                return Err(ImageError::Address(segment.address));
            }
        }
        let inside = |segment: &Segment<'_>| (segment.address..segment.address + segment.size).contains(&self.entry);
        if self.segments.iter().any(inside) { Ok(self) } else { Err(ImageError::Address(self.entry)) }
    }

    /// Where it begins and ends in the partition's memory.
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        let start = self.segments.iter().map(|segment| segment.address).min().unwrap_or(IMAGE_MIN);
        let end = self.segments.iter().map(|segment| segment.address + segment.size).max().unwrap_or(IMAGE_MIN);
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: u64 = 8 << 20;

    /// An ELF file with one segment: two bytes of code, and a page altogether, at 2 MiB.
    fn file() -> Vec<u8> {
        let mut file = vec![0_u8; 0x1002];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01");
        put(0x10, &[2, 0, 62, 0, 1, 0, 0, 0]);
        put(0x18, &0x20_0000_u64.to_le_bytes());
        put(0x20, &64_u64.to_le_bytes());
        put(0x34, &[64, 0, 56, 0, 1, 0, 64, 0]);
        put(64, &[1, 0, 0, 0, 5, 0, 0, 0]);
        for (nth, field) in [0x1000_u64, 0x20_0000, 0x20_0000, 2, 0x1000, 0x1000].into_iter().enumerate() {
            put(72 + 8 * nth, &field.to_le_bytes());
        }
        put(0x1000, &[0xeb, 0xfe]);
        file
    }

    #[test]
    fn segments_are_read() {
        let file = file();
        let image = Image::elf(&file, MEMORY).unwrap();
        let segment = Segment { address: 0x20_0000, size: 0x1000, bytes: &[0xeb, 0xfe] };
        assert_eq!(image, Image { entry: 0x20_0000, segments: vec![segment] });
        assert_eq!(image.extent(), (0x20_0000, 0x20_1000));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut file = file();
        assert_eq!(Image::elf(&file, 0x20_0fff), Err(ImageError::Address(0x20_0000)));
        file[0x18..0x20].copy_from_slice(&0x20_1000_u64.to_le_bytes());
        assert_eq!(Image::elf(&file, MEMORY), Err(ImageError::Address(0x20_1000)), "the entry");
        file[0x10] = 3;
        assert_eq!(Image::elf(&file, MEMORY), Err(ImageError::Kind));
        assert_eq!(Image::elf(&file[..0x1001], MEMORY), Err(ImageError::Kind));
        assert_eq!(Image::elf(b"", MEMORY), Err(ImageError::Format));
        assert_eq!(Image::flat(&[0; 2], u64::MAX, MEMORY), Err(ImageError::Address(u64::MAX)));
        assert_eq!(Image::flat(&[0; 2], IMAGE_MIN - 1, MEMORY), Err(ImageError::Address(IMAGE_MIN - 1)));
        assert_eq!(Image::flat(&[], IMAGE_MIN, MEMORY), Err(ImageError::Address(IMAGE_MIN)));
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_refused_or_fits(at in 0_usize..0x80, byte in any::<u8>(), cut in 0_usize..0x1003) {
            let mut file = file();
            file[at] = byte;
            if let Ok(image) = Image::elf(&file[..cut.min(file.len())], MEMORY) {
                let (start, end) = image.extent();
                prop_assert!(start >= IMAGE_MIN && end <= MEMORY && (start..end).contains(&image.entry));
            }
        }
    }
}
