//! How the HCA reaches this machine: QEMU's `ivshmem-doorbell`, whose shared memory (BAR2) is the HCA's, whose doorbell
//! rings the HCA, and whose MSI-X interrupts are the HCA's (QEMU's `docs/specs/ivshmem-spec.rst`).
#![allow(unsafe_code)] // the doorbell register, and BAR2 as memory

use alloc::sync::{Arc, Weak};
use core::ops::Deref;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hca_contract::{BAR2_SIZE, Ring, VECTORS, ring_offset};
use hca_driver::{Bar2, Doorbell, Hca};
use spin::Mutex;

use crate::cpu::Cpu;
use crate::cpu::Vector;
use crate::memory::map::Range;
use crate::memory::{Caching, PAGE, Wiping};
use crate::partition::Partition;
use crate::pci::{Bus, Function, PciError};

/// Vendor and device id.
const IVSHMEM: (u16, u16) = (0x1af4, 0x1110);
/// BARs: registers, and the shared memory.
const REGISTERS: u8 = 0;
const SHARED_MEMORY: u8 = 2;
/// Register: rings the peer in the upper half with the vector in the lower half.
const DOORBELL: u64 = 12;

/// The HCA as it is found in the machine.
#[derive(Debug)]
pub struct Carrier {
    /// Its memory.
    pub bar2: Bar2,
    /// Its doorbell.
    pub doorbell: Bell,
    /// What it raises: the contract's vectors, in their order.
    pub vectors: [Vector; VECTORS as usize],
}

/// Why the HCA cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// There is none.
    #[error("no HCA: start QEMU with -device ivshmem-doorbell")]
    Missing,
    /// It cannot be set up.
    #[error("the HCA cannot be set up: {0}")]
    Pci(#[from] PciError),
    /// Its shared memory has another size than the contract says.
    #[error("the HCA's BAR2 has {0:#x} bytes, not {BAR2_SIZE:#x}: its memory is another program's")]
    Size(u64),
    /// Its registers may share a page with another function's.
    #[error("the HCA's registers at {0:#x} do not begin a page, so that no partition can be given them alone")]
    Shared(u64),
}

impl Carrier {
    /// Finds the HCA on the bus; its interrupts come to `cpu`.
    ///
    /// # Errors
    /// If it is not there or not as it must be.
    pub fn find(bus: &Bus, cpu: &Cpu) -> Result<Self, CarrierError> {
        let mut function = bus.find(IVSHMEM).ok_or(CarrierError::Missing)?;
        let (registers, _) = function.map_bar(bus, REGISTERS, Caching::Uncached)?;
        let (memory, size) = function.map_bar(bus, SHARED_MEMORY, Caching::Cached)?;
        if size != BAR2_SIZE as u64 {
            return Err(CarrierError::Size(size));
        }
        let vectors = route(&mut function, bus, cpu)?;
        let base = NonNull::new(with_exposed_provenance_mut(memory as usize)).ok_or(PciError::NoBar(SHARED_MEMORY))?;
        // SAFETY: BAR2 is mapped, of this size, and page-aligned; a function's BAR can be mapped only once, so nobody
        // else has it.
        let bar2 = unsafe { Bar2::new(base) };
        Ok(Self { bar2, doorbell: Bell { register: registers + DOORBELL }, vectors })
    }
}

/// An HCA that one partition after another drives itself. It does no DMA, so that none needs an IOMMU to be kept in.
#[derive(Debug)]
pub struct Lent {
    /// The page that its registers are in, alone.
    pub registers: u64,
    /// Its memory.
    pub memory: u64,
    vectors: [Vector; VECTORS as usize],
    /// How many of its interrupts were handed on.
    seen: AtomicU32,
    /// To whom they are handed on, and how.
    driver: Mutex<(Weak<Partition>, u8)>,
    is_taken: AtomicBool,
}

/// The right to drive an HCA, which one partition has at a time.
#[derive(Debug)]
pub struct Loan {
    hca: Arc<Lent>,
    /// `None` once nothing of what others sent and received is left in it.
    wiping: Option<Wiping>,
}

impl Lent {
    /// Where in the registers the doorbell is.
    pub const DOORBELL: u64 = DOORBELL;

