use super::{
    CapabilityMask, CapabilityMask2, LinkSpeed, LinkSpeedExt, LinkWidth, Mtu, PortPhysicalState, PortState, VlCap,
};
use crate::mad::{Attribute, AttributeId};
use crate::wire::{U16, U32};
use crate::{GidPrefix, Lid, MKey, PortNum, Sl};

wire! {
    /// A port (14.2.5.6).
    ///
    /// The attribute modifier is the number of the port; a channel adapter takes 0 for the one the request came in by.
    #[derive(Default)]
    pub struct PortInfo[64] {
        /// Key that a manager needs (14.2.4).
        pub m_key: MKey,
        /// Prefix of the port's GIDs.
        pub gid_prefix: GidPrefix,
        /// First of the port's 2^LMC LIDs.
        pub lid: Lid,
        /// LID of the subnet manager that manages this port.
        pub master_sm_lid: Lid,
        capability_mask: U32,
        /// Vendor's diagnosis, 0 where all is well.
        pub diag_code: U16,
        /// Lease of the M_Key's protection, in seconds; 0 means without end (14.2.4).
        pub m_key_lease_period: U16,
        /// The port that the request came in by.
        pub local_port: PortNum,
        /// Widths that the link may take. A Set takes 0 for no change, and 0xFF for all that are supported.
        pub link_width_enabled: LinkWidth,
        /// Widths that the port knows.
        pub link_width_supported: LinkWidth,
        /// The link's width.
        pub link_width_active: LinkWidth,
        speed_supported_state: u8,
        physical_down_default: u8,
        protect_lmc: u8,
        speed_active_enabled: u8,
        mtu_smsl: u8,
        vl_cap_init_type: u8,
        /// Limit of high-priority data before a low-priority packet, in units of 4 KiB (7.6.9).
        pub vl_high_limit: u8,
        /// Entries in the high-priority arbitration table.
        pub vl_arbitration_high_cap: u8,
        /// Entries in the low-priority arbitration table.
        pub vl_arbitration_low_cap: u8,
        init_reply_mtu_cap: u8,
        stall_hoq: u8,
        vls_enforcement: u8,
        /// Datagrams with a wrong M_Key (14.2.4).
        pub m_key_violations: U16,
        /// Packets with a wrong P_Key (10.9.4).
        pub p_key_violations: U16,
        /// Packets with a wrong Q_Key (10.2.4).
        pub q_key_violations: U16,
        /// Entries in the GUID table.
        pub guid_cap: u8,
        reregister_timeout: u8,
        response_time: u8,
        error_thresholds: u8,
        /// Credits that the receiver is likely to need for full bandwidth, 0 if not known.
        pub max_credit_hint: U16,
        latency: U32,
        capability_mask2: U16,
        speed_ext_active_supported: u8,
        speed_ext_enabled: u8,
    }
}

impl Attribute for PortInfo {
    const ID: AttributeId = AttributeId::PORT_INFO;
}

