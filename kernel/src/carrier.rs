//! The carrier of the HCA: QEMU's `ivshmem-doorbell`, whose shared memory (BAR2) is the HCA's, whose doorbell register
//! notifies the HCA, and whose MSI-X interrupts are the HCA's (QEMU's `docs/specs/ivshmem-spec.rst`).
#![allow(unsafe_code)] // the doorbell register, and BAR2 as memory

use core::ptr::{NonNull, with_exposed_provenance_mut};

use hca_contract::{BAR2_SIZE, VECTORS};
use hca_driver::{Bar2, Doorbell};

use crate::cpu::{Cpu, Vector};
use crate::memory::Caching;
use crate::pci::{Bus, Function, PciError};

/// Vendor and device id.
const IVSHMEM: (u16, u16) = (0x1af4, 0x1110);
/// BAR of the registers.
const REGISTERS: u8 = 0;
/// BAR of the shared memory.
const SHARED_MEMORY: u8 = 2;
/// Offset of the doorbell register, in bytes: notifies the peer in the upper half with the vector in the lower half.
pub const DOORBELL: u64 = 12;

/// The hypervisor's own HCA, as the machine has it.
#[derive(Debug)]
pub struct Carrier {
    /// Its memory.
    pub bar2: Bar2,
    /// Its doorbell.
    pub doorbell: DoorbellRegister,
    /// Vectors of its interrupts, in the contract's order.
    pub vectors: [Vector; VECTORS as usize],
}

/// Reason for which an HCA cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// The machine has none.
    #[error("cannot find the HCA: start QEMU with -device ivshmem-doorbell")]
    Missing,
    /// Its PCI function cannot be set up.
    #[error("cannot set up the HCA: {0}")]
    Pci(#[from] PciError),
    /// Its shared memory has another size than the contract says.
    #[error("cannot use the HCA: its BAR2 has {0:#x} bytes, not {BAR2_SIZE:#x}; give it the memory of an HCA model")]
    Size(u64),
    /// Its registers may share a page with another function's.
    #[error("cannot assign the HCA to partitions: its registers at {0:#x} do not begin a page")]
    SharedPage(u64),
}

impl Carrier {
    /// Finds the HCA on the bus; its interrupts arrive at `cpu`.
    ///
    /// # Errors
    /// A [`CarrierError`].
    pub fn find(bus: &Bus, cpu: &Cpu) -> Result<Self, CarrierError> {
        let function = bus.find(IVSHMEM).ok_or(CarrierError::Missing)?;
        let IvshmemBars { registers, memory, vectors } = IvshmemBars::map(function, bus, cpu)?;
        let base = NonNull::new(with_exposed_provenance_mut(memory as usize)).ok_or(PciError::NoBar(SHARED_MEMORY))?;
        // SAFETY: BAR2 is mapped, of this size, and page-aligned; a function's BAR can be mapped only once, so no other
        // code has it.
        let bar2 = unsafe { Bar2::new(base) };
        Ok(Self { bar2, doorbell: DoorbellRegister::new(registers), vectors })
    }
}

/// Registers, memory and vectors of an `ivshmem-doorbell` function.
pub(crate) struct IvshmemBars {
    pub(crate) registers: u64,
    pub(crate) memory: u64,
    pub(crate) vectors: [Vector; VECTORS as usize],
}

impl IvshmemBars {
    /// Maps the BARs of `function` and routes its interrupts to `cpu`.
    ///
    /// # Errors
    /// A [`CarrierError`].
    pub(crate) fn map(mut function: Function, bus: &Bus, cpu: &Cpu) -> Result<Self, CarrierError> {
        if function.id() != IVSHMEM {
            return Err(CarrierError::Missing);
        }
        let (registers, _) = function.map_bar(bus, REGISTERS, Caching::Uncached)?;
        let (memory, size) = function.map_bar(bus, SHARED_MEMORY, Caching::Cached)?;
        if size != BAR2_SIZE as u64 {
            return Err(CarrierError::Size(size));
        }
        let mut msix = function.msix(bus)?;
        let mut vectors = [Vector::SPURIOUS; VECTORS as usize];
        for (number, vector) in (0..VECTORS).zip(&mut vectors) {
            *vector = msix.route(number, cpu)?;
        }
        Ok(Self { registers, memory, vectors })
    }
}

/// The doorbell register of an `ivshmem-doorbell` function.
#[derive(Debug)]
pub struct DoorbellRegister {
    address: u64,
}

impl DoorbellRegister {
    /// Creates the doorbell of the function whose registers are mapped at `registers`.
    pub(crate) fn new(registers: u64) -> Self {
        Self { address: registers + DOORBELL }
    }
}

impl Doorbell for DoorbellRegister {
    fn notify(&mut self, target: u16, vector: u16) {
        let register = with_exposed_provenance_mut::<u32>(self.address as usize);
        // SAFETY: the register is mapped; the device ignores a target or vector that does not exist. Stores are not
        // reordered among each other on this architecture, and a volatile one not by the compiler among volatiles.
        unsafe { register.write_volatile(u32::from(target) << 16 | u32::from(vector)) }
    }
}
