//! HCAs that are assigned to partitions, one after another.
//!
//! Such an HCA does no DMA, so no IOMMU is needed to confine it. The hypervisor maps its registers and its memory into
//! the partition, forwards its interrupts, and resets it when the partition ends.
#![allow(unsafe_code)] // BAR2 as memory

use alloc::sync::{Arc, Weak};
use core::ops::Deref;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hca_contract::{BAR2_SIZE, Ring, VECTORS, ring_offset};
use hca_driver::{Bar2, Hca};
use spin::Mutex;

pub use crate::carrier::DOORBELL;
use crate::carrier::{CarrierError, DoorbellRegister, IvshmemBars};
use crate::cpu::{Cpu, Vector};
use crate::memory::map::Range;
use crate::memory::{PAGE, Wiping};
use crate::pci::Bus;

/// An HCA that can be assigned to partitions, which are of type `P`.
#[derive(Debug)]
pub struct AssignableHca<P> {
    registers: u64,
    memory: u64,
    vectors: [Vector; VECTORS as usize],
    /// Number of its interrupts that were forwarded, wrapping.
    forwarded: AtomicU32,
    /// The partition that drives it, and the vector of its interrupts there.
    driver: Mutex<(Weak<P>, u8)>,
    is_assigned: AtomicBool,
}

/// The assignment of an HCA to one partition. Dropped, it ends.
#[derive(Debug)]
pub struct HcaAssignment<P> {
    hca: Arc<AssignableHca<P>>,
    /// `None` once the packets of the former partition are scrubbed.
    wiping: Option<Wiping>,
}

impl<P> AssignableHca<P> {
    /// Claims the HCA that is PCI device `device`; its interrupts arrive at `cpu`.
    ///
    /// # Errors
    /// A [`CarrierError`].
    pub fn claim(bus: &mut Bus, device: u8, cpu: &Cpu) -> Result<Self, CarrierError> {
        let IvshmemBars { registers, memory, vectors } = IvshmemBars::map(bus.claim(device)?, bus, cpu)?;
        if !registers.is_multiple_of(PAGE) {
            return Err(CarrierError::SharedPage(registers));
        }
        Ok(Self {
            registers,
            memory,
            vectors,
            forwarded: AtomicU32::new(0),
            driver: Mutex::new((Weak::new(), 0)),
            is_assigned: AtomicBool::new(false),
        })
    }

    /// Returns the physical address of the page that holds its registers and nothing else.
    #[must_use]
    pub fn registers(&self) -> u64 {
        self.registers
    }

    /// Returns the physical address of its memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Assigns the HCA; `None` while it is assigned.
    pub fn assign(self: &Arc<Self>) -> Option<HcaAssignment<P>> {
        let slots = ring_offset(0, Ring::Qp0Send) as u64..BAR2_SIZE as u64;
        let slots = Range { start: self.memory + slots.start, end: self.memory + slots.end };
        let is_free = !self.is_assigned.swap(true, Ordering::Acquire);
        is_free.then(|| HcaAssignment { hca: self.clone(), wiping: Some(Wiping::new(slots)) })
    }

    /// Forwards its interrupts to `partition` from now on, with `vector`.
    pub(crate) fn set_driver(&self, partition: &Arc<P>, vector: u8) {
        *self.driver.lock() = (Arc::downgrade(partition), vector);
    }

    /// Resets the HCA after its partition's end: its links are down until it has another driver.
    pub(crate) fn reset(&self) {
        if let Some(base) = NonNull::new(with_exposed_provenance_mut(self.memory as usize)) {
            // SAFETY: BAR2 is mapped, of this size, and page-aligned. Its partition has ended, so it has no driver.
            let bar2 = unsafe { Bar2::new(base) };
            // A new driver announces itself to the device, which so forgets the former one; it attaches to nothing.
            let _reset = Hca::new(bar2, DoorbellRegister::new(self.registers));
        }
    }

    /// Returns the partition that drives the HCA, and the vector, if the HCA has raised an interrupt since the last
    /// call.
    pub fn take_interrupt(&self) -> Option<(Arc<P>, u8)> {
        let raised = self.vectors.iter().fold(0, |sum: u32, vector| sum.wrapping_add(vector.count()));
        if self.forwarded.swap(raised, Ordering::Relaxed) == raised {
            return None;
        }
        let (driver, vector) = &*self.driver.lock();
        driver.upgrade().map(|partition| (partition, *vector))
    }
}

impl<P> HcaAssignment<P> {
    /// Scrubs a piece of the packets of the former partition. Returns `true` if more must be scrubbed.
    pub fn scrub(&mut self) -> bool {
        let has_more = self.wiping.as_mut().is_some_and(Wiping::go_on);
        if !has_more {
            self.wiping = None;
        }
        has_more
    }
}

impl<P> Deref for HcaAssignment<P> {
    type Target = AssignableHca<P>;

    fn deref(&self) -> &AssignableHca<P> {
        &self.hca
    }
}

impl<P> Drop for HcaAssignment<P> {
    fn drop(&mut self) {
        self.hca.is_assigned.store(false, Ordering::Release);
    }
}
