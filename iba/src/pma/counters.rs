use bitflags::bitflags;

use crate::PortNum;
use crate::mad::{Attribute, AttributeId};
use crate::wire::{U16, U32, U64};

wire! {
    /// Counters of a port (16.1.3.5). They stop at their greatest value.
    #[derive(Default)]
    pub struct PortCounters[44] {
        reserved: u8,
        /// The port; 255 means all of a node.
        pub port_select: PortNum,
        counter_select: U16,
        /// Errors of single symbols.
        pub symbol_error_counter: U16,
        /// Times that the link recovered from errors.
        pub link_error_recovery_counter: u8,
        /// Times that the link went down because recovery failed.
        pub link_downed_counter: u8,
        /// Packets received with errors.
        pub port_rcv_errors: U16,
        /// Packets received that were marked bad by a sender before.
        pub port_rcv_remote_physical_errors: U16,
        /// Packets received that a switch could not forward.
        pub port_rcv_switch_relay_errors: U16,
        /// Packets that were to be sent and were dropped.
        pub port_xmit_discards: U16,
        /// Packets not sent because of their kind or partition.
        pub port_xmit_constraint_errors: u8,
        /// Packets received and dropped because of their kind or partition.
        pub port_rcv_constraint_errors: u8,
        counter_select2: u8,
        integrity_overrun: u8,
        /// Packets to queue pair 1 that were dropped for want of room.
        pub qp1_dropped: U16,
        /// Packets of lane 15 that were dropped for want of room.
        pub vl15_dropped: U16,
        /// Data sent on all data lanes, in words of four bytes.
        pub port_xmit_data: U32,
        /// Data received on all data lanes, in words of four bytes.
        pub port_rcv_data: U32,
        /// Packets sent on all data lanes.
        pub port_xmit_packets: U32,
        /// Packets received on all data lanes.
        pub port_rcv_packets: U32,
        /// Ticks in which there was data to send and no credit or turn for it.
        pub port_xmit_wait: U32,
    }

    /// Counters of a port with 64 bits (16.1.4.11). They stop at their greatest value.
    #[derive(Default)]
    pub struct PortCountersExtended[72] {
        reserved: u8,
        /// The port; 255 means all of a node.
        pub port_select: PortNum,
        /// The counters that a Set is to clear or change, from bit 0 on in this order.
        pub counter_select: U16,
        reserved2: U32,
        /// Data sent on all data lanes, in words of four bytes.
        pub port_xmit_data: U64,
        /// Data received on all data lanes, in words of four bytes.
        pub port_rcv_data: U64,
        /// Packets sent on all data lanes.
        pub port_xmit_packets: U64,
        /// Packets received on all data lanes.
        pub port_rcv_packets: U64,
        /// Unicast packets sent.
        pub port_unicast_xmit_packets: U64,
        /// Unicast packets received.
        pub port_unicast_rcv_packets: U64,
        /// Multicast packets sent.
        pub port_multicast_xmit_packets: U64,
        /// Multicast packets received.
        pub port_multicast_rcv_packets: U64,
    }
}

impl Attribute for PortCounters {
    const ID: AttributeId = AttributeId::PORT_COUNTERS;
}

impl Attribute for PortCountersExtended {
    const ID: AttributeId = AttributeId::PORT_COUNTERS_EXTENDED;
}

bits! { PortCounters {
    /// The counters that a Set is to change.
    counter_select, set_counter_select: CounterSelect = counter_select[15, 0];
    /// `true` if a Set changes PortXmitWait.
    selects_port_xmit_wait, set_selects_port_xmit_wait: bool = counter_select2[0, 0];
    /// Times that marginal link errors came to the threshold.
    local_link_integrity_errors, set_local_link_integrity_errors: u8 = integrity_overrun[7, 4];
    /// Times that buffer overruns came to the threshold.
    excessive_buffer_overrun_errors, set_excessive_buffer_overrun_errors: u8 = integrity_overrun[3, 0];
} }

bitflags! {
    /// Counters of [`PortCounters`] that a Set is to change.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct CounterSelect: u16 {
        /// SymbolErrorCounter.
        const SYMBOL_ERROR = 1 << 0;
        /// LinkErrorRecoveryCounter.
        const LINK_ERROR_RECOVERY = 1 << 1;
        /// LinkDownedCounter.
        const LINK_DOWNED = 1 << 2;
        /// PortRcvErrors.
        const RCV_ERRORS = 1 << 3;
        /// PortRcvRemotePhysicalErrors.
        const RCV_REMOTE_PHYSICAL_ERRORS = 1 << 4;
        /// PortRcvSwitchRelayErrors.
        const RCV_SWITCH_RELAY_ERRORS = 1 << 5;
        /// PortXmitDiscards.
        const XMIT_DISCARDS = 1 << 6;
        /// PortXmitConstraintErrors.
        const XMIT_CONSTRAINT_ERRORS = 1 << 7;
        /// PortRcvConstraintErrors.
        const RCV_CONSTRAINT_ERRORS = 1 << 8;
        /// LocalLinkIntegrityErrors.
        const LOCAL_LINK_INTEGRITY_ERRORS = 1 << 9;
        /// ExcessiveBufferOverrunErrors.
        const EXCESSIVE_BUFFER_OVERRUN_ERRORS = 1 << 10;
        /// VL15Dropped.
        const VL15_DROPPED = 1 << 11;
        /// PortXmitData.
        const XMIT_DATA = 1 << 12;
        /// PortRcvData.
        const RCV_DATA = 1 << 13;
        /// PortXmitPkts.
        const XMIT_PACKETS = 1 << 14;
        /// PortRcvPkts.
        const RCV_PACKETS = 1 << 15;
    }
}

flags_field! { CounterSelect }
