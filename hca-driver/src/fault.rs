//! Errors of the driver and of the device.

use core::time::Duration;

use hca_contract::{MAGIC, VERSION};
use thiserror::Error;

use crate::port::{Port, Queue};

/// Reason why the driver released a device, or did not take it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// BAR2 does not begin with the contract's magic.
    #[error("cannot drive the HCA: BAR2 begins with {0:#010x}, not {MAGIC:#010x}; check that it is the HCA's")]
    BadMagic(u32),
    /// Another major version of the contract.
    #[error("cannot drive the HCA: its contract version is {0:#010x}, not {VERSION:#010x}; build both from one source")]
    BadVersion(u32),
    /// Neither one nor two ports.
    #[error("cannot drive the HCA: it claims {0} ports, not 1 or 2")]
    BadPorts(u32),
    /// The doorbell's target exceeds 16 bits.
    #[error("cannot drive the HCA: its doorbell target {0:#x} is not below 0x10000")]
    BadDoorbellTarget(u32),
    /// The node GUID is 0, or a port's GUID would not fit behind it.
    #[error("cannot drive the HCA: its node GUID {0:#018x} leaves no GUIDs for its ports")]
    BadNodeGuid(u64),
    /// The device is gone: its generation became 0.
    #[error("the HCA went away: its generation is 0")]
    Gone,
    /// The device began another generation.
    #[error("the HCA started again: generation {from} became {to}")]
    Restarted {
        /// Generation that the driver had taken up.
        from: u32,
        /// Generation seen.
        to: u32,
    },
    /// The heartbeat has not changed for this long.
    #[error("the HCA's heartbeat has not moved for {0:?}: its process is dead or stopped")]
    HeartbeatStopped(Duration),
    /// A link state outside the contract.
    #[error("port {port} claims the unknown link state {state}")]
    BadLinkState {
        /// The port.
        port: Port,
        /// Value that the device wrote.
        state: u8,
    },
    /// A link that is up has an unknown width or speed.
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
    /// The device claims to have acted on a link request that the driver never made.
    #[error("port {port} claims to have done link request {done}; the last one was {made}")]
    BadLinkRequestDone {
        /// The port.
        port: Port,
        /// Sequence number of the last request.
        made: u32,
        /// Value that the device wrote.
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

/// Reason why a receive slot holds no valid packet. The driver skips the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SlotFault {
    /// The slot carries another index than the one it was produced as.
    #[error("slot {expected} carries index {seen}: skipped")]
    WrongIndex {
        /// Index that the driver expected.
        expected: u32,
        /// The index found.
        seen: u32,
    },
    /// The packet is shorter than an LRH (0 included), or longer than a slot.
    #[error("slot {index} claims a packet of {length} bytes: skipped")]
    BadLength {
        /// The slot's index.
        index: u32,
        /// Value that the device wrote.
        length: u32,
    },
    /// The length is not the one that the packet's own LRH gives (IBA vol. 1, 7.7.5).
    #[error("slot {index} claims {length} bytes, and its LRH {lrh}: skipped")]
    LengthMismatch {
        /// The slot's index.
        index: u32,
        /// Value that the device wrote.
        length: u32,
        /// The LRH's packet length in bytes, without the ICRC.
        lrh: u32,
    },
}

/// Reason why the driver did not send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// No device with this port is attached.
    #[error("cannot send: no HCA with that port is attached; wait for it")]
    Absent,
    /// The packet ring is full. An interrupt of the queue's vector follows once it has room.
    #[error("cannot send: the ring is full; send again after the queue's interrupt")]
    NoRoom,
    /// The packet does not fit the queue, or its length differs from the one in its LRH.
    #[error("cannot send: {length} bytes do not fit the queue, or are not the {lrh} bytes that the LRH gives")]
    Malformed {
        /// The packet's length in bytes.
        length: usize,
        /// The LRH's packet length in bytes, without the ICRC; 0 where there is no LRH.
        lrh: u32,
    },
}
