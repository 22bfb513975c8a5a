//! Functions of the machine.
#![allow(unsafe_code)] // configuration space and device registers

use core::ptr::with_exposed_provenance_mut;

use pci_types::capability::PciCapability;
use pci_types::{CommandRegister, ConfigRegionAccess, EndpointHeader, HeaderType, PciAddress, PciHeader};
use x86_64::instructions::port::Port;

use super::bars::{self, Windows};
use super::ecam::{Ecam, PCIEXBAR_DEFAULT};
use super::msix::{ENTRY, Entry};
use crate::cpu::Cpu;
use crate::cpu::Vector;
use crate::memory::paging::MapError;
use crate::memory::{Caching, map_device};

/// Ports of the legacy configuration mechanism, for q35's PCIEXBAR.
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// Function 00:00.0, offset 0x60.
const PCIEXBAR: u32 = 0x8000_0060;

/// Number of capabilities that a function has room for; a longer list is circular.
const MAX_CAPABILITIES: usize = 48;

/// Error for a function that cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// The device is missing or already claimed.
    #[error("cannot claim PCI device {0}: it is missing or already claimed")]
    NoDevice(u8),
    /// The function lacks this memory BAR.
    #[error("cannot map BAR {0}: the function has no such memory BAR")]
    NoBar(u8),
    /// The BAR cannot be mapped.
    #[error("cannot map a BAR: {0}")]
    Map(#[from] MapError),
    /// The function lacks this MSI-X interrupt.
    #[error("cannot route MSI-X interrupt {0}: the function has no such interrupt")]
    NoInterrupt(u16),
    /// All vectors are allocated, or the processor's APIC id is too large.
    #[error("cannot route an interrupt: no vector is free")]
    NoVector,
}

/// PCI bus 0.
#[derive(Debug)]
pub struct Bus {
    ecam: Ecam,
    /// Claimed devices, one bit each.
    claimed: u32,
}

/// Function with a type 0 header.
pub struct Function {
    header: EndpointHeader,
    address: PciAddress,
    /// Vendor and device id.
    id: (u16, u16),
}

impl Bus {
    /// Opens the bus, and places its functions' BARs if firmware has not.
    ///
    /// # Errors
    /// Configuration space cannot be mapped.
    pub fn open() -> Result<Self, MapError> {
        let ecam = pciexbar();
        map_device(ecam.base(), Ecam::SIZE, Caching::Uncached)?;
        let bus = Self { ecam, claimed: 0 };
        let unplaced = |function: &Function| bars::memory_bars(&function.header, &bus).all(|bar| bar.address == 0);
        if bus.functions().all(|function| unplaced(&function)) {
            let mut windows = Windows::Q35;
            for mut function in bus.functions() {
                if bars::place(&mut function.header, &mut windows, &bus).is_err() {
                    log::error!("pci: cannot place the BARs of {:04x}:{:04x}: no space", function.id.0, function.id.1);
                }
            }
        }
        Ok(bus)
    }

    /// Claims function 0 of a device for the caller alone.
    ///
    /// # Errors
    /// [`PciError::NoDevice`] if the device is missing or already claimed.
    pub fn claim(&mut self, device: u8) -> Result<Function, PciError> {
        let function = self.functions().find(|function| function.address == PciAddress::new(0, 0, device, 0));
        let function = function.ok_or(PciError::NoDevice(device))?;
        self.claimed |= 1 << device;
        Ok(function)
    }

    /// Returns the functions of all devices that are not claimed.
    pub fn functions(&self) -> impl Iterator<Item = Function> {
        let here = move |device: &u8| self.claimed & 1 << device == 0;
        (0..32).filter(here).flat_map(|device| (0..8).map(move |function| (device, function))).filter_map(
            move |(device, function)| {
                let address = PciAddress::new(0, 0, device, function);
                let header = PciHeader::new(address);
                let id = header.id(self);
                let endpoint = id.0 != 0xffff && header.header_type(self) == HeaderType::Endpoint;
                endpoint.then(|| EndpointHeader::from_header(header, self)).flatten().map(|header| Function {
                    header,
                    address,
                    id,
                })
            },
        )
    }

    /// Returns the first function with these vendor and device ids.
    #[must_use]
    pub fn find(&self, id: (u16, u16)) -> Option<Function> {
        self.functions().find(|function| function.id == id)
    }
}

