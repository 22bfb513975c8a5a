//! Physical ports as the wire of the logical fabric: packets and link requests go to the driver.

use hca_driver::{Doorbell, Hca, Queue};
use lhca_engine::Wire;
use subnet::{LinkRequest, UplinkId};

use super::drops::Drops;
use super::uplink::Uplink;

/// Driver as the wire of the logical fabric.
pub(super) struct Physical<'a, D> {
    hca: &'a mut Hca<D>,
    uplinks: &'a [Uplink],
    drops: &'a mut Drops,
    link_requested: bool,
}

impl<'a, D> Physical<'a, D> {
    pub(super) fn new(hca: &'a mut Hca<D>, uplinks: &'a [Uplink], drops: &'a mut Drops) -> Self {
        Self { hca, uplinks, drops, link_requested: false }
    }

    /// Returns `true` if a link was requested since creation. The driver carries a request out when it is next polled.
    pub(super) fn is_link_requested(&self) -> bool {
        self.link_requested
    }
}

impl<D: Doorbell> Wire for Physical<'_, D> {
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]) {
        let Some(uplink) = self.uplinks.get(usize::from(uplink.0)) else { return };
        if self.hca.send(uplink.port, queue_of(packet), packet).is_err() {
            self.drops.count_unsent();
        }
    }

    fn link(&mut self, uplink: UplinkId, request: LinkRequest) {
        let Some(uplink) = self.uplinks.get(usize::from(uplink.0)) else { return };
        let request = match request {
            LinkRequest::Disable => hca_driver::LinkRequest::Disable,
            LinkRequest::Enable => hca_driver::LinkRequest::Enable,
            LinkRequest::Retrain => hca_driver::LinkRequest::Retrain,
        };
        self.hca.request_link(uplink.port, request);
        self.link_requested = true;
    }
}

/// Returns the queue of a packet by the virtual lane in its LRH (IBA vol. 1, 7.7.1).
fn queue_of(packet: &[u8]) -> Queue {
    match packet.first() {
        Some(byte) if byte >> 4 == 15 => Queue::Qp0,
        _ => Queue::Packet,
    }
}
