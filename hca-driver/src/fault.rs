//! What can go wrong, by name.

use core::time::Duration;

use hca_contract::{MAGIC, VERSION};
use thiserror::Error;

use crate::port::{Port, Queue};

/// Why a device was given up, or not taken up. The driver waits for its next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// BAR2 does not begin with the contract's magic.
    #[error("BAR2 begins with {0:#010x}, not {MAGIC:#010x}: it is not the HCA's, or was removed")]
    BadMagic(u32),
    /// Another major version of the contract.
    #[error("the HCA speaks contract version {0:#010x}, the driver {VERSION:#010x}: build both from one source")]
    BadVersion(u32),
    /// Neither one nor two ports.
    #[error("the HCA claims {0} ports, and 1 or 2 are possible")]
    BadPorts(u32),
    /// The doorbell's target is no 16-bit number.
    #[error("the HCA's doorbell target {0:#x} is not below 0x10000")]
    BadDoorbellTarget(u32),
    /// The node GUID is 0, or a port's GUID would not fit behind it.
    #[error("the HCA's node GUID {0:#018x} leaves no GUID for its ports")]
    BadNodeGuid(u64),
    /// The device is gone: its generation became 0.
    #[error("the HCA went away: its generation is 0")]
    Gone,
    /// Another life of the device began.
    #[error("the HCA started again: generation {from} became {to}")]
    Restarted {
        /// Generation that the driver had taken up.
        from: u32,
        /// Generation seen.
        to: u32,
    },
    /// The heartbeat stood still for this long.
    #[error("the HCA's heartbeat has not moved for {0:?}: its process is dead or stopped")]
    HeartbeatStopped(Duration),
    /// A link state outside the contract.
    #[error("port {port} claims link state {state}, which does not exist")]
    BadLinkState {
        /// The port.
        port: Port,
        /// What the device wrote.
        state: u8,
    },
    /// A link that is up has a width or speed that does not exist.
    #[error("port {port} claims a link with width {width:#x}, speed {speed:#x}, extended speed {speed_ext:#x}")]
    BadLinkRate {
        /// The port.
        port: Port,
        /// LinkWidthActive.
        width: u8,
        /// LinkSpeedActive.
        speed: u8,
        /// LinkSpeedExtActive.
        speed_ext: u8,
    },
    /// The device claims to have acted on a link request that was never made.
    #[error("port {port} claims to have done link request {done}, and the last made was {made}")]
    BadLinkRequestDone {
        /// The port.
        port: Port,
        /// Sequence number of the last request.
        made: u32,
        /// What the device wrote.
        done: u32,
    },
    /// A receive ring's producer index moved backwards, or beyond the ring's room.
    #[error("port {port}, {queue} receive: produced jumped from {before} to {seen}, with {consumed} consumed")]
    ProducedJumped {
        /// The port.
        port: Port,
        /// The queue.
        queue: Queue,
        /// The index seen before.
        before: u32,
        /// The index seen now.
        seen: u32,
        /// The driver's own index.
        consumed: u32,
    },
    /// A send ring's consumer index moved backwards, or beyond what was produced.
    #[error("port {port}, {queue} send: consumed jumped from {before} to {seen}, with {produced} produced")]
    ConsumedJumped {
        /// The port.
        port: Port,
        /// The queue.
        queue: Queue,
        /// The index seen before.
        before: u32,
        /// The index seen now.
        seen: u32,
        /// The driver's own index.
        produced: u32,
    },
}

/// Why what the device put in a receive slot is no packet. The slot is passed over and the ring goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SlotFault {
    /// The slot carries another index than the one it was produced as.
    #[error("slot {expected} carries index {seen}: passed over")]
    WrongIndex {
        /// The index that was due.
        expected: u32,
        /// The index found.
        seen: u32,
    },
    /// The packet is shorter than an LRH (0 included), or longer than a slot.
    #[error("slot {index} claims a packet of {length} bytes: passed over")]
    BadLength {
        /// The slot's index.
        index: u32,
        /// What the device wrote.
        length: u32,
    },
    /// The length is not the one that the packet's own LRH gives (IBA vol. 1, 7.7.5).
    #[error("slot {index} claims {length} bytes, and its LRH {lrh}: passed over")]
    LengthMismatch {
        /// The slot's index.
        index: u32,
        /// What the device wrote.
        length: u32,
        /// The LRH's packet length in bytes, without the ICRC.
        lrh: u32,
    },
}

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no device, or it has no such port.
    #[error("not sent: there is no HCA with that port; wait until it is attached")]
    Absent,
    /// The packet ring is full; the interrupt of the queue's vector tells of room.
    #[error("not sent: the ring is full; send again when the device has told of room")]
    NoRoom,
    /// The packet does not fit the queue, or its length is not what its LRH says.
    #[error("not sent: {length} bytes do not fit the queue, or are not the {lrh} bytes that the LRH gives")]
    Malformed {
        /// The packet's length in bytes.
        length: usize,
        /// The LRH's packet length in bytes, without the ICRC; 0 where there is no LRH.
        lrh: u32,
    },
}