fn pciexbar() -> Ecam {
    let mut address = Port::<u32>::new(CONFIG_ADDRESS);
    let mut data = Port::<u32>::new(CONFIG_DATA);
    // SAFETY: the two ports reach configuration space only; PCIEXBAR is written only where it is not in use yet, to
    // where no memory is on q35.
    unsafe {
        address.write(PCIEXBAR + 4);
        let high = data.read();
        address.write(PCIEXBAR);
        Ecam::at(data.read(), high).unwrap_or_else(|| {
            data.write(PCIEXBAR_DEFAULT);
            Ecam::at(PCIEXBAR_DEFAULT, high).expect("the default is enabled")
        })
    }
}

impl ConfigRegionAccess for Bus {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        let Some(register) = self.ecam.register(address, offset) else { return u32::MAX };
        // SAFETY: the register lies in the mapped configuration space; the caller may read it.
        unsafe { with_exposed_provenance_mut::<u32>(register as usize).read_volatile() }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let Some(register) = self.ecam.register(address, offset) else { return };
        // SAFETY: the register lies in the mapped configuration space; the caller may write it.
        unsafe { with_exposed_provenance_mut::<u32>(register as usize).write_volatile(value) }
    }
}

impl Function {
    /// Returns the vendor and device id.
    #[must_use]
    pub fn id(&self) -> (u16, u16) {
        self.id
    }

    /// Maps memory BAR `slot`, enables the function's memory, and returns the BAR's address and size in bytes.
    ///
    /// # Errors
    /// The BAR is missing or already mapped.
    pub fn map_bar(&mut self, bus: &Bus, slot: u8, caching: Caching) -> Result<(u64, u64), PciError> {
        let found = bars::memory_bars(&self.header, bus).find(|bar| bar.slot == slot);
        let bar = found.ok_or(PciError::NoBar(slot))?;
        map_device(bar.address, bar.size, caching)?;
        self.header.update_command(bus, |command| command | CommandRegister::MEMORY_ENABLE);
        Ok((bar.address, bar.size))
    }

    /// Enables MSI-X with all interrupts masked, and returns the table.
    ///
    /// # Errors
    /// The function has no table, or it cannot be mapped.
    pub fn msix(&mut self, bus: &Bus) -> Result<MsixTable, PciError> {
        let mut capability = self
            .header
            .capabilities(bus)
            .take(MAX_CAPABILITIES)
            .find_map(|capability| if let PciCapability::MsiX(msix) = capability { Some(msix) } else { None })
            .ok_or(PciError::NoInterrupt(0))?;
        let (bar, size) = self.map_bar(bus, capability.table_bar(), Caching::Uncached)?;
        let offset = u64::from(capability.table_offset());
        let entries =
            u16::try_from(size.saturating_sub(offset) / ENTRY).unwrap_or(u16::MAX).min(capability.table_size());
        // An entry begins masked (PCI Express 5.0, 7.7.2.7), so nothing is raised before it is routed. To raise an
        // interrupt is to write to memory, which a bus master may.
        capability.set_enabled(true, bus);
        self.header.update_command(bus, |command| {
            command | CommandRegister::BUS_MASTER_ENABLE | CommandRegister::INTERRUPT_DISABLE
        });
        Ok(MsixTable { table: bar + offset, entries })
    }
}

/// MSI-X table of a function.
#[derive(Debug)]
pub struct MsixTable {
    table: u64,
    entries: u16,
}

impl MsixTable {
    /// Routes interrupt `number` to `cpu` and returns its vector, which no other interrupt has.
    ///
    /// # Errors
    /// The function lacks the interrupt, or no vector is free.
    pub fn route(&mut self, number: u16, cpu: &Cpu) -> Result<Vector, PciError> {
        if number >= self.entries {
            return Err(PciError::NoInterrupt(number));
        }
        let vector = Vector::allocate().ok_or(PciError::NoVector)?;
        let Entry(words) = Entry::raise(vector.number(), cpu.apic_id()).ok_or(PciError::NoVector)?;
        let entry = with_exposed_provenance_mut::<u32>((self.table + u64::from(number) * ENTRY) as usize);
        for (nth, word) in words.into_iter().enumerate() {
            // SAFETY: the entry lies in the mapped table. The word that unmasks it is the last.
            unsafe { entry.add(nth).write_volatile(word) };
        }
        Ok(vector)
    }
}
