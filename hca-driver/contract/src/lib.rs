//! The contract between the emulated host channel adapter (HCA) and its driver: the layout of BAR2.
//!
//! Driver and device model both depend on this crate and on nothing else of each other's: it holds offsets, sizes,
//! and the names of values, and decodes nothing. All numbers in BAR2 are little-endian; packets are in wire order.
//!
//! BAR2 is packet memory, rings and registers. The HCA does no DMA, so a broken adapter reaches no RAM. Each word has
//! ONE writer for as long as the device lives; what a side wrote there it remembers, and never reads back to believe.
//!
//! | offset | what | writer |
//! |---|---|---|
//! | 0x0000 | [`device`] page: identity, generation, heartbeat | device |
//! | 0x1000 | [`driver`] page: the generation that the driver took up | driver |
//! | 0x2000 + 0x2000 x port | [`port`] page: link state and counters | device |
//! | 0x3000 + 0x2000 x port | [`port`] page: link request, and ring control | driver; control lines by their owner |
//! | 0x10000 | ring slots, see [`ring_offset`] | the ring's producer |
//!
//! # Rings
//! Each port has four rings ([`Ring`]). Indices are free-running `u32`; slot = index modulo the ring's length, which is
//! a power of two. A ring's control is two cache lines: the producer's, with `PRODUCED` and `SPACE_EVENT`, and the
//! consumer's, with `CONSUMED` and `DATA_EVENT`. A side that published an index notifies the other only if the other's
//! event index lies in what it just published: `published - event - 1 < published - before` (wrapping `u32`), with
//! `DATA_EVENT` = index whose production is to be told, `SPACE_EVENT` = index whose consumption is to be told.
//! Polling means never moving the event index, so that no notification comes. A full fence stands between publishing
//! an index and reading the other side's event index, and between moving an event index and reading the other's index.
//!
//! A slot is a [`slot`] header and then the packet, from the local route header (LRH) through the payload. The HCA
//! makes the invariant and variant CRCs (ICRC, VCRC) of what it sends, and checks and strips those of what it receives.
//!
//! # Life
//! The device writes [`device::GENERATION`] 0 before anything else, and its generation after everything else; 0 means
//! there is no device. A device that starts in a BAR2 that a former one left takes the next generation (never 0), and
//! begins with all its own indices at 0. So whoever sees an impossible index looks at the generation before judging.
//!
//! The driver that sees a new generation forgets its ring state, zeroes its own words, and writes
//! [`driver::GENERATION`] last; until that equals its own generation the device touches no ring and keeps its links
//! down; from then on they are [`LinkState::Polling`] as after [`LinkRequest::Enable`]. So neither side ever acts on what
//! the other wrote in an earlier life. A driver that restarts, or gives the device up, writes 0 there; a device whose
//! generation was taken up answers that by taking a new one.
//!
//! Each side tells the other of all this, and of link states and requests, on [`STATUS_VECTOR`], unasked.
#![no_std]

/// BAR2's size in bytes.
pub const BAR2_SIZE: usize = 8 << 20;

/// `b"PHCA"` as a little-endian `u32`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"PHCA");

/// Version of this layout: major << 16 | minor. A driver refuses another major version.
pub const VERSION: u32 = 1 << 16;

/// Ports an HCA may have.
pub const MAX_PORTS: u16 = 2;

