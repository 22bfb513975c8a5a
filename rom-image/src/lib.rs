//! The kernel as a flash image, for `qemu -bios` or a board's flash chip, which is mapped so that it ends at 4 GiB.
//!
//! | what | where |
//! |---|---|
//! | ones, as an erased chip has | at the start, up to a multiple of 64 KiB altogether |
//! | the segments' bytes | each at a multiple of 4 |
//! | the stub, from the ELF file's section `.rom` | the last page |
//!
//! The stub's page begins with a table of segments, four little-endian 32-bit words each: address in flash, address in
//! memory, bytes in flash, bytes in memory; one with 0 bytes in memory ends it. At [`ENTRY`] is the kernel's entry.
#![cfg_attr(not(test), no_std)]
#![allow(clippy::cast_possible_truncation)] // all addresses of a flash image lie below 4 GiB

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

/// Where the stub's page is.
pub const ADDRESS: u32 = 0xffff_f000;
/// The size of the stub.
pub const SIZE: usize = 0x1000;
/// From one segment of the table to the next.
pub const SEGMENT: usize = 16;
/// Offset of the kernel's entry, a 32-bit word, in the stub.
pub const ENTRY: usize = 0x7fc;
/// Offset of the code in the stub.
pub const CODE: usize = 0x800;
/// Offset of the reset vector in the stub (APM vol. 2, 14.1.5).
pub const RESET_VECTOR: usize = 0xff0;

/// The ELF file's section with the stub.
const SECTION: &str = ".rom";
/// QEMU wants a multiple of this.
const GRANULE: usize = 64 << 10;
/// The largest image that QEMU maps.
const MAX_IMAGE: usize = 16 << 20;

/// Why no image could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RomError {
    /// It is no ELF file, or a damaged one.
    #[error("the kernel is no ELF file, or a damaged one")]
    Format,
    /// It has no stub.
    #[error("the kernel has no section {SECTION} of {SIZE} bytes: it is another kernel, or was stripped")]
    NoStub,
    /// A segment lies at or above 4 GiB, or there are too many, or they are too large.
    #[error("the kernel's segments do not fit into a flash image of at most {MAX_IMAGE} bytes")]
    TooLarge,
}

/// Packs the kernel in this ELF file.
///
/// # Errors
/// A [`RomError`].
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
    if (table.len() + 1) * SEGMENT > ENTRY || bytes.len() > MAX_IMAGE - SIZE {
        return Err(RomError::TooLarge);
    }
    let start = ADDRESS - bytes.len() as u32;
    for (row, (offset, length, address, size)) in stub.chunks_exact_mut(SEGMENT).zip(&table) {
        let address = u32::try_from(*address).map_err(|_| RomError::TooLarge)?;
        let size = u32::try_from(size.next_multiple_of(4)).map_err(|_| RomError::TooLarge)?;
        let words = [start + *offset as u32, address, *length as u32, size];
        for (field, word) in row.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
    }
    let entry = u32::try_from(elf.ehdr.e_entry).map_err(|_| RomError::TooLarge)?;
    stub[ENTRY..ENTRY + 4].copy_from_slice(&entry.to_le_bytes());
    let mut image = vec![0xff; (bytes.len() + SIZE).next_multiple_of(GRANULE) - SIZE - bytes.len()];
    image.append(&mut bytes);
    image.append(&mut stub);
    Ok(image)
}

fn stub(elf: &ElfBytes<'_, LittleEndian>) -> Result<Vec<u8>, RomError> {
    let header = elf.section_header_by_name(SECTION).map_err(|_| RomError::Format)?.ok_or(RomError::NoStub)?;
    let (data, _) = elf.section_data(&header).map_err(|_| RomError::Format)?;
    if data.len() == SIZE { Ok(data.to_vec()) } else { Err(RomError::NoStub) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert_eq!(pack(b"no ELF file"), Err(RomError::Format));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(pack(&own), Err(RomError::NoStub));
    }
}
