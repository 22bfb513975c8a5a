//! The driver's way to notify the device.

/// Doorbell of the carrier. With ivshmem: `target << 16 | vector` stored at offset 12 of BAR0.
pub trait Doorbell {
    /// Notifies `target` at `vector`. Must not be reordered before earlier stores to BAR2.
    fn notify(&mut self, target: u16, vector: u16);
}

impl<F: FnMut(u16, u16)> Doorbell for F {
    fn notify(&mut self, target: u16, vector: u16) {
        self(target, vector);
    }
}
