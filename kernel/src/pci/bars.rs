//! Placement of BARs on a machine without firmware.

use pci_types::{Bar, ConfigRegionAccess, EndpointHeader, MAX_BARS};

use crate::memory::PAGE;

/// Window of 32-bit BARs on q35: above configuration space, below the interrupt controllers.
const LOW: core::ops::Range<u64> = 0xc000_0000..0xfe00_0000;
/// Window of 64-bit BARs: above all memory.
const HIGH: core::ops::Range<u64> = 256 << 30..1 << 40;

/// Free address space, allocated from the lowest address.
#[derive(Debug)]
pub(super) struct Windows {
    low: core::ops::Range<u64>,
    high: core::ops::Range<u64>,
}

impl Windows {
    /// Whole windows of q35.
    pub(super) const Q35: Self = Self { low: LOW, high: HIGH };
}

/// Memory BAR: its slot, address, and size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryBar {
    pub(super) slot: u8,
    pub(super) address: u64,
    pub(super) size: u64,
    wide: bool,
}

/// Returns the memory BARs of a function.
pub(super) fn memory_bars(header: &EndpointHeader, access: impl ConfigRegionAccess) -> impl Iterator<Item = MemoryBar> {
    let mut upper_half = false;
    (0..MAX_BARS as u8).filter_map(move |slot| {
        if core::mem::take(&mut upper_half) {
            return None;
        }
        match header.bar(slot, &access)? {
            Bar::Memory32 { address, size, .. } => {
                Some(MemoryBar { slot, address: address.into(), size: size.into(), wide: false })
            }
            Bar::Memory64 { address, size, .. } => {
                upper_half = true;
                Some(MemoryBar { slot, address, size, wide: true })
            }
            Bar::Io { .. } => None,
        }
    })
}

/// Places all memory BARs of a function. No two share a page, so that a partition can be given one alone.
///
/// # Errors
/// [`NoSpace`] if a window is full or the function rejects an address.
pub(super) fn place(
    header: &mut EndpointHeader,
    windows: &mut Windows,
    access: impl ConfigRegionAccess,
) -> Result<(), NoSpace> {
    let mut bars: heapless::Vec<MemoryBar, MAX_BARS> = memory_bars(header, &access).collect();
    for bar in &mut bars {
        let window = if bar.wide { &mut windows.high } else { &mut windows.low };
        let address = window.start.next_multiple_of(bar.size.max(PAGE));
        if address + bar.size > window.end {
            return Err(NoSpace);
        }
        window.start = address + bar.size.max(PAGE);
        #[allow(unsafe_code)] // `pci_types` marks the function unsafe
        // SAFETY: the address is a multiple of the BAR's size, and below 4 GiB if the BAR has 32 bits.
        let written = unsafe { header.write_bar(bar.slot, &access, address as usize) };
        written.map_err(|_| NoSpace)?;
    }
    Ok(())
}

/// Error for a function whose BARs cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSpace;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use pci_types::{PciAddress, PciHeader};

    use super::*;

    /// Configuration space of one function with the BARs of ivshmem-doorbell, and one more.
    struct Fake {
        bars: RefCell<[u32; 6]>,
    }

    /// Type bits and size mask of each slot.
    const SLOTS: [(u32, u32); 6] =
        [(0x0, !0xff), (0x0, !0xfff), (0xc, !0x7f_ffff), (0x0, !0), (0x1, !0x1f), (0x0, !0xff)];

    #[allow(unsafe_code)] // the trait's functions are
    impl ConfigRegionAccess for Fake {
        unsafe fn read(&self, _: PciAddress, offset: u16) -> u32 {
            match offset {
                0x10..0x28 => self.bars.borrow()[usize::from(offset - 0x10) / 4],
                _ => 0,
            }
        }

        unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
            if let 0x10..0x28 = offset {
                let slot = usize::from(offset - 0x10) / 4;
                let (kind, mask) = SLOTS[slot];
                self.bars.borrow_mut()[slot] = value & mask | kind;
            }
        }
    }

    fn fake() -> (Fake, EndpointHeader) {
        let fake = Fake { bars: RefCell::new(SLOTS.map(|(kind, _)| kind)) };
        let header = EndpointHeader::from_header(PciHeader::new(PciAddress::new(0, 0, 3, 0)), &fake).unwrap();
        (fake, header)
    }

    #[test]
    fn memory_bars_are_found_with_their_sizes() {
        let (fake, header) = fake();
        let found: Vec<_> = memory_bars(&header, &fake).map(|bar| (bar.slot, bar.address, bar.size)).collect();
        assert_eq!(found, [(0, 0, 0x100), (1, 0, 0x1000), (2, 0, 0x80_0000), (5, 0, 0x100)]);
    }

    #[test]
    fn placed_bars_are_aligned_and_share_no_page() {
        let (fake, mut header) = fake();
        let mut windows = Windows::Q35;
        assert_eq!(place(&mut header, &mut windows, &fake), Ok(()));
        assert_eq!(place(&mut header, &mut windows, &fake), Ok(()), "another function of the same kind");
        let found: Vec<_> = memory_bars(&header, &fake).map(|bar| (bar.slot, bar.address)).collect();
        assert_eq!(found, [(0, 0xc000_3000), (1, 0xc000_4000), (2, 0x40_0080_0000), (5, 0xc000_5000)]);
    }

    #[test]
    fn full_window_is_an_error() {
        let (fake, mut header) = fake();
        let mut windows = Windows { low: 0xc000_0000..0xc000_1000, high: HIGH };
        assert_eq!(place(&mut header, &mut windows, &fake), Err(NoSpace));
    }
}