    /// Takes the HCA that is PCI device `device` from the bus; its interrupts come to `cpu`.
    ///
    /// # Errors
    /// If it is not there or not as it must be.
    pub fn take(bus: &mut Bus, device: u8, cpu: &Cpu) -> Result<Self, CarrierError> {
        let mut function = bus.claim(device)?;
        if function.id() != IVSHMEM {
            return Err(CarrierError::Missing);
        }
        let (registers, _) = function.map_bar(bus, REGISTERS, Caching::Uncached)?;
        let (memory, size) = function.map_bar(bus, SHARED_MEMORY, Caching::Cached)?;
        if size != BAR2_SIZE as u64 {
            return Err(CarrierError::Size(size));
        }
        if !registers.is_multiple_of(PAGE) {
            return Err(CarrierError::Shared(registers));
        }
        let vectors = route(&mut function, bus, cpu)?;
        Ok(Self {
            registers,
            memory,
            vectors,
            seen: AtomicU32::new(0),
            driver: Mutex::new((Weak::new(), 0)),
            is_taken: AtomicBool::new(false),
        })
    }

    /// Lends it; `None` while another has it.
    pub fn lend(self: &Arc<Self>) -> Option<Loan> {
        let slots = ring_offset(0, Ring::Qp0Send) as u64..BAR2_SIZE as u64;
        let slots = Range { start: self.memory + slots.start, end: self.memory + slots.end };
        let is_free = !self.is_taken.swap(true, Ordering::Acquire);
        is_free.then(|| Loan { hca: self.clone(), wiping: Some(Wiping::new(slots)) })
    }

    /// Lets its interrupts come to `partition` from now on, with this vector.
    pub(crate) fn interrupt(&self, partition: &Arc<Partition>, vector: u8) {
        *self.driver.lock() = (Arc::downgrade(partition), vector);
    }

    /// Makes it forget its driver, which ended with its partition: its links go down until there is another.
    pub(crate) fn reset(&self) {
        if let Some(base) = NonNull::new(with_exposed_provenance_mut(self.memory as usize)) {
            // SAFETY: BAR2 is mapped, of this size, and page-aligned. Its partition is over, so that nobody drives it.
            let bar2 = unsafe { Bar2::new(base) };
            // To become its driver is to tell it so; nothing is taken up.
            let _forgotten = Hca::new(bar2, Bell { register: self.registers + DOORBELL });
        }
    }

    /// Hands on what interrupts it raised; to be called after each.
    pub fn tend(&self) {
        let raised = self.vectors.iter().fold(0, |sum: u32, vector| sum.wrapping_add(vector.count()));
        if self.seen.swap(raised, Ordering::Relaxed) != raised {
            let (driver, vector) = &*self.driver.lock();
            if let Some(partition) = driver.upgrade() {
                partition.interrupt(*vector);
            }
        }
    }
}

impl Loan {
    /// Wipes a piece of what others sent and received. Whether there is more to wipe.
    pub fn wipe(&mut self) -> bool {
        let has_more = self.wiping.as_mut().is_some_and(Wiping::go_on);
        if !has_more {
            self.wiping = None;
        }
        has_more
    }
}

impl Deref for Loan {
    type Target = Lent;

    fn deref(&self) -> &Lent {
        &self.hca
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.hca.is_taken.store(false, Ordering::Release);
    }
}

/// Lets all interrupts of an HCA come to `cpu`.
fn route(function: &mut Function, bus: &Bus, cpu: &Cpu) -> Result<[Vector; VECTORS as usize], PciError> {
    let mut msix = function.msix(bus)?;
    let mut vectors = [Vector::SPURIOUS; VECTORS as usize];
    for (number, vector) in (0..VECTORS).zip(&mut vectors) {
        *vector = msix.route(number, cpu)?;
    }
    Ok(vectors)
}

/// The doorbell register.
#[derive(Debug)]
pub struct Bell {
    register: u64,
}

impl Doorbell for Bell {
    fn notify(&mut self, target: u16, vector: u16) {
        let register = with_exposed_provenance_mut::<u32>(self.register as usize);
        // SAFETY: the register is mapped; a target or vector that does not exist is ignored by the device. Stores are
        // not reordered among each other on this architecture, and a volatile one not by the compiler among volatiles.
        unsafe { register.write_volatile(u32::from(target) << 16 | u32::from(vector)) }
    }
}
