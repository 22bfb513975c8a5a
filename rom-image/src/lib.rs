//! Layout of the kernel's flash image, for `qemu -bios` or a board's flash chip. The image ends at 4 GiB.
//!
//! | part | address |
//! |---|---|
//! | padding, 0xff as in an erased chip | start of the image, up to a multiple of 64 KiB in total |
//! | bytes of the segments | behind the padding, each at a multiple of 4 |
//! | stub: the ELF file's section `.rom` | [`STUB_ADDRESS`], the last page |
//!
//! Offsets in the stub; numbers are little-endian and 32 bits:
//!
//! | offset | contents |
//! |---|---|
//! | 0x000 | table of segments, [`SEGMENT_SIZE`] bytes each; an entry with 0 bytes in memory ends it |
//! | 0x7fc | [`ENTRY`]: address of the kernel's PVH entry |
//! | 0x800 | [`CODE`]: code of the stub |
//! | 0xff0 | [`RESET_VECTOR`] (APM vol. 2, 14.1.5) |
//!
//! Offsets in a segment's entry; sizes are multiples of 4:
//!
//! | offset | contents |
//! |---|---|
//! | 0x0 | [`SEGMENT_FLASH`]: address in flash |
//! | 0x4 | [`SEGMENT_MEMORY`]: address in memory |
//! | 0x8 | [`SEGMENT_FLASH_SIZE`]: bytes in flash |
//! | 0xc | [`SEGMENT_MEMORY_SIZE`]: bytes in memory; the stub clears those without bytes in flash |
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod pack;

pub use pack::{RomError, pack};

/// Address of the stub.
pub const STUB_ADDRESS: u32 = 0xffff_f000;
/// Size of the stub in bytes.
pub const STUB_SIZE: usize = 0x1000;

/// Size of an entry of the table of segments in bytes.
pub const SEGMENT_SIZE: usize = 0x10;
/// Offset of the address in flash, in an entry.
pub const SEGMENT_FLASH: usize = 0x0;
/// Offset of the address in memory, in an entry.
pub const SEGMENT_MEMORY: usize = 0x4;
/// Offset of the number of bytes in flash, in an entry.
pub const SEGMENT_FLASH_SIZE: usize = 0x8;
/// Offset of the number of bytes in memory, in an entry.
pub const SEGMENT_MEMORY_SIZE: usize = 0xc;

/// Offset of the kernel's entry address in the stub.
pub const ENTRY: usize = 0x7fc;
/// Offset of the code in the stub.
pub const CODE: usize = 0x800;
/// Offset of the reset vector in the stub.
pub const RESET_VECTOR: usize = 0xff0;

const _: () = {
    assert!(STUB_ADDRESS as u64 + STUB_SIZE as u64 == 1 << 32, "the stub ends at 4 GiB");
    assert!(STUB_ADDRESS as u64 + RESET_VECTOR as u64 == 0xffff_fff0, "the processor starts at the reset vector");
    assert!(SEGMENT_MEMORY_SIZE + 4 == SEGMENT_SIZE, "an entry has four words");
    assert!(
        ENTRY.is_multiple_of(4) && ENTRY + 4 == CODE && CODE < RESET_VECTOR,
        "the parts of the stub do not overlap"
    );
};
