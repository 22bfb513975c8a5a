//! Notices: events that a node tells of, by a trap or when asked (13.4.8.2, 14.2.5.1).

use bitflags::bitflags;

use crate::attr::{CapabilityMask, CapabilityMask2};
use crate::mad::{Attribute, AttributeId, Method};
use crate::wire::{self, Format, U16, U32};
use crate::{Gid, Guid, Lid, MKey, PKey, PortNum, ProducerType, Qpn, Sl};

wire! {
    /// An event (13.4.8.2), as far as an SMP has room: without the issuer's GID.
    pub struct Notice[64] {
        generic_type: u8,
        /// Kind of producer; in a vendor's notice the vendor's id.
        pub producer: ProducerType,
        /// Trap number; in a vendor's notice the device's id.
        pub trap_number: TrapNumber,
        /// The port that tells.
        pub issuer_lid: Lid,
        toggle_count: U16,
        /// Data details; their layout depends on the trap number.
        pub details: [u8; DETAILS],
    }
}

wire! {
    /// An event as subnet administration reports it to subscribers: in a MAD of its own there is room for all (15.4).
    pub struct ReportedNotice[80] {
        /// The event.
        pub notice: Notice,
        /// The port that tells.
        pub issuer_gid: Gid,
    }
}

/// Length of the data details of a notice, in bytes.
pub const DETAILS: usize = 54;

bits! { Notice {
    /// `true` if the specification, and no vendor, defines this event.
    is_generic, set_generic: bool = generic_type[7, 7];
    /// Severity.
    notice_type, set_notice_type: NoticeType = generic_type[6, 0];
    /// Toggles when a notice is read and cleared.
    toggle, set_toggle: bool = toggle_count[15, 15];
    /// Number of notices that wait.
    count, set_count: u16 = toggle_count[14, 0];
} }

impl Attribute for Notice {
    const ID: AttributeId = AttributeId::NOTICE;
}

impl Notice {
    /// A notice of an event that the specification defines.
    pub fn new<D: Details>(trap_number: TrapNumber, producer: ProducerType, issuer_lid: Lid, details: &D) -> Self {
        let mut notice =
            Self { generic_type: 0, producer, trap_number, issuer_lid, toggle_count: U16::ZERO, details: [0; DETAILS] };
        notice.set_generic(true);
        notice.set_notice_type(D::TYPE);
        wire::fill(&mut notice.details, details);
        notice
    }

    /// Returns the data details as `D`, regardless of the trap number.
    #[inline]
    pub fn details<D: Details>(&self) -> &D {
        wire::front(&self.details)
    }
}

values! {
    /// Severity of a notice (13.4.8.2).
    NoticeType: u8, 1;
    /// Something is lost.
    FATAL = 0 "Fatal";
    /// Needs attention now.
    URGENT = 1 "Urgent";
    /// A violation of a key.
    SECURITY = 2 "Security";
    /// The subnet manager is to look.
    SUBNET_MANAGEMENT = 3 "Subnet Management";
    /// For the record.
    INFORMATIONAL = 4 "Informational";
    /// No notice waits.
    EMPTY = 0x7f "Empty";
}

bit_field! { NoticeType }

values! {
    /// Kind of event (14.2.5.1).
    TrapNumber: u16, 2;
    /// A GID can be reached.
    GID_IN_SERVICE = 64 "GID in service";
    /// A GID can no more be reached.
    GID_OUT_OF_SERVICE = 65 "GID out of service";
    /// There is a new multicast group.
    GROUP_CREATED = 66 "multicast group created";
    /// A multicast group was deleted.
    GROUP_DELETED = 67 "multicast group deleted";
    /// The state of a link of a switch changed.
    LINK_STATE_CHANGE = 128 "link state change";
    /// Marginal link errors came to the threshold.
    LOCAL_LINK_INTEGRITY = 129 "local link integrity threshold";
    /// Buffer overruns came to the threshold.
    EXCESSIVE_BUFFER_OVERRUN = 130 "excessive buffer overrun threshold";
    /// The link's other end stopped updating credits.
    FLOW_CONTROL_UPDATE = 131 "flow control update watchdog";
    /// The capability mask, or another local value, changed.
    LOCAL_CHANGE = 144 "local change";
    /// The system image GUID changed.
    SYSTEM_IMAGE_GUID_CHANGE = 145 "system image GUID change";
    /// Bad M_Key.
    BAD_M_KEY = 256 "bad M_Key";
    /// Bad P_Key.
    BAD_P_KEY = 257 "bad P_Key";
    /// Bad Q_Key.
    BAD_Q_KEY = 258 "bad Q_Key";
    /// Bad P_Key at an external port of a switch.
    BAD_P_KEY_SWITCH = 259 "bad P_Key at a switch's external port";
}

/// Data details of an event.
pub trait Details: Format {
    /// Severity.
    const TYPE: NoticeType;
}

