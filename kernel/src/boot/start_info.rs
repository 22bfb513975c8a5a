//! What a PVH loader leaves for the kernel: <https://xenbits.xen.org/docs/unstable/misc/pvh.html>.
#![allow(unsafe_code)] // the loader's structures are found by address

use pvh::start_info::reader::{IdentityMap, StartInfoReader};

use crate::memory::map::Range;

/// The loader's structures. They lie below 1 MiB, which stays mapped and is never given out.
pub(super) struct StartInfo(StartInfoReader<'static, IdentityMap>);

impl StartInfo {
    /// The structures at the address that the kernel was entered with; `None` if it is 0 or they are not PVH's.
    pub(super) fn at(address: u32) -> Option<Self> {
        // SAFETY: the entry code passes on what the loader gave, which promises that its addresses are right; memory
        // is mapped at its own addresses.
        unsafe { StartInfoReader::from_paddr_identity(address) }.map(Self)
    }

    /// The memory map: ranges and their types.
    pub(super) fn memory_map(&self) -> impl Iterator<Item = (Range, u32)> + Clone + use<'_> {
        self.0.memmap().iter().map(|entry| {
            let range = Range { start: entry.addr, end: entry.addr.saturating_add(entry.size) };
            (range, entry.ty)
        })
    }

    /// The command line.
    pub(super) fn command_line(&self) -> &[u8] {
        self.0.cmdline().map_or(&[], |line| line.to_bytes())
    }
}
