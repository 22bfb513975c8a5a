use bitflags::bitflags;

use crate::mad::{Attribute, AttributeId};
use crate::wire::{U16, U32};
use crate::{Gid, Lid, PKey, QKey, Qpn, Sl};

wire! {
    /// Capabilities of a class at this port, and the address of its agent (13.4.8.1).
    #[derive(Default)]
    pub struct ClassPortInfo[72] {
        /// Version of MADs.
        pub base_version: u8,
        /// Version of the class.
        pub class_version: u8,
        /// Capabilities: bits 0 and 1 are common to all classes, those from 8 on are the class's.
        pub capability_mask: U16,
        capability2_response: U32,
        /// Where to ask instead; 0 where this port answers itself.
        pub redirect_gid: Gid,
        redirect_class_sl_flow: U32,
        /// Where to ask instead.
        pub redirect_lid: Lid,
        /// Where to ask instead.
        pub redirect_p_key: PKey,
        reserved: u8,
        /// Where to ask instead.
        pub redirect_qp: Qpn,
        /// Where to ask instead.
        pub redirect_q_key: QKey,
        /// Where to send traps.
        pub trap_gid: Gid,
        trap_class_sl_flow: U32,
        /// Where to send traps.
        pub trap_lid: Lid,
        /// Where to send traps.
        pub trap_p_key: PKey,
        /// Hop limit to send traps with.
        pub trap_hop_limit: u8,
        /// Where to send traps.
        pub trap_qp: Qpn,
        /// Where to send traps.
        pub trap_q_key: QKey,
    }
}

impl Attribute for ClassPortInfo {
    const ID: AttributeId = AttributeId::CLASS_PORT_INFO;
}

bits! { ClassPortInfo {
    /// Further capabilities of the class, 27 bits.
    capability_mask2, set_capability_mask2: u32 = capability2_response[31, 5];
    /// Longest time of a response: 4.096 us x 2^n.
    response_time_value, set_response_time_value: u8 = capability2_response[4, 0];
    /// Where to ask instead: traffic class.
    redirect_traffic_class, set_redirect_traffic_class: u8 = redirect_class_sl_flow[31, 24];
    /// Where to ask instead: service level.
    redirect_sl, set_redirect_sl: Sl = redirect_class_sl_flow[23, 20];
    /// Where to ask instead: flow label.
    redirect_flow_label, set_redirect_flow_label: u32 = redirect_class_sl_flow[19, 0];
    /// Where to send traps: traffic class.
    trap_traffic_class, set_trap_traffic_class: u8 = trap_class_sl_flow[31, 24];
    /// Where to send traps: service level.
    trap_sl, set_trap_sl: Sl = trap_class_sl_flow[23, 20];
    /// Where to send traps: flow label.
    trap_flow_label, set_trap_flow_label: u32 = trap_class_sl_flow[19, 0];
} }

bitflags! {
    /// Capabilities of performance management in [`ClassPortInfo::capability_mask`] (16.1.3.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PmaCapabilities: u16 {
        /// Port 255 means all ports.
        const ALL_PORT_SELECT = 1 << 8;
        /// PortCountersExtended is known.
        const EXTENDED_WIDTH = 1 << 9;
        /// PortCountersExtended is known, without the counters of unicast and multicast packets.
        const EXTENDED_WIDTH_NO_IETF = 1 << 10;
        /// Some counters can only be sampled.
        const SAMPLES_ONLY = 1 << 11;
        /// PortCounters' PortXmitWait is known.
        const XMIT_WAIT = 1 << 12;
        /// PortCounters' QP1Dropped is known.
        const QP1_DROPPED = 1 << 15;
        const _ = !0;
    }
}
