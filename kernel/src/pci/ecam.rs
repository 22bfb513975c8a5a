//! Configuration space in memory (PCI Express 5.0, 7.2.2), and its base in q35's register PCIEXBAR.

use pci_types::PciAddress;

/// Configuration space in memory (enhanced configuration access mechanism).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    base: u64,
}

/// Value of PCIEXBAR for 256 buses at 0xb0000000, as QEMU's firmware sets it.
pub const PCIEXBAR_DEFAULT: u32 = 0xb000_0001;

/// PCIEXBAR: enabled.
const ENABLED: u32 = 1;
/// PCIEXBAR: address bits; those below depend on the number of buses (Q35 MCH datasheet, 5.1.13).
const ADDRESS_LOW: u32 = 0xf000_0000;

impl Ecam {
    /// Size of the part used, bus 0, in bytes.
    pub const SIZE: u64 = 1 << 20;

    /// Decodes PCIEXBAR: offsets 0x60 and 0x64 of function 00:00.0. Returns `None` if it is not enabled.
    #[must_use]
    pub fn at(low: u32, high: u32) -> Option<Self> {
        (low & ENABLED != 0).then_some(Self { base: u64::from(high) << 32 | u64::from(low & ADDRESS_LOW) })
    }

    /// Returns the base address.
    #[must_use]
    pub fn base(self) -> u64 {
        self.base
    }

    /// Returns the address of the 32-bit register at `offset` of a function; `None` if it is not on bus 0 or not
    /// aligned.
    #[must_use]
    pub fn register(self, function: PciAddress, offset: u16) -> Option<u64> {
        if function.segment() != 0 || function.bus() != 0 || offset >= 0x1000 || !offset.is_multiple_of(4) {
            return None;
        }
        let slot = u64::from(function.device()) << 15 | u64::from(function.function()) << 12;
        Some(self.base + slot + u64::from(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn register_address_has_device_function_and_offset() {
        let ecam = Ecam::at(PCIEXBAR_DEFAULT, 0).unwrap();
        assert_eq!(ecam.base(), 0xb000_0000);
        assert_eq!(ecam.register(PciAddress::new(0, 0, 0, 0), 0x60), Some(0xb000_0060));
        assert_eq!(ecam.register(PciAddress::new(0, 0, 31, 7), 0xffc), Some(0xb00f_fffc));
        assert_eq!(ecam.register(PciAddress::new(0, 1, 0, 0), 0), None);
        assert_eq!(ecam.register(PciAddress::new(0, 0, 0, 0), 0x1000), None);
        assert_eq!(ecam.register(PciAddress::new(0, 0, 0, 0), 2), None);
    }

    #[test]
    fn base_above_4_gib_is_decoded_and_disabled_is_none() {
        assert_eq!(Ecam::at(0xe000_0005, 1).unwrap().base(), 0x1_e000_0000);
        assert_eq!(Ecam::at(0xb000_0000, 0), None);
    }
}
