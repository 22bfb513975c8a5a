//! What a function writes, and where, to raise an interrupt (APM vol. 2, 16.11; PCI Express 5.0, 7.7.2).

/// An entry of a function's MSI-X table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) [u32; 4]);

/// Size of an entry in bytes.
pub(super) const ENTRY: u64 = 16;

/// The local APICs' address space, with the destination in bits 12 to 19.
const LOCAL_APICS: u32 = 0xfee0_0000;

impl Entry {
    /// Raises `vector` at the processor whose local APIC has this id; `None` if the id is too large to be addressed.
    pub(super) fn raise(vector: u8, apic_id: u32) -> Option<Self> {
        (apic_id < 0xff).then_some(Self([LOCAL_APICS | apic_id << 12, 0, u32::from(vector), 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_processor_and_vector() {
        assert_eq!(Entry::raise(0x41, 3), Some(Entry([0xfee0_3000, 0, 0x41, 0])));
        assert_eq!(Entry::raise(0x41, 0xff), None, "that is every processor");
    }
}