/// Identity and life of the device; the device writes, the driver reads. Offsets from BAR2's start.
pub mod device {
    /// `u32`: [`crate::MAGIC`].
    pub const MAGIC: usize = 0x000;
    /// `u32`: [`crate::VERSION`].
    pub const VERSION: usize = 0x004;
    /// `u32`: 0 = no device; written first (0) and last at start, another value at each start.
    pub const GENERATION: usize = 0x008;
    /// `u32`: grows at least every [`HEARTBEAT_PERIOD_MS`] while the device lives.
    pub const HEARTBEAT: usize = 0x00c;
    /// `u32`: number of ports, 1 or 2.
    pub const PORTS: usize = 0x010;
    /// `u32`: whom the driver rings; the carrier gives it its meaning (ivshmem: the device's peer number).
    pub const DOORBELL_TARGET: usize = 0x014;
    /// `u64`: node GUID; port `p`'s GUID (1-based) is this plus `p`.
    pub const NODE_GUID: usize = 0x018;
    /// `u64`: system image GUID.
    pub const SYSTEM_IMAGE_GUID: usize = 0x020;
    /// `u32`: vendor id (24 bits).
    pub const VENDOR_ID: usize = 0x028;
    /// `u32`: device id in the low half, revision in the high half.
    pub const DEVICE_ID: usize = 0x02c;

    /// How often [`HEARTBEAT`] grows, at least.
    pub const HEARTBEAT_PERIOD_MS: u64 = 50;
    /// A heartbeat that stood still for this long means a dead device.
    pub const HEARTBEAT_TIMEOUT_MS: u64 = 3_000;
}

/// What the driver says of itself; the driver writes, the device reads. Offsets from BAR2's start.
pub mod driver {
    /// `u32`: the device generation that the driver took up; 0 = none.
    pub const GENERATION: usize = 0x1000;
}

/// A port's registers. Offsets from [`port_offset`].
pub mod port {
    /// `u64`, device: the link in one word, so that it is always read whole. Bits 0-7: a [`crate::LinkState`]; from
    /// [`LINK_WIDTH_SHIFT`], [`LINK_SPEED_SHIFT`] and [`LINK_SPEED_EXT_SHIFT`] on 8 bits each as in PortInfo's
    /// LinkWidthActive (2 = 4X), LinkSpeedActive (4 = 10.0 Gb/s) and LinkSpeedExtActive, 0 while the link is not up; from
    /// [`LINK_EPOCH_SHIFT`] on 32 bits that grow with each change of the state, so that a short down is never missed.
    pub const LINK: usize = 0x000;
    /// Where the width begins in [`LINK`].
    pub const LINK_WIDTH_SHIFT: u32 = 8;
    /// Where the speed begins in [`LINK`].
    pub const LINK_SPEED_SHIFT: u32 = 16;
    /// Where the extended speed begins in [`LINK`].
    pub const LINK_SPEED_EXT_SHIFT: u32 = 24;
    /// Where the epoch begins in [`LINK`].
    pub const LINK_EPOCH_SHIFT: u32 = 32;
    /// `u32`, device: the sequence number of the last [`LINK_REQUEST`] that was acted on; 0 = none yet.
    pub const LINK_REQUEST_DONE: usize = 0x008;
    /// `u64`s, device: the port's counters, in the order of [`crate::Counter`].
    pub const COUNTERS: usize = 0x100;

    /// `u64`, driver: a [`crate::LinkRequest`] in the low half, its sequence number from [`LINK_REQUEST_SEQ_SHIFT`] on: it
    /// grows by one with each request (0 only means "none yet"), and the device acts when it changes, after it has sent
    /// what the send rings held when it was made: so a manager that has a link retrained gets its answer first. Packets
    /// that have no credit are not waited for.
    pub const LINK_REQUEST: usize = 0x1000;
    /// Where the sequence number begins in [`LINK_REQUEST`].
    pub const LINK_REQUEST_SEQ_SHIFT: u32 = 32;
    /// Ring control, [`crate::control`] for each ring, [`RING_STRIDE`] apart, in the order of [`crate::Ring`].
    pub const RINGS: usize = 0x1100;
    /// From one ring's control to the next.
    pub const RING_STRIDE: usize = 0x80;
}

/// A ring's control. Offsets from [`ring_control_offset`].
pub mod control {
    /// `u32`, producer: slots produced so far.
    pub const PRODUCED: usize = 0x00;
    /// `u32`, producer: the consumption of this index is to be told.
    pub const SPACE_EVENT: usize = 0x04;
    /// `u32`, consumer: slots consumed so far.
    pub const CONSUMED: usize = 0x40;
    /// `u32`, consumer: the production of this index is to be told.
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
    /// There is a peer, and packets may pass.
    Up = 3,
}

