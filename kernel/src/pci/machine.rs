//! The functions of this machine.
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

/// The configuration mechanism by ports, through which q35's PCIEXBAR is reached.
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// Function 00:00.0, offset 0x60.
const PCIEXBAR: u32 = 0x8000_0060;

/// More capabilities than a function has room for: a list that is longer goes in circles.
const MAX_CAPABILITIES: usize = 48;

/// Why a function could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// There is no such device.
    #[error("there is no PCI device {0} that nobody has")]
    NoDevice(u8),
    /// It has no such BAR.
    #[error("the function has no memory BAR {0}")]
    NoBar(u8),
    /// Its BAR could not be mapped.
    #[error("the function's BAR cannot be mapped: {0}")]
    Map(#[from] MapError),
    /// It cannot raise that many interrupts.
    #[error("the function has no MSI-X interrupt {0}")]
    NoInterrupt(u16),
    /// No interrupt vector is left, or the processor is out of reach.
    #[error("no interrupt vector is left for the function")]
    NoVector,
}

/// Bus 0.
#[derive(Debug)]
pub struct Bus {
    ecam: Ecam,
    /// The devices that were taken from it, a bit for each.
    taken: u32,
}

/// A function with a plain (type 0) header.
pub struct Function {
    header: EndpointHeader,
    address: PciAddress,
    /// Vendor and device id.
    pub id: (u16, u16),
}

impl Bus {
    /// Finds the bus, and places its functions' BARs if nobody did.
    ///
    /// # Errors
    /// If configuration space cannot be mapped.
    pub fn open() -> Result<Self, MapError> {
        let ecam = pciexbar();
        map_device(ecam.base(), Ecam::SIZE, Caching::Uncached)?;
        let bus = Self { ecam, taken: 0 };
        let unplaced = |function: &Function| bars::memory_bars(&function.header, &bus).all(|bar| bar.address == 0);
        if bus.functions().all(|function| unplaced(&function)) {
            let mut windows = Windows::Q35;
            for mut function in bus.functions() {
                if !bars::place(&mut function.header, &mut windows, &bus) {
                    log::error!("pci: no room for the BARs of {:04x}:{:04x}", function.id.0, function.id.1);
                }
            }
        }
        Ok(bus)
    }

    /// Takes function 0 of a device from the bus, with its only user being the caller from here on.
    ///
    /// # Errors
    /// There is no such device, or it was taken already.
    pub fn take(&mut self, device: u8) -> Result<Function, PciError> {
        let function = self.functions().find(|function| function.address == PciAddress::new(0, 0, device, 0));
        let function = function.ok_or(PciError::NoDevice(device))?;
        self.taken |= 1 << device;
        Ok(function)
    }

    /// The functions that there are, but for those of devices that were taken.
    pub fn functions(&self) -> impl Iterator<Item = Function> {
        let here = move |device: &u8| self.taken & 1 << device == 0;
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

    /// The first function with these vendor and device ids.
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
    /// Maps memory BAR `slot`, lets the function answer there, and gives its address and size in bytes.
    ///
    /// # Errors
    /// If there is no such BAR, or it is mapped already.
    pub fn map_bar(&mut self, bus: &Bus, slot: u8, caching: Caching) -> Result<(u64, u64), PciError> {
        let found = bars::memory_bars(&self.header, bus).find(|bar| bar.slot == slot);
        let bar = found.ok_or(PciError::NoBar(slot))?;
        map_device(bar.address, bar.size, caching)?;
        self.header.update_command(bus, |command| command | CommandRegister::MEMORY_ENABLE);
        Ok((bar.address, bar.size))
    }

    /// The function's MSI-X table, with all interrupts masked, and the right to raise them.
    ///
    /// # Errors
    /// If it has none, or the table cannot be mapped.
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

/// The MSI-X table of a function.
#[derive(Debug)]
pub struct MsixTable {
    table: u64,
    entries: u16,
}

impl MsixTable {
    /// Lets the function's interrupt `number` come to `cpu`, with a vector of its own, which is given back.
    ///
    /// # Errors
    /// If the function has no such interrupt, or no vector is left.
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
