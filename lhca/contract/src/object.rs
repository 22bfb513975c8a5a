//! Structures that hypercalls read and write by address.

use bitflags::bitflags;
use iba::{Gid, GidPrefix, Guid, Lid, QKey, Qpn, Sl};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::values;

/// Names something that the partition created: its place in the low half, in the high half how often that place was
/// used. 0 names nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Handle(pub u32);

/// The information page, whose address is in RDI at the partition's start. The partition is entered in 64-bit mode with
/// its memory mapped at its own addresses, interrupts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InformationPage {
    /// [`InformationPage::MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::VERSION`].
    pub version: u32,
    /// Number of the partition's starts, from 1.
    pub starts: u32,
    /// Bytes of the partition's memory, which begins at 0.
    pub memory: u64,
    /// Where the image begins.
    pub image_start: u64,
    /// Where the image, its zeroed data included, ends: what follows is free.
    pub image_end: u64,
    /// The processor's time stamp counter's rate, in Hz.
    pub tsc_hz: u64,
    /// The partition's name: UTF-8, zeros behind.
    pub name: [u8; 64],
    /// Arguments from the partition table: UTF-8, zeros behind.
    pub arguments: [u8; 256],
    /// An HCA that the partition drives itself.
    pub hca: OwnHca,
}

/// A physical HCA, as `hca_contract` has it, that a partition drives itself: all zeros if it has none. It outlives the
/// partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnHca {
    /// Address of the HCA's memory, BAR2.
    pub memory: u64,
    /// Address of the 32-bit register that rings the HCA: its target in the upper half, the vector in the lower half.
    pub doorbell: u64,
    /// The interrupt that it raises, whatever it has to tell.
    pub vector: u8,
    /// 0.
    pub reserved: [u8; 7],
}

impl InformationPage {
    /// First word of the page.
    pub const MAGIC: [u8; 8] = *b"PorticoI";
}

/// The LHCA and its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct HcaAttributes {
    /// Node GUID; port `p`'s GUID is this plus `p`.
    pub node_guid: Guid,
    /// System image GUID.
    pub system_image_guid: Guid,
    /// Vendor id.
    pub vendor_id: u32,
    /// Device id.
    pub device_id: u16,
    /// Number of ports, 1 or 2.
    pub ports: u8,
    /// A ring has at most 2 to this power entries.
    pub max_log_entries: u8,
    /// Queue pairs at most, those for management not counted.
    pub max_queue_pairs: u32,
    /// Completion queues at most.
    pub max_completion_queues: u32,
    /// Memory regions at most.
    pub max_memory_regions: u32,
    /// Multicast groups that one queue pair can be attached to.
    pub max_multicast: u32,
}

/// A port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct PortAttributes {
    /// Subnet prefix.
    pub gid_prefix: GidPrefix,
    /// Port GUID.
    pub guid: Guid,
    /// Capability mask, as PortInfo has it (IBA vol. 1, 14.2.5.6), as a number.
    pub capability_mask: u32,
    /// Base LID, 0 while there is none.
    pub lid: Lid,
    /// The subnet manager's LID.
    pub sm_lid: Lid,
    /// The subnet manager's service level.
    pub sm_sl: Sl,
    /// LID mask control.
    pub lmc: u8,
    /// As PortInfo's PortState.
    pub state: u8,
    /// As PortInfo's PortPhysicalState.
    pub physical_state: u8,
    /// As PortInfo's NeighborMTU: 1 = 256 ... 5 = 4096.
    pub mtu: u8,
    /// As PortInfo's LinkWidthActive.
    pub link_width: u8,
    /// As PortInfo's LinkSpeedActive.
    pub link_speed: u8,
    /// As PortInfo's LinkSpeedExtActive.
    pub link_speed_ext: u8,
    /// Entries in the P_Key table.
    pub p_keys: u16,
    /// Entries in the GUID table.
    pub guids: u16,
    /// Datagrams refused for their P_Key.
    pub p_key_violations: u16,
    /// Datagrams refused for their Q_Key.
    pub q_key_violations: u16,
}

/// Number of VM exits since the partition's start, by reason; each exit is counted once. The counts wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exits {
    /// Doorbells, by [`crate::Call::DOORBELL`].
    pub doorbells: u64,
    /// Other hypercalls, the one that fills this included.
    pub calls: u64,
    /// Halts: HLT.
    pub halts: u64,
    /// Interrupts of the processor: by another one, because the partition gets an interrupt or stops, or because
    /// another partition is to run; or by the timer, because a time slice or a wait is over.
    pub interrupts: u64,
    /// All else: it takes the interrupt that waits for it from now on, CPUID, or what is refused.
    pub others: u64,
}