/// What a driver may ask of a port's link ([`port::LINK_REQUEST`]).
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
    /// Packets that the driver wanted sent and that were malformed, or for which there was no link.
    XmitDiscards = 6,
    /// Times the link went down.
    LinkDowned = 7,
}

/// Number of [`Counter`]s.
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
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self::Qp0Send, Self::Qp0Receive, Self::PacketSend, Self::PacketReceive];

    /// Number of slots, a power of two.
    #[must_use]
    pub const fn slots(self) -> u32 {
        match self {
            Self::Qp0Send | Self::Qp0Receive | Self::PacketSend | Self::PacketReceive => 256,
        }
    }

    /// From one slot to the next, in bytes.
    #[must_use]
    pub const fn stride(self) -> usize {
        match self {
            Self::Qp0Send | Self::Qp0Receive => QP0_SLOT,
            Self::PacketSend | Self::PacketReceive => PACKET_SLOT,
        }
    }

    /// The longest packet that a slot takes, in bytes, CRCs not counted.
    #[must_use]
    pub const fn max_packet(self) -> usize {
        self.stride() - slot::PACKET
    }

    /// The interrupt that the device raises, and the doorbell that the driver rings, for this ring of port `port`
    /// (0-based). One number for both directions of a pair.
    #[must_use]
    pub const fn vector(self, port: u16) -> u16 {
        let pair = match self {
            Self::Qp0Send | Self::Qp0Receive => 0,
            Self::PacketSend | Self::PacketReceive => 1,
        };
        1 + 2 * port + pair
    }
}

/// The vector for everything that is no ring: link state, link requests, generations.
pub const STATUS_VECTOR: u16 = 0;

/// Number of vectors in each direction: status, and two for each port.
pub const VECTORS: u16 = 1 + 2 * MAX_PORTS;

/// A QP0 slot: LRH, BTH, DETH and a 256-byte MAD (284 bytes), or with a GRH 324, and room to spare.
pub const QP0_SLOT: usize = 512;

/// A packet slot: 4096 bytes of payload, all headers (LRH 8, GRH 40, BTH 12, the longest extension 28), and the header.
pub const PACKET_SLOT: usize = 4352;

const SLOTS: usize = 0x1_0000;
const PORT_PAGES: usize = 0x2000;
const PORT_STRIDE: usize = 0x2000;

/// Where the registers of `port` (0-based) begin.
#[must_use]
pub const fn port_offset(port: u16) -> usize {
    PORT_PAGES + port as usize * PORT_STRIDE
}

/// Where the control of `ring` of `port` (0-based) begins.
#[must_use]
pub const fn ring_control_offset(port: u16, ring: Ring) -> usize {
    port_offset(port) + port::RINGS + ring as usize * port::RING_STRIDE
}

/// Where the slots of `ring` of `port` (0-based) begin.
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

/// Where slot number `index` (free-running) of `ring` of `port` (0-based) begins.
#[must_use]
pub const fn slot_offset(port: u16, ring: Ring, index: u32) -> usize {
    ring_offset(port, ring) + (index & (ring.slots() - 1)) as usize * ring.stride()
}

/// Whether publishing the indices after `before` up to `published` passes the other side's `event` index.
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
mod tests {
    use super::*;

    #[test]
    fn notification_is_asked_for_exactly_once_also_across_the_wrap() {
        for start in [0_u32, 5, u32::MAX - 2] {
            let event = start.wrapping_add(1);
            assert!(!notify(event, start.wrapping_add(1), start), "index {start} is before the event");
            assert!(notify(event, start.wrapping_add(2), start.wrapping_add(1)));
            assert!(notify(event, start.wrapping_add(9), start), "a batch that passes the event");
            assert!(!notify(event, start.wrapping_add(3), start.wrapping_add(2)), "already told");
        }
    }

    #[test]
    fn rings_do_not_overlap() {
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
