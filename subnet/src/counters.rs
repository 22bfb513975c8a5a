//! Counters of a port (16.1.3.5). Every counter saturates.

/// Packets and data that passed a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Words of four bytes sent, from the local route header through the invariant CRC.
    pub xmit_data: u64,
    /// Words of four bytes received, likewise.
    pub rcv_data: u64,
    /// Packets sent.
    pub xmit_packets: u64,
    /// Packets received.
    pub rcv_packets: u64,
    /// Packets sent, but for those to multicast LIDs.
    pub unicast_xmit_packets: u64,
    /// Packets received, but for those to multicast LIDs.
    pub unicast_rcv_packets: u64,
    /// Packets sent to multicast LIDs.
    pub multicast_xmit_packets: u64,
    /// Packets received for multicast LIDs.
    pub multicast_rcv_packets: u64,
}

/// An event of a port that PortCounters counts, in the order of its CounterSelect's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortError {
    /// Minor link errors.
    Symbol,
    /// Successful recoveries of the link.
    LinkErrorRecovery,
    /// Failed recoveries: the link went down.
    LinkDowned,
    /// Packets that are malformed or damaged.
    Rcv,
    /// Packets that the other end marked as bad.
    RcvRemotePhysical,
    /// Packets that a switch could not relay: no port for the LID, or the one that they came by.
    RcvSwitchRelay,
    /// Packets not sent because the port is down or congested.
    XmitDiscard,
    /// Packets not sent by reason of partition enforcement.
    XmitConstraint,
    /// Received packets dropped by reason of partition enforcement.
    RcvConstraint,
    /// Local physical errors that came to their threshold.
    LocalLinkIntegrity,
    /// Overruns of the buffer that came to their threshold.
    ExcessiveBufferOverrun,
    /// Management packets dropped for lack of room.
    Vl15Dropped,
}

/// Number of kinds of [`PortError`].
const ERRORS: usize = PortError::Vl15Dropped as usize + 1;

/// Traffic in one direction since the creation of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passed {
    words: u64,
    packets: u64,
    /// Of the packets, those to multicast LIDs.
    multicast: u64,
}

/// The counters of one port.
///
/// PortCounters and PortCountersExtended are reset apart, so each has its own beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    sent: Passed,
    received: Passed,
    short_base: Traffic,
    extended_base: Traffic,
    errors: [u32; ERRORS],
    dropped: u64,
}

impl Counters {
    /// All that passed since the node was made.
    #[must_use]
    pub fn total(&self) -> Traffic {
        Traffic {
            xmit_data: self.sent.words,
            rcv_data: self.received.words,
            xmit_packets: self.sent.packets,
            rcv_packets: self.received.packets,
            unicast_xmit_packets: self.sent.packets - self.sent.multicast,
            unicast_rcv_packets: self.received.packets - self.received.multicast,
            multicast_xmit_packets: self.sent.multicast,
            multicast_rcv_packets: self.received.multicast,
        }
    }

    /// Returns the traffic since PortCounters was reset.
    #[must_use]
    pub fn short(&self) -> Traffic {
        self.total().since(&self.short_base)
    }

    /// Returns the traffic since PortCountersExtended was reset.
    #[must_use]
    pub fn extended(&self) -> Traffic {
        self.total().since(&self.extended_base)
    }

    /// Returns the number of `error` since its counter was reset.
    #[must_use]
    pub fn error(&self, error: PortError) -> u32 {
        self.errors[error as usize]
    }

    /// Packets that a rule forbade to act on or to pass, none of which the PMA counts: management packets with wrong
    /// headers or hops, keys or directions, and packets without a consumer at the port. Since the node was made.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Counts a packet that came in.
    #[inline]
    pub(crate) fn received(&mut self, words: u16, multicast: bool) {
        self.received.count(1, words.into(), multicast);
    }

    /// Counts a packet that goes out.
    #[inline]
    pub(crate) fn sent(&mut self, words: u16, multicast: bool) {
        self.sent.count(1, words.into(), multicast);
    }

    /// Counts unicast packets that went out (`sent`), or came in, of `words` words together.
    pub(crate) fn passed(&mut self, sent: bool, packets: u64, words: u64) {
        let passed = if sent { &mut self.sent } else { &mut self.received };
        passed.count(packets, words, false);
    }

    /// Counts `times` errors.
    #[inline]
    pub(crate) fn count(&mut self, error: PortError, times: u32) {
        let count = &mut self.errors[error as usize];
        *count = count.saturating_add(times);
    }

    /// Counts a packet of [`Self::dropped`].
    #[inline]
    pub(crate) fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Makes an error's counter `value`.
    pub(crate) fn set_error(&mut self, error: PortError, value: u32) {
        self.errors[error as usize] = value;
    }

    /// Changes what [`Self::short`] is.
    pub(crate) fn set_short(&mut self, change: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.short();
        change(&mut traffic);
        self.short_base = self.total().since(&traffic);
    }

    /// Changes what [`Self::extended`] is.
    pub(crate) fn set_extended(&mut self, change: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.extended();
        change(&mut traffic);
        self.extended_base = self.total().since(&traffic);
    }
}

impl Passed {
    #[inline]
    fn count(&mut self, packets: u64, words: u64, multicast: bool) {
        // 2^64 words are 40 years at the fastest there is.
        self.words = self.words.wrapping_add(words);
        self.packets = self.packets.wrapping_add(packets);
        self.multicast = self.multicast.wrapping_add(if multicast { packets } else { 0 });
    }
}

impl Traffic {
    /// This less `base`, modulo 2^64, so that a counter can be set ahead of all that passed.
    fn since(&self, base: &Self) -> Self {
        Self {
            xmit_data: self.xmit_data.wrapping_sub(base.xmit_data),
            rcv_data: self.rcv_data.wrapping_sub(base.rcv_data),
            xmit_packets: self.xmit_packets.wrapping_sub(base.xmit_packets),
            rcv_packets: self.rcv_packets.wrapping_sub(base.rcv_packets),
            unicast_xmit_packets: self.unicast_xmit_packets.wrapping_sub(base.unicast_xmit_packets),
            unicast_rcv_packets: self.unicast_rcv_packets.wrapping_sub(base.unicast_rcv_packets),
            multicast_xmit_packets: self.multicast_xmit_packets.wrapping_sub(base.multicast_xmit_packets),
            multicast_rcv_packets: self.multicast_rcv_packets.wrapping_sub(base.multicast_rcv_packets),
        }
    }

    /// This and `other` together, each counter stopping at its greatest value.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            xmit_data: self.xmit_data.saturating_add(other.xmit_data),
            rcv_data: self.rcv_data.saturating_add(other.rcv_data),
            xmit_packets: self.xmit_packets.saturating_add(other.xmit_packets),
            rcv_packets: self.rcv_packets.saturating_add(other.rcv_packets),
            unicast_xmit_packets: self.unicast_xmit_packets.saturating_add(other.unicast_xmit_packets),
            unicast_rcv_packets: self.unicast_rcv_packets.saturating_add(other.unicast_rcv_packets),
            multicast_xmit_packets: self.multicast_xmit_packets.saturating_add(other.multicast_xmit_packets),
            multicast_rcv_packets: self.multicast_rcv_packets.saturating_add(other.multicast_rcv_packets),
        }
    }
}
