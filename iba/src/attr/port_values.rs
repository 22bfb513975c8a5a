//! Values of PortInfo's fields (14.2.5.6).

use bitflags::bitflags;

use crate::wire::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

values! {
    /// State of a link (7.2).
    PortState: u8, 1;
    /// In a Set: leave it as it is.
    NO_CHANGE = 0 "NoChange";
    /// No packets.
    DOWN = 1 "Down";
    /// Subnet management only: waits to be configured.
    INIT = 2 "Init";
    /// Takes data, sends only management.
    ARMED = 3 "Armed";
    /// Everything.
    ACTIVE = 4 "Active";
}

values! {
    /// State of a link's physical layer (14.2.5.6; 5.3 of volume 2 has its machine).
    PortPhysicalState: u8, 1;
    /// In a Set: leave it as it is.
    NO_CHANGE = 0 "NoChange";
    /// Quiet; wakes up when it hears something.
    SLEEP = 1 "Sleep";
    /// Looks for a partner.
    POLLING = 2 "Polling";
    /// Off until it is set to another state.
    DISABLED = 3 "Disabled";
    /// Agrees with its partner on the link.
    TRAINING = 4 "PortConfigurationTraining";
    /// In use.
    LINK_UP = 5 "LinkUp";
    /// Trains again after errors.
    ERROR_RECOVERY = 6 "LinkErrorRecovery";
    /// Under test.
    PHY_TEST = 7 "PhyTest";
}

values! {
    /// Largest payload of a packet.
    Mtu: u8, 1;
    /// 256 bytes.
    B256 = 1 "256";
    /// 512 bytes.
    B512 = 2 "512";
    /// 1024 bytes.
    B1024 = 3 "1024";
    /// 2048 bytes.
    B2048 = 4 "2048";
    /// 4096 bytes.
    B4096 = 5 "4096";
}

impl Mtu {
    /// The number of bytes, unless the value is one that the specification does not name.
    pub const fn bytes(self) -> Option<u16> {
        match self.get() {
            value @ 1..=5 => Some(128 << value),
            _ => None,
        }
    }
}

values! {
    /// A number of data lanes.
    VlCap: u8, 1;
    /// One.
    VL0 = 1 "VL0";
    /// Two.
    VL0_1 = 2 "VL0-1";
    /// Four.
    VL0_3 = 3 "VL0-3";
    /// Eight.
    VL0_7 = 4 "VL0-7";
    /// Fifteen.
    VL0_14 = 5 "VL0-14";
}

impl VlCap {
    /// The number of lanes, unless the value is one that the specification does not name.
    pub const fn lanes(self) -> Option<u8> {
        match self.get() {
            value @ 1..=4 => Some(1 << (value - 1)),
            5 => Some(15),
            _ => None,
        }
    }
}

bit_field! { PortState PortPhysicalState Mtu VlCap }

/// Widths of a link, in lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct LinkWidth(u8);

bitflags! {
    impl LinkWidth: u8 {
        /// One lane.
        const X1 = 1;
        /// Four lanes.
        const X4 = 2;
        /// Eight lanes.
        const X8 = 4;
        /// Twelve lanes.
        const X12 = 8;
        /// Two lanes; known where [`CapabilityMask2::LINK_WIDTH_2X`] is set.
        const X2 = 16;
        const _ = !0;
    }
}