bits! { PortInfo {
    /// Capabilities of the port.
    capability_mask, set_capability_mask: CapabilityMask = capability_mask[31, 0];
    /// Further capabilities of the port; valid where [`CapabilityMask::CAPABILITY_MASK2`] is set.
    capability_mask2, set_capability_mask2: CapabilityMask2 = capability_mask2[15, 0];
    /// Speeds that the port knows.
    link_speed_supported, set_link_speed_supported: LinkSpeed = speed_supported_state[7, 4];
    /// State of the link.
    port_state, set_port_state: PortState = speed_supported_state[3, 0];
    /// State of the link's physical layer.
    physical_state, set_physical_state: PortPhysicalState = physical_down_default[7, 4];
    /// Physical state to begin with when the link goes down: sleep or polling. A Set takes 0 for no change.
    link_down_default_state, set_link_down_default_state: PortPhysicalState = physical_down_default[3, 0];
    /// Level of the M_Key's protection, 0 to 3 (14.2.4.1).
    m_key_protect_bits, set_m_key_protect_bits: u8 = protect_lmc[7, 6];
    /// LID mask count: how many low bits of a LID the port leaves to routing, 0 to 7 (7.11).
    lmc, set_lmc: u8 = protect_lmc[2, 0];
    /// The link's speed.
    link_speed_active, set_link_speed_active: LinkSpeed = speed_active_enabled[7, 4];
    /// Speeds that the link may take. A Set takes 0 for no change, and 0xF for all that are supported.
    link_speed_enabled, set_link_speed_enabled: LinkSpeed = speed_active_enabled[3, 0];
    /// Largest payload that the port at the link's other end takes.
    neighbor_mtu, set_neighbor_mtu: Mtu = mtu_smsl[7, 4];
    /// Service level to reach the subnet manager with.
    master_sm_sl, set_master_sm_sl: Sl = mtu_smsl[3, 0];
    /// Data lanes that the port has.
    vl_cap, set_vl_cap: VlCap = vl_cap_init_type[7, 4];
    /// InitType: requested initialization by the subnet manager.
    init_type, set_init_type: u8 = vl_cap_init_type[3, 0];
    /// InitTypeReply: initialization that the subnet manager performed.
    init_type_reply, set_init_type_reply: u8 = init_reply_mtu_cap[7, 4];
    /// Largest payload that the port takes.
    mtu_cap, set_mtu_cap: Mtu = init_reply_mtu_cap[3, 0];
    /// Packets in a row that a lane drops before it counts as stalled (18.2.5.4).
    vl_stall_count, set_vl_stall_count: u8 = stall_hoq[7, 5];
    /// Lifetime of a packet at the head of its queue: 4.096 us x 2^n, without end above 19 (18.2.5.4).
    hoq_life, set_hoq_life: u8 = stall_hoq[4, 0];
    /// Data lanes in use. A Set takes 0 for no change.
    operational_vls, set_operational_vls: VlCap = vls_enforcement[7, 4];
    /// `true` if received packets must be of a partition in the port's table (10.9.4).
    partition_enforcement_inbound, set_partition_enforcement_inbound: bool = vls_enforcement[3, 3];
    /// `true` if packets to send must be of a partition in the port's table.
    partition_enforcement_outbound, set_partition_enforcement_outbound: bool = vls_enforcement[2, 2];
    /// `true` if received raw packets are dropped.
    filter_raw_inbound, set_filter_raw_inbound: bool = vls_enforcement[1, 1];
    /// `true` if raw packets to send are dropped.
    filter_raw_outbound, set_filter_raw_outbound: bool = vls_enforcement[0, 0];
    /// Asks clients to register again with the subnet administration.
    client_reregister, set_client_reregister: bool = reregister_timeout[7, 7];
    /// Which P_Key traps of multicast packets are not sent.
    multicast_p_key_trap_suppression, set_multicast_p_key_trap_suppression: u8 = reregister_timeout[6, 5];
    /// Longest time of a packet across the subnet, and least time between traps: 4.096 us x 2^n (13.4.6.2.1).
    subnet_timeout, set_subnet_timeout: u8 = reregister_timeout[4, 0];
    /// Longest time of a response to an SMP: 4.096 us x 2^n (13.4.6.2.1).
    response_time_value, set_response_time_value: u8 = response_time[4, 0];
    /// Marginal link errors before trap 129 (7.12.2).
    local_physical_errors, set_local_physical_errors: u8 = error_thresholds[7, 4];
    /// Buffer overruns in a row before trap 130 (7.12.2).
    overrun_errors, set_overrun_errors: u8 = error_thresholds[3, 0];
    /// The link's round trip in units of 4 ns, 24 bits.
    link_round_trip_latency, set_link_round_trip_latency: u32 = latency[23, 0];
    /// The link's extended speed.
    link_speed_ext_active, set_link_speed_ext_active: LinkSpeedExt = speed_ext_active_supported[7, 4];
    /// Extended speeds that the port knows.
    link_speed_ext_supported, set_link_speed_ext_supported: LinkSpeedExt = speed_ext_active_supported[3, 0];
    /// Extended speeds that the link may take.
    link_speed_ext_enabled, set_link_speed_ext_enabled: LinkSpeedExt = speed_ext_enabled[4, 0];
} }
