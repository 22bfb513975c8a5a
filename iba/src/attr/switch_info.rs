use crate::mad::{Attribute, AttributeId};
use crate::wire::U16;
use crate::{Lid, PortNum};

wire! {
    /// Capabilities of a switch (14.2.5.4).
    #[derive(Default)]
    pub struct SwitchInfo[20] {
        /// Entries in the linear forwarding table.
        pub linear_fdb_cap: U16,
        /// Entries in the random forwarding table.
        pub random_fdb_cap: U16,
        /// Entries in the multicast forwarding table.
        pub multicast_fdb_cap: U16,
        /// The last LID that the linear forwarding table forwards.
        pub linear_fdb_top: Lid,
        /// Port for unicast packets that a random forwarding table does not know.
        pub default_port: PortNum,
        /// Port for multicast packets that no table knows, from any other port.
        pub default_multicast_primary_port: PortNum,
        /// Port for multicast packets that no table knows, from the primary one.
        pub default_multicast_not_primary_port: PortNum,
        life_change: u8,
        /// Number of LIDs of a port with a random forwarding table.
        pub lids_per_port: U16,
        /// Entries in the P_Key table of each external port; 0 where those check no partitions.
        pub partition_enforcement_cap: U16,
        capabilities: u8,
        reserved: u8,
        /// The last LID that the multicast forwarding table forwards; 0 means that the table's size decides.
        pub multicast_fdb_top: Lid,
    }
}

impl Attribute for SwitchInfo {
    const ID: AttributeId = AttributeId::SWITCH_INFO;
}

bits! { SwitchInfo {
    /// Lifetime of a packet in the switch: 4.096 us x 2^n, without end above 19 (18.2.5.4).
    life_time_value, set_life_time_value: u8 = life_change[7, 3];
    /// `true` if a port's state changed since a Set last cleared this; a Set clears it with 1.
    port_state_change, set_port_state_change: bool = life_change[2, 2];
    /// Support for SLtoVLMapping of many ports at once.
    optimized_sl_to_vl, set_optimized_sl_to_vl: u8 = life_change[1, 0];
    /// `true` if ports can check partitions of received packets.
    inbound_enforcement_cap, set_inbound_enforcement_cap: bool = capabilities[7, 7];
    /// `true` if ports can check partitions of packets to send.
    outbound_enforcement_cap, set_outbound_enforcement_cap: bool = capabilities[6, 6];
    /// `true` if ports can drop received raw packets.
    filter_raw_inbound_cap, set_filter_raw_inbound_cap: bool = capabilities[5, 5];
    /// `true` if ports can drop raw packets to send.
    filter_raw_outbound_cap, set_filter_raw_outbound_cap: bool = capabilities[4, 4];
    /// `true` if the management port is an enhanced one: a channel adapter's port behind a link of its own.
    enhanced_port0, set_enhanced_port0: bool = capabilities[3, 3];
} }
