//! Start info of a PVH loader: <https://xenbits.xen.org/docs/unstable/misc/pvh.html>.
#![allow(unsafe_code)] // the loader's structures are found by address

use pvh::start_info::reader::{IdentityMap, StartInfoReader};

use crate::memory::map::Range;

/// Structures of the loader. They lie below 1 MiB, which stays mapped and is never allocated.
pub(super) struct StartInfo(StartInfoReader<'static, IdentityMap>);

impl StartInfo {
    /// Finds the structures at the address that the loader passed. Returns `None` if it is 0 or has no PVH signature.
    pub(super) fn at(address: u32) -> Option<Self> {
        // SAFETY: the entry code passes the loader's value on, and PVH guarantees the addresses; memory is mapped at
        // its own addresses.
        unsafe { StartInfoReader::from_paddr_identity(address) }.map(Self)
    }

    /// Returns the memory map: ranges and their types.
    pub(super) fn memory_map(&self) -> impl Iterator<Item = (Range, u32)> + Clone + use<'_> {
        self.0.memmap().iter().map(|entry| {
            let range = Range { start: entry.addr, end: entry.addr.saturating_add(entry.size) };
            (range, entry.ty)
        })
    }

    /// Returns the command line.
    pub(super) fn command_line(&self) -> &[u8] {
        self.0.cmdline().map_or(&[], |line| line.to_bytes())
    }
}