wire! {
    /// Data details of [`TrapNumber::GID_IN_SERVICE`], [`TrapNumber::GID_OUT_OF_SERVICE`],
    /// [`TrapNumber::GROUP_CREATED`] and [`TrapNumber::GROUP_DELETED`].
    #[derive(Default)]
    pub struct GidChange[22] {
        reserved: [u8; 6],
        /// The GID.
        pub gid: Gid,
    }

    /// Data details of [`TrapNumber::LINK_STATE_CHANGE`].
    #[derive(Default)]
    pub struct LinkStateChange[2] {
        /// The switch.
        pub lid: Lid,
    }

    /// Data details of [`TrapNumber::LOCAL_LINK_INTEGRITY`], [`TrapNumber::EXCESSIVE_BUFFER_OVERRUN`] and
    /// [`TrapNumber::FLOW_CONTROL_UPDATE`].
    #[derive(Default)]
    pub struct PortThreshold[5] {
        reserved: U16,
        /// The port's LID; a switch's is its management port's.
        pub lid: Lid,
        /// The port.
        pub port: PortNum,
    }

    /// Data details of [`TrapNumber::LOCAL_CHANGE`].
    #[derive(Default)]
    pub struct LocalChange[14] {
        reserved: U16,
        /// The port.
        pub lid: Lid,
        reserved2: u8,
        local_changes: u8,
        capability_mask: U32,
        changes: U16,
        capability_mask2: U16,
    }

    /// Data details of [`TrapNumber::SYSTEM_IMAGE_GUID_CHANGE`].
    #[derive(Default)]
    pub struct SystemImageGuidChange[14] {
        reserved: U16,
        /// The port.
        pub lid: Lid,
        reserved2: U16,
        /// Present value.
        pub system_image_guid: Guid,
    }

    /// Data details of [`TrapNumber::BAD_M_KEY`]: of the SMP that was refused.
    #[derive(Default)]
    pub struct BadMKey[54] {
        reserved: U16,
        /// Source in the packet's header.
        pub lid: Lid,
        /// Directed route: its start.
        pub dr_slid: Lid,
        /// The method.
        pub method: Method,
        reserved2: u8,
        /// The attribute.
        pub attribute_id: AttributeId,
        /// The attribute's modifier.
        pub attribute_modifier: U32,
        /// The key that was wrong.
        pub m_key: MKey,
        reserved3: u8,
        route: u8,
        /// Directed route: the return path from its first entry on, as much as there is room for.
        pub return_path: [PortNum; 30],
    }

    /// Data details of [`TrapNumber::BAD_P_KEY`] and [`TrapNumber::BAD_Q_KEY`]: of the packet that was refused.
    #[derive(Default)]
    pub struct BadKey[50] {
        reserved: U16,
        /// Source.
        pub lid1: Lid,
        /// Destination.
        pub lid2: Lid,
        /// The Q_Key, or in the lower half the P_Key.
        pub key: U32,
        sl: u8,
        /// Source.
        pub qp1: Qpn,
        reserved2: u8,
        /// Destination.
        pub qp2: Qpn,
        /// Source.
        pub gid1: Gid,
        /// Destination.
        pub gid2: Gid,
    }

    /// Data details of [`TrapNumber::BAD_P_KEY_SWITCH`]: of the packet that was refused.
    #[derive(Default)]
    pub struct BadPKeySwitch[51] {
        /// Which of the fields from here to the second GID are valid: a bit for each, from bit 0 on.
        pub data_valid: U16,
        /// Source.
        pub lid1: Lid,
        /// Destination.
        pub lid2: Lid,
        /// The key.
        pub p_key: PKey,
        sl: u8,
        /// Source.
        pub qp1: Qpn,
        reserved: u8,
        /// Destination.
        pub qp2: Qpn,
        /// Source.
        pub gid1: Gid,
        /// Destination.
        pub gid2: Gid,
        /// The switch.
        pub switch_lid: Lid,
        /// The switch's port.
        pub port: PortNum,
    }
}

bits! { LocalChange {
    /// `true` if anything of [`Self::changes`] applies.
    other_local_changes, set_other_local_changes: bool = local_changes[0, 0];
    /// The capability mask as it is now.
    capability_mask, set_capability_mask: CapabilityMask = capability_mask[31, 0];
    /// Further changes.
    changes, set_changes: Changes = changes[15, 0];
    /// The second capability mask as it is now.
    capability_mask2, set_capability_mask2: CapabilityMask2 = capability_mask2[15, 0];
} }

bits! { BadMKey {
    /// `true` if it was by directed route.
    is_directed_route, set_directed_route: bool = route[7, 7];
    /// `true` if the return path was longer than there is room for.
    is_path_truncated, set_path_truncated: bool = route[6, 6];
    /// The hop count of the return path.
    hop_count, set_hop_count: u8 = route[5, 0];
} }

bits! { BadKey {
    /// Service level.
    sl, set_sl: Sl = sl[7, 4];
} }

bits! { BadPKeySwitch {
    /// Service level.
    sl, set_sl: Sl = sl[7, 4];
} }

bitflags! {
    /// Changes besides the first capability mask: flags of [`LocalChange`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Changes: u16 {
        /// NodeDescription.
        const NODE_DESCRIPTION = 1 << 0;
        /// LinkWidthEnabled.
        const LINK_WIDTH_ENABLED = 1 << 1;
        /// LinkSpeedEnabled.
        const LINK_SPEED_ENABLED = 1 << 2;
        /// The subnet manager's priority.
        const SM_PRIORITY = 1 << 3;
        /// HierarchyInfo.
        const HIERARCHY_INFO = 1 << 4;
        /// CapabilityMask2.
        const CAPABILITY_MASK2 = 1 << 5;
        const _ = !0;
    }
}

flags_field! { Changes }

/// Severity of the events with these data details.
macro_rules! details {
    ($($name:ident: $type:ident;)*) => { $(
        impl Details for $name {
            const TYPE: NoticeType = NoticeType::$type;
        }
    )* };
}

details! {
    GidChange: SUBNET_MANAGEMENT;
    LinkStateChange: URGENT;
    PortThreshold: URGENT;
    LocalChange: INFORMATIONAL;
    SystemImageGuidChange: INFORMATIONAL;
    BadMKey: SECURITY;
    BadKey: SECURITY;
    BadPKeySwitch: SECURITY;
}
