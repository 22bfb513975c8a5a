//! The contract between the emulated host channel adapter (HCA) and its driver: the layout of BAR2.
//!
//! Driver and device model both depend on this crate and on nothing else of each other's. It holds offsets, sizes and
//! the names of values, and decodes nothing. All numbers in BAR2 are little-endian; packets are in wire order. The page
//! `book/src/bar2.md` gives the same contract as prose, complete enough to write either side from it.
//!
//! BAR2 is packet memory, rings and registers. The HCA does no DMA, so a broken adapter reaches no RAM. Each word has
//! ONE writer. A side remembers its own words and never reads them back.
//!
//! | offset | content | writer |
//! |---|---|---|
//! | 0x0000 | [`device`] page: identity, generation, heartbeat | device |
//! | 0x1000 | [`driver`] page: the generations that the driver took up and released | driver |
//! | 0x2000 + 0x2000 x port | [`port`] page: link state and counters | device |
//! | 0x3000 + 0x2000 x port | [`port`] page: link request, and ring control | driver; control lines by their owner |
//! | 0x10000 | ring slots, see [`ring_offset`] | the ring's producer |
//!
//! # Rings
//! Each port has four rings ([`Ring`]). Indices are free-running `u32`; slot = index modulo the ring's length, which is
//! a power of two. A ring's control is two cache lines: the producer's, with `PRODUCED` and `SPACE_EVENT`, and the
//! consumer's, with `CONSUMED` and `DATA_EVENT`. A side that published an index notifies the other only if the other's
//! event index lies in the entries that it just published: `published - event - 1 < published - before` (wrapping
//! `u32`). Polling means never moving the event index, so that no notification comes. A full fence stands between
//! publishing an index and reading the other side's event index, and between moving an event index and reading the
//! other's index.
//!
//! A slot is a [`slot`] header and then the packet, from the local route header (LRH) through the payload. The HCA
//! makes the invariant and variant CRCs (ICRC, VCRC) of packets that it sends, and checks and strips those of packets
//! that it receives.
//!
//! # Generations
//! The device writes [`device::GENERATION`] 0 before anything else, and its generation after everything else; 0 means
//! that no device is present. A device that starts in a BAR2 that a former one left takes the next generation that is
//! neither 0 nor one of the driver's two words, and begins with all its own indices at 0. So a driver that sees an
//! impossible index reads the generation before it judges.
//!
//! The driver that sees a new generation forgets its ring state, zeroes its own words, and writes
//! [`driver::GENERATION`] last. Until that equals its own generation the device touches no ring and keeps its links
//! down; from then on they are [`LinkState::Polling`] as after [`LinkRequest::Enable`]. So neither side ever acts on
//! words that the other wrote in an earlier generation.
//!
//! A driver that restarts, or gives the device up, writes the generation to [`driver::RELEASED`] and then 0 to
//! [`driver::GENERATION`]. A device whose generation was taken up and no longer is, or stands in `RELEASED`, begins a
//! new one. `RELEASED` covers the device that was too slow to see the take-up.
//!
//! Each side notifies the other of changes to generations, link states and link requests at [`STATUS_VECTOR`].
#![no_std]

/// BAR2's size in bytes.
pub const BAR2_SIZE: usize = 8 << 20;

/// `b"PHCA"` as a little-endian `u32`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"PHCA");

/// Version of this layout: major << 16 | minor. A driver refuses another major version.
pub const VERSION: u32 = 1 << 16 | 1;

/// Ports an HCA may have.
pub const MAX_PORTS: u16 = 2;

