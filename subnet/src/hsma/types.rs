//! Names of uplinks, logical ports and LHCAs, and the outlet of the HSMA.

use iba::PortNum;

use crate::adapter::ChannelAdapter;
use crate::gsi::Key;
use crate::outlet::{Event, LinkRequest};

/// The port of a logical switch that is the uplink.
pub const UPLINK: PortNum = PortNum::new(1);

/// A physical port, and the logical switch behind it; counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkId(pub u8);

/// A logical adapter, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LhcaId(pub u16);

/// Where the HSMA's packets and wishes go. A packet is good only for the call.
pub trait HsmaOutlet {
    /// Sends `packet` by the physical port `uplink`.
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]);

    /// Hands `packet` to the consumers at `port` of `lhca`, whose node is `at`.
    ///
    /// # Errors
    /// The key for which a queue pair refuses it, as with [`Node::refused`].
    fn deliver(&mut self, lhca: LhcaId, at: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key>;

    /// Does something to the link of the physical port `uplink`, after all that was sent before.
    fn link(&mut self, uplink: UplinkId, request: LinkRequest);

    /// Tells the consumers at `port` of `lhca` what happened to it.
    fn event(&mut self, lhca: LhcaId, port: PortNum, event: Event) {
        let _ = (lhca, port, event);
    }
}

/// Where a port of an LHCA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogicalPort {
    /// The logical switch.
    pub uplink: UplinkId,
    /// Its port, from 2 on.
    pub port: PortNum,
}
