//! The HSMA's outlet: to partitions, and to the physical ports.

use alloc::boxed::Box;

use iba::PortNum;
use subnet::{ChannelAdapter, Event, HsmaOutlet, Key, LhcaId, LinkRequest, Time, UplinkId};

use crate::events;
use crate::guest::Guest;
use crate::lhca::Lhca;

/// The physical ports.
pub trait Wire {
    /// Sends `packet`, good only for the call, by the physical port `uplink`.
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]);

    /// Requests a change of the link of the physical port `uplink`, after all packets that were sent before.
    fn link(&mut self, uplink: UplinkId, request: LinkRequest);
}

/// The HSMA's outlet: the physical ports and the partitions.
#[derive(Debug)]
pub struct FabricOutlet<'a, W, G: Guest> {
    pub(crate) now: Time,
    pub(crate) wire: &'a mut W,
    pub(crate) lhcas: &'a mut [Option<Box<Lhca<G>>>],
    pub(crate) undelivered: &'a mut u64,
}

impl<W: Wire, G: Guest> HsmaOutlet for FabricOutlet<'_, W, G> {
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]) {
        self.wire.transmit(uplink, packet);
    }

    fn deliver(&mut self, lhca: LhcaId, at: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key> {
        match self.lhcas.get_mut(usize::from(lhca.0)) {
            Some(Some(lhca)) => lhca.receive(at, port, packet),
            _ => {
                crate::lhca::count(self.undelivered);
                Ok(())
            }
        }
    }

    fn link(&mut self, uplink: UplinkId, request: LinkRequest) {
        self.wire.link(uplink, request);
    }

    fn event(&mut self, lhca: LhcaId, port: PortNum, event: Event) {
        if let Some(Some(lhca)) = self.lhcas.get_mut(usize::from(lhca.0)) {
            lhca.report_port_event(self.now, port, events::kind(event));
        }
    }
}