/// Identity, generation and heartbeat of the device; the device writes, the driver reads. Offsets from BAR2's start.
pub mod device {
    /// `u32`: [`crate::MAGIC`].
    pub const MAGIC: usize = 0x000;
    /// `u32`: [`crate::VERSION`].
    pub const VERSION: usize = 0x004;
    /// `u32`: 0 = no device. Written first (0) and last at start, with another value at each start.
    pub const GENERATION: usize = 0x008;
    /// `u32`: grows at least every [`HEARTBEAT_PERIOD_MS`] while the device runs.
    pub const HEARTBEAT: usize = 0x00c;
    /// `u32`: number of ports, 1 or 2.
    pub const PORTS: usize = 0x010;
    /// `u32`: target of the driver's doorbell, below 0x10000; the carrier gives it its meaning (ivshmem: peer number).
    pub const DOORBELL_TARGET: usize = 0x014;
    /// `u64`: node GUID; port `p`'s GUID (1-based) is this plus `p`.
    pub const NODE_GUID: usize = 0x018;
    /// `u64`: system image GUID.
    pub const SYSTEM_IMAGE_GUID: usize = 0x020;
    /// `u32`: vendor id (24 bits).
    pub const VENDOR_ID: usize = 0x028;
    /// `u32`: device id in the low half, revision in the high half.
    pub const DEVICE_ID: usize = 0x02c;

    /// Longest time between two steps of [`HEARTBEAT`], in milliseconds.
    pub const HEARTBEAT_PERIOD_MS: u64 = 50;
    /// Time without a step of [`HEARTBEAT`] after which the device counts as dead, in milliseconds.
    pub const HEARTBEAT_TIMEOUT_MS: u64 = 3_000;
}

/// Generations that the driver took up and released; the driver writes, the device reads. Offsets from BAR2's start.
pub mod driver {
    /// `u32`: the device generation that the driver took up; 0 = none.
    pub const GENERATION: usize = 0x1000;
    /// `u32`: the device generation that the driver released last, and will not take up again; 0 = none.
    pub const RELEASED: usize = 0x1004;
}

/// A port's registers. Offsets from [`port_offset`].
pub mod port {
    /// `u64`, device: the link in one word, so that it is always read whole. Bits 0-7 hold a [`crate::LinkState`]. From
    /// [`LINK_WIDTH_SHIFT`], [`LINK_SPEED_SHIFT`] and [`LINK_SPEED_EXT_SHIFT`] on there are 8 bits each, as in
    /// PortInfo's LinkWidthActive (2 = 4X), LinkSpeedActive (4 = 10.0 Gb/s) and LinkSpeedExtActive (IBA vol. 1,
    /// 14.2.5.6); 0 while the link is not up. From [`LINK_EPOCH_SHIFT`] on there are 32 bits that grow with each change
    /// of the state, so that the driver never misses a short down.
    pub const LINK: usize = 0x000;
    /// First bit of the width in [`LINK`].
    pub const LINK_WIDTH_SHIFT: u32 = 8;
    /// First bit of the speed in [`LINK`].
    pub const LINK_SPEED_SHIFT: u32 = 16;
    /// First bit of the extended speed in [`LINK`].
    pub const LINK_SPEED_EXT_SHIFT: u32 = 24;
    /// First bit of the epoch in [`LINK`].
    pub const LINK_EPOCH_SHIFT: u32 = 32;
    /// `u32`, device: sequence number of the last [`LINK_REQUEST`] that the device acted on; 0 = none yet.
    pub const LINK_REQUEST_DONE: usize = 0x008;
    /// `u64`s, device: the port's counters, in the order of [`crate::Counter`].
    pub const COUNTERS: usize = 0x100;

    /// `u64`, driver: a [`crate::LinkRequest`] in the low half, its sequence number from [`LINK_REQUEST_SEQ_SHIFT`] on.
    /// The number grows by one with each request and skips 0, which means "none yet". The device acts when the number
    /// changes, after it has sent the packets that the send rings held by then: so an SM that has a link retrained gets
    /// its response first. Packets without credit do not delay the request.
    pub const LINK_REQUEST: usize = 0x1000;
    /// First bit of the sequence number in [`LINK_REQUEST`].
    pub const LINK_REQUEST_SEQ_SHIFT: u32 = 32;
    /// Ring control words ([`crate::control`]) of each ring, [`RING_STRIDE`] apart, in the order of [`crate::Ring`].
    pub const RINGS: usize = 0x1100;
    /// Distance from one ring's control words to the next, in bytes.
    pub const RING_STRIDE: usize = 0x80;
}

/// Control words of a ring. Offsets from [`ring_control_offset`].
pub mod control {
    /// `u32`, producer: slots produced so far.
    pub const PRODUCED: usize = 0x00;
    /// `u32`, producer: event index; the consumer notifies the producer when it consumes the entry of this index.
    pub const SPACE_EVENT: usize = 0x04;
    /// `u32`, consumer: slots consumed so far.
    pub const CONSUMED: usize = 0x40;
    /// `u32`, consumer: event index; the producer notifies the consumer when it produces the entry of this index.
    pub const DATA_EVENT: usize = 0x44;
}

