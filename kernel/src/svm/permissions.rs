//! Which model-specific registers (MSRs) a guest reaches by itself: those that are switched with it.

/// The MSR permission map: two bits for each MSR, read and write, 1 = leaves the guest (APM vol. 2, 15.11).
pub type MsrMap = [u8; 0x2000];

/// MSRs that VMLOAD and VMSAVE switch: SYSENTER, STAR to SFMASK, and the bases of FS and GS. Not PAT: the VMCB has one,
/// and QEMU's TCG ignores it, so that a guest would write the host's.
const SWITCHED: [u32; 10] =
    [0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102];

/// Returns the map that lets a guest access the MSRs that are switched, and no others.
#[must_use]
pub const fn msr_map() -> MsrMap {
    let mut map = [0xff; 0x2000];
    let mut nth = 0;
    while nth < SWITCHED.len() {
        if let Some((byte, shift)) = place(SWITCHED[nth]) {
            map[byte] &= !(0b11 << shift);
        }
        nth += 1;
    }
    map
}

/// The byte of the map that holds an MSR's bits, and by how much they are shifted; `None` if it is not in the map, and
/// so always leaves the guest.
const fn place(msr: u32) -> Option<(usize, u32)> {
    let (start, nth) = match msr {
        0..0x2000 => (0, msr),
        0xc000_0000..0xc000_2000 => (0x800, msr - 0xc000_0000),
        0xc001_0000..0xc001_2000 => (0x1000, msr - 0xc001_0000),
        _ => return None,
    };
    Some((start + nth as usize / 4, nth % 4 * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(msr: u32) -> [bool; 2] {
        let map = msr_map();
        place(msr).map_or([true; 2], |(byte, shift)| [0, 1].map(|write| map[byte] >> (shift + write) & 1 == 1))
    }

    #[test]
    fn what_is_switched_is_open_and_nothing_else() {
        for msr in (0..0x2000).chain(0xc000_0000..0xc000_2000).chain(0xc001_0000..0xc001_2000) {
            assert_eq!(leaves(msr), [!SWITCHED.contains(&msr); 2], "{msr:#x}");
        }
        let open: u32 = msr_map().iter().map(|byte| byte.count_zeros()).sum();
        assert_eq!(open as usize, 2 * SWITCHED.len());
    }

    #[test]
    fn the_map_has_the_manuals_order() {
        assert_eq!(place(0x277), Some((0x9d, 6)));
        assert_eq!(place(0xc000_0080), Some((0x820, 0)), "EFER");
        assert_eq!(place(0xc001_0117), Some((0x1045, 6)), "VM_HSAVE_PA");
        assert_eq!(place(0x4000_0000), None);
    }
}