values! {
    /// What [`crate::Call::MODIFY_PORT`] changes.
    PortChange: u64 {
        /// Whether a subnet manager is here: PortInfo's IsSM. Needs the policy `manager`.
        IS_SM = 1,
        /// Sets the count of Q_Key violations to 0; the value is 0.
        RESET_Q_KEY_VIOLATIONS = 2,
    }

    /// Kinds of queue pair.
    QueuePairKind: u8 {
        /// The port's aliased queue pair 0: subnet management. What the port's own agent answers never reaches it.
        SMI = 0,
        /// The port's queue pair 1: general services.
        GSI = 1,
        /// Unreliable datagrams.
        UD = 2,
    }

    /// States of a queue pair (IBA vol. 1, 10.3.1).
    QueuePairState: u8 {
        /// Nothing is posted.
        RESET = 0,
        /// Receives may be posted.
        INIT = 1,
        /// And are filled.
        READY_TO_RECEIVE = 2,
        /// Sends, too.
        READY_TO_SEND = 3,
        /// What is posted completes as flushed.
        ERROR = 6,
    }
}

/// A completion or event queue to be created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct QueueConfig {
    /// Partition-physical address of its ring.
    pub ring: u64,
    /// 2 to this power entries.
    pub log_entries: u8,
    /// The interrupt that tells of an entry that was asked for: a vector from 32 on, or 0 for none.
    pub vector: u8,
    /// 0.
    pub reserved: [u8; 6],
}

/// A queue pair to be created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct QueuePairConfig {
    /// Partition-physical address of the send ring.
    pub send_ring: u64,
    /// Partition-physical address of the receive ring.
    pub receive_ring: u64,
    /// The completion queue of sends.
    pub send_completions: Handle,
    /// The completion queue of receives; may be the same.
    pub receive_completions: Handle,
    /// Kind.
    pub kind: QueuePairKind,
    /// The port, from 1.
    pub port: u8,
    /// 2 to this power entries in the send ring.
    pub send_log_entries: u8,
    /// 2 to this power entries in the receive ring.
    pub receive_log_entries: u8,
    /// The interrupt that tells of room that was asked for: a vector from 32 on, or 0 for none.
    pub vector: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// Which fields of a [`QueuePairChange`] count. Unknown ones are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct QueuePairFields(u8);

bitflags! {
    impl QueuePairFields: u8 {
        /// `state`.
        const STATE = 1;
        /// `p_key_index`; from Reset to Init only.
        const P_KEY_INDEX = 2;
        /// `q_key`.
        const Q_KEY = 4;
    }
}

/// A change of a queue pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct QueuePairChange {
    /// Which of the others count.
    pub fields: QueuePairFields,
    /// The new state.
    pub state: QueuePairState,
    /// Which P_Key of the port's table; UD only.
    pub p_key_index: u16,
    /// The Q_Key that datagrams must have; UD only.
    pub q_key: QKey,
}

/// A queue pair as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct QueuePairAttributes {
    /// As it was created.
    pub config: QueuePairConfig,
    /// Its number.
    pub number: Qpn,
    /// Its state.
    pub state: QueuePairState,
    /// Its P_Key's index.
    pub p_key_index: u16,
    /// 0.
    pub reserved: u16,
    /// Its Q_Key.
    pub q_key: QKey,
    /// 0.
    pub reserved_2: u32,
}

/// A multicast group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct MulticastGroup {
    /// Its GID.
    pub gid: Gid,
    /// Its LID.
    pub lid: Lid,
    /// 0.
    pub reserved: [u8; 6],
}

/// Access rights of a memory region. Unknown ones are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Access(u32);

bitflags! {
    impl Access: u32 {
        /// What was received may be put there. Sending from it needs no right.
        const LOCAL_WRITE = 1;
    }
}

/// Memory to be registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MemoryRegion {
    /// Where it begins, partition-physical.
    pub physical: u64,
    /// By which address its first byte is called in segments.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Access rights.
    pub access: Access,
    /// 0.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<InformationPage>() == 392 && size_of::<OwnHca>() == 24);
    assert!(size_of::<HcaAttributes>() == 40 && size_of::<PortAttributes>() == 40);
    assert!(size_of::<QueueConfig>() == 16 && size_of::<QueuePairConfig>() == 32);
    assert!(size_of::<QueuePairChange>() == 8 && size_of::<QueuePairAttributes>() == 48);
    assert!(size_of::<MulticastGroup>() == 24 && size_of::<MemoryRegion>() == 32 && size_of::<Exits>() == 40);
    // A hypercall takes no address that is not a multiple of 8.
    assert!(align_of::<HcaAttributes>() == 8 && align_of::<PortAttributes>() == 8);
    assert!(align_of::<QueueConfig>() == 8 && align_of::<QueuePairConfig>() == 8);
    assert!(align_of::<QueuePairChange>() == 8 && align_of::<QueuePairAttributes>() == 8);
    assert!(align_of::<MulticastGroup>() == 8 && align_of::<MemoryRegion>() == 8 && align_of::<Exits>() == 8);
};