/// A slot's header; the packet follows at [`slot::PACKET`]. Offsets from the slot's start.
pub mod slot {
    /// `u32`: the slot's free-running index, low bits included: a slot whose index is not the expected one is garbage.
    pub const INDEX: usize = 0x00;
    /// `u32`: packet length in bytes, CRCs not counted.
    pub const LENGTH: usize = 0x04;
    /// The packet, LRH first.
    pub const PACKET: usize = 0x10;
}

/// State of a port's link, as the device sees it ([`port::LINK`]).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Held down by request.
    Disabled = 1,
    /// Looking for a peer.
    Polling = 2,
    /// Connected to a peer; packets may pass.
    Up = 3,
}

/// Request of a driver for a port's link ([`port::LINK_REQUEST`]).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Hold the link down.
    Disable = 1,
    /// Look for a peer, and stay up once there is one. A link that is up stays as it is.
    Enable = 2,
    /// Go down, and look for the peer again.
    Retrain = 3,
}

/// The counters that the device keeps for each port, saturating `u64`s at [`port::COUNTERS`] + 8 x this.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Packets sent on the cable.
    XmitPackets = 0,
    /// Bytes sent, CRCs included.
    XmitBytes = 1,
    /// Packets received in good order.
    RcvPackets = 2,
    /// Bytes received, CRCs included.
    RcvBytes = 3,
    /// Packets received with a wrong CRC or a malformed header.
    RcvErrors = 4,
    /// Packets dropped because the VL15 receive ring was full.
    Vl15Dropped = 5,
    /// Packets of the driver's that were malformed, or that found the link down.
    XmitDiscards = 6,
    /// Number of times that the link went down.
    LinkDowned = 7,
}

/// Number of [`Counter`] values.
pub const COUNTERS: usize = 8;

/// A port's rings.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Queue pair 0 (VL15), driver to device.
    Qp0Send = 0,
    /// Queue pair 0 (VL15), device to driver: the device drops and counts when it is full.
    Qp0Receive = 1,
    /// Everything else, driver to device.
    PacketSend = 2,
    /// Everything else, device to driver: the device gives the peer credit for free slots only, and never drops.
    PacketReceive = 3,
}

impl Ring {
    /// Rings of a port, in order.
    pub const ALL: [Self; 4] = [Self::Qp0Send, Self::Qp0Receive, Self::PacketSend, Self::PacketReceive];

    /// Returns the number of slots, a power of two.
    #[must_use]
    pub const fn slots(self) -> u32 {
        match self {
            Self::Qp0Send | Self::Qp0Receive | Self::PacketSend | Self::PacketReceive => 256,
        }
    }

    /// Returns the distance from one slot to the next, in bytes.
    #[must_use]
    pub const fn stride(self) -> usize {
        match self {
            Self::Qp0Send | Self::Qp0Receive => QP0_SLOT,
            Self::PacketSend | Self::PacketReceive => PACKET_SLOT,
        }
    }

    /// Returns the length of the longest packet that a slot takes, in bytes, CRCs not counted.
    #[must_use]
    pub const fn max_packet(self) -> usize {
        self.stride() - slot::PACKET
    }

    /// Returns the vector of the device's interrupts and of the driver's notifications for this ring of `port`
    /// (0-based). Both rings of a pair share one vector.
    #[must_use]
    pub const fn vector(self, port: u16) -> u16 {
        let pair = match self {
            Self::Qp0Send | Self::Qp0Receive => 0,
            Self::PacketSend | Self::PacketReceive => 1,
        };
        1 + 2 * port + pair
    }
}

/// Vector of link states, link requests and generations.
pub const STATUS_VECTOR: u16 = 0;

/// Number of vectors in each direction: status, and two for each port.
pub const VECTORS: u16 = 1 + 2 * MAX_PORTS;

/// Bytes of a QP0 slot: a header, and LRH, BTH, DETH and a 256-byte MAD (284 bytes, or 324 with a GRH).
pub const QP0_SLOT: usize = 512;

