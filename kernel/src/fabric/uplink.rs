//! Uplinks: physical ports with a logical switch behind them.

use hca_driver::{Counters, Port};
use subnet::{PortError, UplinkId};

/// Uplink of the HSMA.
pub(super) struct Uplink {
    /// Its physical port.
    pub(super) port: Port,
    /// `true` while the physical link is up.
    pub(super) is_up: bool,
    /// Device counters that the logical switch has already counted.
    counted: Counters,
}

impl Uplink {
    /// Creates an uplink at a physical port whose link is down.
    pub(super) fn new(port: Port) -> Self {
        Self { port, is_up: false, counted: Counters::default() }
    }

    /// Returns the errors since the last call, by kind, given the device's counters.
    pub(super) fn new_errors(&mut self, new: Counters) -> [(PortError, u32); 4] {
        let old = core::mem::replace(&mut self.counted, new);
        let errors = [
            (PortError::Rcv, old.rcv_errors, new.rcv_errors),
            (PortError::Vl15Dropped, old.vl15_dropped, new.vl15_dropped),
            (PortError::XmitDiscard, old.xmit_discards, new.xmit_discards),
            (PortError::XmitDiscard, old.vl15_send_dropped, new.vl15_send_dropped),
        ];
        errors.map(|(error, old, new)| {
            // A device of a new generation counts from 0.
            let times = if new < old { new } else { new - old };
            (error, u32::try_from(times).unwrap_or(u32::MAX))
        })
    }
}

/// Returns the HSMA's identifier of the uplink at `index`, 0 or 1.
pub(super) fn uplink_id(index: usize) -> UplinkId {
    UplinkId(index as u8)
}
