//! Packing of an ELF file.
#![allow(clippy::cast_possible_truncation)] // all addresses of a flash image lie below 4 GiB

use alloc::vec;
use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

use crate::{
    ENTRY, SEGMENT_FLASH, SEGMENT_FLASH_SIZE, SEGMENT_MEMORY, SEGMENT_MEMORY_SIZE, SEGMENT_SIZE, STUB_ADDRESS,
    STUB_SIZE,
};

/// Name of the ELF file's section with the stub.
const SECTION: &str = ".rom";
/// Granule of an image's size in bytes, as QEMU requires it.
const GRANULE: usize = 64 << 10;
/// Size of an image at most, as QEMU maps it, in bytes.
const MAX_IMAGE: usize = 16 << 20;

/// Error for a kernel that cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RomError {
    /// The file is not an ELF file or is damaged.
    #[error("cannot pack the kernel: the file is not an ELF file or is damaged")]
    Format,
    /// The file has no stub.
    #[error(
        "cannot pack the kernel: it has no section {SECTION} of {STUB_SIZE} bytes; use the kernel as built, not stripped"
    )]
    NoStub,
    /// A segment lies at or above 4 GiB, or the segments exceed the table or the image.
    #[error("cannot pack the kernel: its segments do not fit in a flash image of {MAX_IMAGE} bytes")]
    TooLarge,
}

/// Packs the kernel of an ELF file into a flash image.
///
/// # Errors
/// [`RomError`] is the rule that the file breaks.
pub fn pack(file: &[u8]) -> Result<Vec<u8>, RomError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| RomError::Format)?;
    let mut stub = stub(&elf)?;
    let segments = elf.segments().ok_or(RomError::Format)?;
    let mut bytes = Vec::new();
    let mut table = Vec::new();
    for program in segments.iter().filter(|program| program.p_type == PT_LOAD && program.p_memsz > 0) {
        let data = elf.segment_data(&program).map_err(|_| RomError::Format)?;
        table.push((bytes.len(), data.len().next_multiple_of(4), program.p_paddr, program.p_memsz));
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    if (table.len() + 1) * SEGMENT_SIZE > ENTRY || bytes.len() > MAX_IMAGE - STUB_SIZE {
        return Err(RomError::TooLarge);
    }
    let start = STUB_ADDRESS - bytes.len() as u32;
    for (row, (offset, length, address, size)) in stub.chunks_exact_mut(SEGMENT_SIZE).zip(&table) {
        let address = u32::try_from(*address).map_err(|_| RomError::TooLarge)?;
        let size = u32::try_from(size.next_multiple_of(4)).map_err(|_| RomError::TooLarge)?;
        let fields = [
            (SEGMENT_FLASH, start + *offset as u32),
            (SEGMENT_MEMORY, address),
            (SEGMENT_FLASH_SIZE, *length as u32),
            (SEGMENT_MEMORY_SIZE, size),
        ];
        for (field, word) in fields {
            row[field..field + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    let entry = u32::try_from(elf.ehdr.e_entry).map_err(|_| RomError::TooLarge)?;
    stub[ENTRY..ENTRY + 4].copy_from_slice(&entry.to_le_bytes());
    let mut image = vec![0xff; (bytes.len() + STUB_SIZE).next_multiple_of(GRANULE) - STUB_SIZE - bytes.len()];
    image.append(&mut bytes);
    image.append(&mut stub);
    Ok(image)
}

/// Returns the contents of the section with the stub.
fn stub(elf: &ElfBytes<'_, LittleEndian>) -> Result<Vec<u8>, RomError> {
    let header = elf.section_header_by_name(SECTION).map_err(|_| RomError::Format)?.ok_or(RomError::NoStub)?;
    let (data, _) = elf.section_data(&header).map_err(|_| RomError::Format)?;
    if data.len() == STUB_SIZE { Ok(data.to_vec()) } else { Err(RomError::NoStub) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_a_stub_is_refused() {
        assert_eq!(pack(b"no ELF file"), Err(RomError::Format));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(pack(&own), Err(RomError::NoStub));
    }
}
