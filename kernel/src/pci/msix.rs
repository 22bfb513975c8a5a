//! Message-signalled interrupts (APM vol. 2, 16.11; PCI Express 5.0, 7.7.2).

/// Entry of a function's MSI-X table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) [u32; 4]);

/// Size of an entry in bytes.
pub(super) const ENTRY: u64 = 16;

/// Address space of the local APICs, with the destination in bits 12 to 19.
const LOCAL_APICS: u32 = 0xfee0_0000;

impl Entry {
    /// Creates the entry that raises `vector` at the local APIC `apic_id`. Returns `None` if the id exceeds the
    /// address's field.
    pub(super) fn raise(vector: u8, apic_id: u32) -> Option<Self> {
        (apic_id < 0xff).then_some(Self([LOCAL_APICS | apic_id << 12, 0, u32::from(vector), 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_has_processor_and_vector() {
        assert_eq!(Entry::raise(0x41, 3), Some(Entry([0xfee0_3000, 0, 0x41, 0])));
        assert_eq!(Entry::raise(0x41, 0xff), None, "0xff addresses all processors");
    }
}