bitflags! {
    /// Speeds of a lane.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkSpeed: u8 {
        /// SDR, 2.5 Gb/s.
        const SDR = 1;
        /// DDR, 5 Gb/s.
        const DDR = 2;
        /// QDR, 10 Gb/s.
        const QDR = 4;
        const _ = !0;
    }

    /// Extended speeds of a lane; known where [`CapabilityMask::EXTENDED_SPEEDS`] is set.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkSpeedExt: u8 {
        /// FDR, 14.0625 Gb/s.
        const FDR = 1;
        /// EDR, 25.78125 Gb/s.
        const EDR = 2;
        /// HDR, 53.125 Gb/s.
        const HDR = 4;
        const _ = !0;
    }

    /// Capabilities of a port.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct CapabilityMask: u32 {
        /// A subnet manager runs here.
        const SM = 1 << 1;
        /// Notices can be read by Get.
        const NOTICE = 1 << 2;
        /// Traps are sent.
        const TRAP = 1 << 3;
        /// Packets can be spaced (inter-packet delay).
        const OPTIONAL_IPD = 1 << 4;
        /// Automatic path migration.
        const AUTOMATIC_MIGRATION = 1 << 5;
        /// Service levels are mapped to lanes.
        const SL_MAPPING = 1 << 6;
        /// The M_Key outlives a restart.
        const M_KEY_NVRAM = 1 << 7;
        /// The P_Keys outlive a restart.
        const P_KEY_NVRAM = 1 << 8;
        /// LedInfo is known.
        const LED_INFO = 1 << 9;
        /// The subnet manager is switched off.
        const SM_DISABLED = 1 << 10;
        /// There is a SystemImageGUID.
        const SYSTEM_IMAGE_GUID = 1 << 11;
        /// Trap 259 is known.
        const P_KEY_SWITCH_EXTERNAL_PORT_TRAP = 1 << 12;
        /// The cable's identity can be read.
        const CABLE_INFO = 1 << 13;
        /// Speeds beyond QDR are known.
        const EXTENDED_SPEEDS = 1 << 14;
        /// CapabilityMask2 is valid.
        const CAPABILITY_MASK2 = 1 << 15;
        /// Communication management is answered.
        const COMMUNICATION_MANAGEMENT = 1 << 16;
        /// SNMP tunnelling is answered.
        const SNMP_TUNNELING = 1 << 17;
        /// The port takes up what it was before a restart.
        const REINIT = 1 << 18;
        /// Device management is answered.
        const DEVICE_MANAGEMENT = 1 << 19;
        /// Vendor classes are answered.
        const VENDOR_CLASS = 1 << 20;
        /// Notices tell of a directed route.
        const DR_NOTICE = 1 << 21;
        /// Trap 144 tells of a changed capability mask.
        const CAPABILITY_MASK_NOTICE = 1 << 22;
        /// Baseboard management is answered.
        const BOOT_MANAGEMENT = 1 << 23;
        /// The round trip of the link is measured.
        const LINK_ROUND_TRIP_LATENCY = 1 << 24;
        /// ClientReregister is known.
        const CLIENT_REREGISTRATION = 1 << 25;
        /// Trap 144 tells of other local changes.
        const OTHER_LOCAL_CHANGES_NOTICE = 1 << 26;
        /// Speed can be enabled for each width.
        const LINK_SPEED_WIDTH_PAIRS = 1 << 27;
        /// Vendor's MADs of other classes are known.
        const VENDOR_MADS = 1 << 28;
        /// P_Key traps of multicast packets can be suppressed.
        const MULTICAST_P_KEY_TRAP_SUPPRESSION = 1 << 29;
        /// SwitchInfo's MulticastFDBTop is known.
        const MULTICAST_FDB_TOP = 1 << 30;
        /// Hierarchy information is known.
        const HIERARCHY_INFO = 1 << 31;
        const _ = !0;
    }

    /// Further capabilities of a port.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct CapabilityMask2: u16 {
        /// NodeDescription can be set.
        const SET_NODE_DESCRIPTION = 1 << 0;
        /// PortInfoExtended is known.
        const PORT_INFO_EXTENDED = 1 << 1;
        /// Virtual ports are known.
        const VIRTUALIZATION = 1 << 2;
        /// SwitchPortStateTable is known.
        const SWITCH_PORT_STATE_TABLE = 1 << 3;
        /// Two lanes are a width.
        const LINK_WIDTH_2X = 1 << 4;
        /// HDR is a speed.
        const LINK_SPEED_HDR = 1 << 5;
        const _ = !0;
    }
}

flags_field! { LinkSpeed LinkSpeedExt CapabilityMask CapabilityMask2 }
