//! Counters of dropped packets.

/// Number of packets dropped by the fabric, by reason; saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Receive slots with invalid contents.
    pub slots: u64,
    /// Packets without a consumer.
    pub undelivered: u64,
    /// Packets for which there was no device or no send slot.
    pub unsent: u64,
}

impl Drops {
    /// Counts an invalid receive slot.
    pub(super) fn count_slot(&mut self) {
        self.slots = self.slots.saturating_add(1);
    }

    /// Counts a packet that could not be sent.
    pub(super) fn count_unsent(&mut self) {
        self.unsent = self.unsent.saturating_add(1);
    }
}
