//! A port's counters.

use crate::bar::Bar2;
use crate::port::Port;
use crate::registers::PortPageVolatileFieldAccess as _;

/// Counters of a port; all saturate. The device keeps them for one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent on the cable.
    pub xmit_packets: u64,
    /// Bytes sent, CRCs included.
    pub xmit_bytes: u64,
    /// Packets received in good order.
    pub rcv_packets: u64,
    /// Bytes received, CRCs included.
    pub rcv_bytes: u64,
    /// Packets received with a wrong CRC or a malformed header.
    pub rcv_errors: u64,
    /// Packets dropped because the VL15 receive ring was full.
    pub vl15_dropped: u64,
    /// Packets that the device did not send: malformed, or no link.
    pub xmit_discards: u64,
    /// Number of times that the link went down.
    pub link_downed: u64,
    /// Packets that the driver dropped because the VL15 send ring was full. The driver keeps this one, over
    /// generations.
    pub vl15_send_dropped: u64,
}

impl Counters {
    /// Reads the device's counters of `port`.
    pub(crate) fn read(bar: &Bar2, port: Port, vl15_send_dropped: u64) -> Self {
        let registers = bar.port(port);
        Self {
            xmit_packets: registers.xmit_packets().read(),
            xmit_bytes: registers.xmit_bytes().read(),
            rcv_packets: registers.rcv_packets().read(),
            rcv_bytes: registers.rcv_bytes().read(),
            rcv_errors: registers.rcv_errors().read(),
            vl15_dropped: registers.vl15_dropped().read(),
            xmit_discards: registers.xmit_discards().read(),
            link_downed: registers.link_downed().read(),
            vl15_send_dropped,
        }
    }
}
