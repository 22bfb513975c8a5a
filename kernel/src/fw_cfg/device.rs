//! Ports of the device, and its DMA interface.
#![allow(unsafe_code)] // ports, and a device that writes to memory

use alloc::vec;
use alloc::vec::Vec;
use core::arch::asm;

use x86_64::instructions::port::Port;
use zerocopy::{FromZeros, IntoBytes};

use super::directory::{File, Request, Selector};

const SELECT: u16 = 0x510;
const DATA: u16 = 0x511;
/// Upper half of a request's address; a write of the lower half, 4 above, starts the request. Both are big-endian.
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

const FEATURE_DMA: u8 = 1 << 1;
/// Number of directory entries read at most.
const MAX_FILES: u32 = 4096;
/// Size of a file at most, in bytes.
const MAX_FILE: u32 = 64 << 20;

/// Firmware configuration device.
#[derive(Debug)]
pub struct FwCfg(());

/// Error for a file that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The device has no file of this name.
    #[error("cannot find a file in fw_cfg: start QEMU with -fw_cfg name=...,file=...")]
    Missing,
    /// The device refused the read.
    #[error("cannot read a file of fw_cfg: the device refused")]
    Device,
    /// The file exceeds the kernel's limit.
    #[error("cannot read a file of fw_cfg: its {0} bytes exceed the limit of {MAX_FILE}")]
    TooLong(u32),
}

impl FwCfg {
    /// Opens the device. Returns `None` if the machine has no device with a DMA interface.
    #[must_use]
    pub fn open() -> Option<Self> {
        let mut device = Self(());
        let found = device.bytes::<4>(Selector::SIGNATURE) == *b"QEMU";
        (found && device.bytes::<1>(Selector::FEATURES)[0] & FEATURE_DMA != 0).then_some(device)
    }

    /// Returns the number of processors of the machine.
    pub fn processors(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes(Selector::PROCESSORS))
    }

    /// Finds a file in the directory.
    ///
    /// # Errors
    /// [`ReadError::Missing`] if no file has this name, [`ReadError::Device`] if the directory cannot be read.
    pub fn find(&mut self, name: &str) -> Result<File, ReadError> {
        let mut count = [0; 4];
        self.read(Some(Selector::DIRECTORY), &mut count)?;
        for _ in 0..u32::from_be_bytes(count).min(MAX_FILES) {
            let mut file = File::new_zeroed();
            self.read(None, file.as_mut_bytes())?;
            if file.is_named(name) {
                return Ok(file);
            }
        }
        Err(ReadError::Missing)
    }

    /// Reads the start of a file, at most the length of `into`, and returns the bytes read.
    ///
    /// # Errors
    /// Any [`ReadError`] but `TooLong`.
    pub fn read_start<'a>(&mut self, name: &str, into: &'a mut [u8]) -> Result<&'a [u8], ReadError> {
        let file = self.find(name)?;
        let length = into.len().min(file.size() as usize);
        self.read(Some(file.selector()), &mut into[..length])?;
        Ok(&into[..length])
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn read_file(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let file = self.find(name)?;
        if file.size() > MAX_FILE {
            return Err(ReadError::TooLong(file.size()));
        }
        let mut bytes = vec![0; file.size() as usize];
        self.read(Some(file.selector()), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the first bytes of an item through the data port.
    fn bytes<const N: usize>(&mut self, Selector(item): Selector) -> [u8; N] {
        // SAFETY: selecting and reading an item changes nothing but where the device reads next.
        unsafe {
            Port::new(SELECT).write(item);
            core::array::from_fn(|_| Port::new(DATA).read())
        }
    }

    fn read(&mut self, selector: Option<Selector>, into: &mut [u8]) -> Result<(), ReadError> {
        let length = u32::try_from(into.len()).map_err(|_| ReadError::Device)?;
        let mut request = Request::read(selector, length, into.as_mut_ptr().expose_provenance() as u64);
        let address = (&raw mut request).expose_provenance() as u64;
        // SAFETY: addresses are physical; the device writes to the buffer and to the request only, both of which are
        // borrowed until it is done, and it is done when the port write returns or control says so.
        // The instruction is spelled out because the compiler must know that it changes memory.
        let control = unsafe {
            Port::new(DMA_HIGH).write(((address >> 32) as u32).to_be());
            asm!("out dx, eax", in("dx") DMA_LOW, in("eax") (address as u32).to_be(), options(nostack, preserves_flags));
            loop {
                let control = (&raw const request.control).read_volatile().get();
                if control & !Request::ERROR == 0 {
                    break control;
                }
                core::hint::spin_loop();
            }
        };
        if control == 0 { Ok(()) } else { Err(ReadError::Device) }
    }
}
