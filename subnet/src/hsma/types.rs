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

/// A logical adapter, until its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LhcaId(pub u16);

/// Receives the HSMA's packets, deliveries and link requests. A packet is valid for the call alone.
pub trait HsmaOutlet {
    /// Sends `packet` by the physical port `uplink`.
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]);

    /// Hands `packet` to the consumers at `port` of `lhca`, whose node is `at`.
    ///
    /// # Errors
    /// The key for which a queue pair refuses it, as with `Node::refused`.
    fn deliver(&mut self, lhca: LhcaId, at: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key>;

    /// Requests a change of the link of the physical port `uplink`, after all packets that were sent before.
    fn link(&mut self, uplink: UplinkId, request: LinkRequest);

    /// Reports an event of `port` to the consumers of `lhca`.
    fn event(&mut self, lhca: LhcaId, port: PortNum, event: Event) {
        let _ = (lhca, port, event);
    }
}

/// A logical port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogicalPort {
    /// The logical switch.
    pub uplink: UplinkId,
    /// Its port, from 2 on.
    pub port: PortNum,
}
