//! Placing BARs where no firmware did.

use pci_types::{Bar, ConfigRegionAccess, EndpointHeader, MAX_BARS};

use crate::memory::PAGE;

/// Where 32-bit BARs go on q35: above configuration space, below the interrupt controllers.
const LOW: core::ops::Range<u64> = 0xc000_0000..0xfe00_0000;
/// Where 64-bit BARs go: above any memory that the machine may have.
const HIGH: core::ops::Range<u64> = 256 << 30..1 << 40;

/// Free address space, given out from below.
#[derive(Debug)]
pub(super) struct Windows {
    low: core::ops::Range<u64>,
    high: core::ops::Range<u64>,
}

impl Windows {
    /// All of q35's.
    pub(super) const Q35: Self = Self { low: LOW, high: HIGH };
}

/// A memory BAR: its slot, where it is, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryBar {
    pub(super) slot: u8,
    pub(super) address: u64,
    pub(super) size: u64,
    wide: bool,
}

/// The memory BARs of a function.
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

/// Places all memory BARs of a function, no two of which share a page: whoever is lent the one does not get the other.
/// Returns whether there was room.
pub(super) fn place(header: &mut EndpointHeader, windows: &mut Windows, access: impl ConfigRegionAccess) -> bool {
    let mut bars: heapless::Vec<MemoryBar, MAX_BARS> = memory_bars(header, &access).collect();
    for bar in &mut bars {
        let window = if bar.wide { &mut windows.high } else { &mut windows.low };
        let address = window.start.next_multiple_of(bar.size.max(PAGE));
        if address + bar.size > window.end {
            return false;
        }
        window.start = address + bar.size.max(PAGE);
        #[allow(unsafe_code)] // `pci_types` marks it so
        // SAFETY: the address is a multiple of the BAR's size, and below 4 GiB where the BAR is a short one.
        let written = unsafe { header.write_bar(bar.slot, &access, address as usize) };
        if written.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use pci_types::{PciAddress, PciHeader};

    use super::*;

    /// Configuration space of one function, with BARs of the given kinds and sizes: those of ivshmem-doorbell, and one more.
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
    fn bars_are_found_with_their_sizes() {
        let (fake, header) = fake();
        let found: Vec<_> = memory_bars(&header, &fake).map(|bar| (bar.slot, bar.address, bar.size)).collect();
        assert_eq!(found, [(0, 0, 0x100), (1, 0, 0x1000), (2, 0, 0x80_0000), (5, 0, 0x100)]);
    }

    #[test]
    fn bars_are_placed_apart_and_aligned_and_share_no_page() {
        let (fake, mut header) = fake();
        let mut windows = Windows::Q35;
        assert!(place(&mut header, &mut windows, &fake));
        assert!(place(&mut header, &mut windows, &fake), "another function of the same kind");
        let found: Vec<_> = memory_bars(&header, &fake).map(|bar| (bar.slot, bar.address)).collect();
        assert_eq!(found, [(0, 0xc000_3000), (1, 0xc000_4000), (2, 0x40_0080_0000), (5, 0xc000_5000)]);
    }

    #[test]
    fn a_full_window_is_told() {
        let (fake, mut header) = fake();
        let mut windows = Windows { low: 0xc000_0000..0xc000_1000, high: HIGH };
        assert!(!place(&mut header, &mut windows, &fake));
    }
}