/// Bytes of a packet slot: a header, LRH 8, GRH 40, BTH 12, the longest extended headers 28, and 4096 of payload.
pub const PACKET_SLOT: usize = 4352;

const SLOTS: usize = 0x1_0000;
const PORT_PAGES: usize = 0x2000;
const PORT_STRIDE: usize = 0x2000;

/// Returns the offset of the registers of `port` (0-based).
#[must_use]
pub const fn port_offset(port: u16) -> usize {
    PORT_PAGES + port as usize * PORT_STRIDE
}

/// Returns the offset of the control words of `ring` of `port` (0-based).
#[must_use]
pub const fn ring_control_offset(port: u16, ring: Ring) -> usize {
    port_offset(port) + port::RINGS + ring as usize * port::RING_STRIDE
}

/// Returns the offset of the slots of `ring` of `port` (0-based).
#[must_use]
pub const fn ring_offset(port: u16, ring: Ring) -> usize {
    let mut offset = SLOTS + port as usize * port_slots();
    let mut i = 0;
    while i < ring as usize {
        offset += ring_size(Ring::ALL[i]);
        i += 1;
    }
    offset
}

/// Returns the offset of slot number `index` (free-running) of `ring` of `port` (0-based).
#[must_use]
pub const fn slot_offset(port: u16, ring: Ring, index: u32) -> usize {
    ring_offset(port, ring) + (index & (ring.slots() - 1)) as usize * ring.stride()
}

/// Returns `true` if the entries from `before` up to, but without, `published` include the other side's `event` index.
#[must_use]
pub const fn notify(event: u32, published: u32, before: u32) -> bool {
    published.wrapping_sub(event).wrapping_sub(1) < published.wrapping_sub(before)
}

const fn ring_size(ring: Ring) -> usize {
    ring.slots() as usize * ring.stride()
}

const fn port_slots() -> usize {
    let mut size = 0;
    let mut i = 0;
    while i < Ring::ALL.len() {
        size += ring_size(Ring::ALL[i]);
        i += 1;
    }
    size
}

const _: () = {
    let mut i = 0;
    while i < Ring::ALL.len() {
        assert!(Ring::ALL[i] as usize == i);
        assert!(Ring::ALL[i].slots().is_power_of_two());
        assert!(Ring::ALL[i].stride().is_multiple_of(64));
        i += 1;
    }
    assert!(Ring::Qp0Send.max_packet() >= 8 + 40 + 12 + 8 + 256);
    assert!(Ring::PacketSend.max_packet() >= 8 + 40 + 12 + 28 + 4096);
    assert!(port_offset(MAX_PORTS) <= SLOTS);
    assert!(port::COUNTERS + 8 * COUNTERS <= port::LINK_REQUEST);
    assert!(port::RINGS + Ring::ALL.len() * port::RING_STRIDE <= PORT_STRIDE);
    assert!(SLOTS + MAX_PORTS as usize * port_slots() <= BAR2_SIZE);
    assert!(BAR2_SIZE.is_power_of_two());
};

#[cfg(test)]
extern crate std;

#[cfg(test)]
mod page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_index_across_the_wrap_notifies_exactly_once() {
        for start in [0_u32, 5, u32::MAX - 2] {
            let event = start.wrapping_add(1);
            assert!(!notify(event, start.wrapping_add(1), start), "index {start} is before the event");
            assert!(notify(event, start.wrapping_add(2), start.wrapping_add(1)));
            assert!(notify(event, start.wrapping_add(9), start), "a batch that passes the event");
            assert!(!notify(event, start.wrapping_add(3), start.wrapping_add(2)), "already notified");
        }
    }

    #[test]
    fn rings_fill_bar2_without_overlap() {
        let mut end = 0x1_0000;
        for port in 0..MAX_PORTS {
            for ring in Ring::ALL {
                assert_eq!(ring_offset(port, ring), end);
                end = slot_offset(port, ring, ring.slots() - 1) + ring.stride();
            }
        }
        assert!(end <= BAR2_SIZE);
        assert_eq!(slot_offset(1, Ring::Qp0Send, u32::MAX), slot_offset(1, Ring::Qp0Send, 255));
    }
}
