//! Traffic of an image, for comparison with its port's counters.

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

/// Words of a subnet management packet: headers, 256 bytes and invariant CRC.
const SMP: u64 = (8 + 12 + 8 + 256 + 4) / 4;

impl Tally {
    /// Returns `true` if a port counts this that `passed` it, and besides the requests and responses of a subnet
    /// manager: of that a consumer hears nothing.
    #[must_use]
    pub fn is_with_management(&self, passed: &Self) -> bool {
        let more = |counted: u64, passed: u64| counted.checked_sub(passed);
        let are_smps = |packets: Option<u64>, words: Option<u64>| packets.map(|packets| packets * SMP) == words;
        let groups = |tally: &Self| (tally.multicast_xmit, tally.multicast_rcv);
        let (sent, received) =
            (more(self.unicast_xmit, passed.unicast_xmit), more(self.unicast_rcv, passed.unicast_rcv));
        groups(self) == groups(passed)
            && sent.is_some()
            && sent == received
            && are_smps(sent, more(self.xmit_data, passed.xmit_data))
            && are_smps(received, more(self.rcv_data, passed.rcv_data))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manager_asks_is_counted_besides() {
        let passed = Tally { xmit_data: 500, rcv_data: 700, unicast_xmit: 5, unicast_rcv: 7, ..Tally::default() };
        let with = |packets: u64, words: u64| Tally {
            xmit_data: passed.xmit_data + words,
            rcv_data: passed.rcv_data + words,
            unicast_xmit: passed.unicast_xmit + packets,
            unicast_rcv: passed.unicast_rcv + packets,
            ..passed
        };
        assert!(passed.is_with_management(&passed) && with(3, 216).is_with_management(&passed));
        assert!(!with(3, 215).is_with_management(&passed) && !with(0, 72).is_with_management(&passed));
        assert!(!passed.is_with_management(&with(1, 72)), "fewer");
        assert!(!Tally { rcv_data: 772, unicast_rcv: 8, ..passed }.is_with_management(&passed), "and no answer");
        assert!(!Tally { multicast_rcv: 1, ..with(1, 72) }.is_with_management(&passed));
    }
}
