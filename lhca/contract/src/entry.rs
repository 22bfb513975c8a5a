//! Entries of the queues.

use bitflags::bitflags;
use iba::{Gid, Lid, QKey, Qpn, Sl};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::object::Handle;
use crate::values;

/// A piece of memory that a packet is gathered from or scattered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Segment {
    /// Where it begins: partition-physical with [`Segment::PHYSICAL`], else in the terms of the region's own addresses.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// The L_Key of the region that it lies in, or [`Segment::PHYSICAL`].
    pub l_key: u32,
}

impl Segment {
    /// The L_Key that stands for all of the partition's memory by its physical addresses.
    pub const PHYSICAL: u32 = 0;

    /// The most segments that a work entry has, by [`WorkFlags::INDIRECT`].
    pub const MAX: u8 = 16;
}

/// Flags of a work request. Unknown flags are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct WorkFlags(u8);

bitflags! {
    impl WorkFlags: u8 {
        /// Send: a GRH goes with it, made from `grh_word`, `hop_limit` and `destination_gid`.
        const GRH = 1;
        /// Send: `immediate` goes with it.
        const IMMEDIATE = 2;
        /// Send: requests an interrupt of the receiver (solicited event).
        const SOLICITED = 4;
        /// The first segment holds the list of segments, `segments` of them, aligned to 8.
        const INDIRECT = 8;
    }
}

/// A send request: one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SendEntry {
    /// Given back in the completion.
    pub id: u64,
    /// Flags.
    pub flags: WorkFlags,
    /// Number of segments: up to 2; with a GRH up to 1; with [`WorkFlags::INDIRECT`] up to [`Segment::MAX`].
    pub segments: u8,
    /// Service level.
    pub sl: Sl,
    /// Source path bits: which of the port's 2^LMC LIDs it comes from.
    pub source_path: u8,
    /// Where to.
    pub dlid: Lid,
    /// Which P_Key of the port's table goes with it; only the GSI chooses, a UD queue pair has its own.
    pub p_key_index: u16,
    /// Queue pair where to.
    pub remote_qp: Qpn,
    /// The GRH's hop limit.
    pub hop_limit: u8,
    /// Q_Key; where its upper bit is set the queue pair's own goes instead (IBA vol. 1, 10.2.5).
    pub q_key: QKey,
    /// Immediate data.
    pub immediate: [u8; 4],
    /// As the GRH's first word, traffic class and flow label, with the index of the source GUID in place of the
    /// version.
    pub grh_word: [u8; 4],
    /// The first segment, or the list of segments.
    pub segment: Segment,
    /// The second segment ([`SendEntry::second_segment`]) or, with a GRH, the destination GID.
    pub destination_gid: Gid,
}

impl SendEntry {
    /// The second segment, of an entry without GRH: the bytes of `destination_gid`.
    #[must_use]
    pub fn second_segment(&self) -> Segment {
        zerocopy::transmute!(self.destination_gid)
    }

    /// Sets the second segment.
    pub fn set_second_segment(&mut self, segment: Segment) {
        self.destination_gid = zerocopy::transmute!(segment);
    }
}

/// A receive request: room for one datagram, with 40 bytes before the payload, where the GRH goes if there is one (IBA
/// vol. 1, 11.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReceiveEntry {
    /// Given back in the completion.
    pub id: u64,
    /// [`WorkFlags::INDIRECT`] or nothing.
    pub flags: WorkFlags,
    /// Number of segments: up to 3, with [`WorkFlags::INDIRECT`] up to [`Segment::MAX`].
    pub segments: u8,
    /// 0.
    pub reserved: [u8; 6],
    /// The segments, or in the first of them their list.
    pub segment: [Segment; 3],
}

values! {
    /// Which kind of work a completion is of.
    CompletionKind: u8 {
        /// A send request.
        SEND = 1,
        /// A receive request.
        RECEIVE = 2,
    }

    /// What became of a work request. Anything but success puts a send or receive queue in error only where it says so.
    CompletionStatus: u8 {
        /// It was done: sent, or received.
        SUCCESS = 0,
        /// The segments do not hold what was received, or are more than the path's MTU.
        LENGTH = 1,
        /// A segment lies outside its region or the partition's memory, or the L_Key names nothing.
        PROTECTION = 2,
        /// The entry itself is wrong: unknown flags, too many segments, a reserved value.
        MALFORMED = 3,
        /// The address is none: a LID, path bits, service level or GUID index that the port does not have.
        BAD_ADDRESS = 4,
        /// The P_Key index holds no valid P_Key.
        BAD_P_KEY = 5,
        /// The port was not in a state to send.
        PORT_DOWN = 6,
        /// The partition's policy does not let it send this (subnet management packets).
        REFUSED = 7,
        /// The queue pair went to Error before it was done.
        FLUSHED = 8,
    }

    /// What an event tells of.
    EventKind: u32 {
        /// The port (`source`) is Active.
        PORT_ACTIVE = 1,
        /// The port is Active no more.
        PORT_DOWN = 2,
        /// Its LID or LMC changed.
        LID_CHANGE = 3,
        /// Its P_Key table changed.
        P_KEY_CHANGE = 4,
        /// Its subnet manager changed.
        SM_CHANGE = 5,
        /// Its GID prefix or GUIDs changed.
        GID_CHANGE = 6,
        /// Register again with the subnet administration.
        CLIENT_REREGISTER = 7,
        /// A queue pair (`source` = handle) went to Error by itself.
        QUEUE_PAIR_ERROR = 16,
        /// Events were lost before this one: query everything again. `source` is 0.
        OVERRUN = 17,
    }
}

/// Flags of a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct CompletionFlags(u8);

bitflags! {
    impl CompletionFlags: u8 {
        /// The first 40 bytes received are a GRH.
        const GRH = 1;
        /// `immediate` is valid.
        const IMMEDIATE = 2;
        /// The sender asked for a solicited event.
        const SOLICITED = 4;
    }
}

/// Completion of one work request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Completion {
    /// The work request's own.
    pub id: u64,
    /// The queue pair.
    pub queue_pair: Handle,
    /// Received: bytes, the 40 before the payload included.
    pub length: u32,
    /// Status. If it is an error, `id`, `queue_pair` and `kind` alone are valid besides.
    pub status: CompletionStatus,
    /// Sent or received.
    pub kind: CompletionKind,
    /// Received: what came with it.
    pub flags: CompletionFlags,
    /// Received: service level.
    pub sl: Sl,
    /// Received: from which LID.
    pub slid: Lid,
    /// Received: at which index of the P_Key table the packet's P_Key stands.
    pub p_key_index: u16,
    /// Received: from which queue pair.
    pub source_qp: Qpn,
    /// Received: to which of the port's 2^LMC LIDs.
    pub destination_path: u8,
    /// Received: immediate data.
    pub immediate: [u8; 4],
}

/// Something that happened to the LHCA. Never lost without being told: see [`EventKind::OVERRUN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// Kind of event.
    pub kind: EventKind,
    /// The port, from 1, or the handle.
    pub source: u32,
    /// When, in [`crate::Call::TIME`]'s nanoseconds.
    pub time: u64,
}

const _: () = {
    assert!(size_of::<SendEntry>() == 64 && size_of::<ReceiveEntry>() == 64);
    assert!(size_of::<Completion>() == 32 && size_of::<Event>() == 16 && size_of::<Segment>() == 16);
    assert!(core::mem::offset_of!(SendEntry, segment) == 32 && core::mem::offset_of!(SendEntry, destination_gid) == 48);
    assert!(core::mem::offset_of!(ReceiveEntry, segment) == 16);
};
