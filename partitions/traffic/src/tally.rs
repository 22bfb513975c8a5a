//! What an image sent and received, to be compared with what its port counted.

use core::ops::Sub;

use iba::bth::Bth;
use iba::deth::Deth;
use iba::grh::Grh;
use iba::lrh::Lrh;
use iba::pma::PortCountersExtended;

/// Packets and words that passed a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Words of four bytes sent.
    pub xmit_data: u64,
    /// Words of four bytes received.
    pub rcv_data: u64,
    /// Packets sent to one port.
    pub unicast_xmit: u64,
    /// Packets received as one port.
    pub unicast_rcv: u64,
    /// Packets sent to a group.
    pub multicast_xmit: u64,
    /// Packets received as one of a group.
    pub multicast_rcv: u64,
}

impl Tally {
    /// Counts a packet of so many [`words`] that was sent.
    pub fn sent(&mut self, words: u64, multicast: bool) {
        self.xmit_data += words;
        *(if multicast { &mut self.multicast_xmit } else { &mut self.unicast_xmit }) += 1;
    }

    /// Counts a packet of so many [`words`] that was received.
    pub fn received(&mut self, words: u64, multicast: bool) {
        self.rcv_data += words;
        *(if multicast { &mut self.multicast_rcv } else { &mut self.unicast_rcv }) += 1;
    }
}

impl From<&PortCountersExtended> for Tally {
    fn from(counters: &PortCountersExtended) -> Self {
        Self {
            xmit_data: counters.port_xmit_data.get(),
            rcv_data: counters.port_rcv_data.get(),
            unicast_xmit: counters.port_unicast_xmit_packets.get(),
            unicast_rcv: counters.port_unicast_rcv_packets.get(),
            multicast_xmit: counters.port_multicast_xmit_packets.get(),
            multicast_rcv: counters.port_multicast_rcv_packets.get(),
        }
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            xmit_data: self.xmit_data.wrapping_sub(before.xmit_data),
            rcv_data: self.rcv_data.wrapping_sub(before.rcv_data),
            unicast_xmit: self.unicast_xmit.wrapping_sub(before.unicast_xmit),
            unicast_rcv: self.unicast_rcv.wrapping_sub(before.unicast_rcv),
            multicast_xmit: self.multicast_xmit.wrapping_sub(before.multicast_xmit),
            multicast_rcv: self.multicast_rcv.wrapping_sub(before.multicast_rcv),
        }
    }
}

/// Words of four bytes that a port counts for a datagram with immediate data: from the local route header through the
/// invariant CRC (IBA vol. 1, 16.1.3.5).
#[must_use]
pub fn words(payload: usize, grh: bool) -> u64 {
    const IMMEDIATE: usize = 4;
    const ICRC: usize = 4;
    let headers = size_of::<Lrh>() + size_of::<Bth>() + size_of::<Deth>() + IMMEDIATE + ICRC;
    let grh = if grh { size_of::<Grh>() } else { 0 };
    ((headers + grh + payload.next_multiple_of(4)) / 4) as u64
}
