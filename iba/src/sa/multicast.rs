use super::path::Selector;
use crate::mad::AttributeId;
use crate::sa::Record;
use crate::wire::{U16, U32};
use crate::{Gid, Lid, PKey, QKey, Sl};

wire! {
    /// A port's membership of a multicast group, and the group (15.2.5.17).
    #[derive(Default)]
    pub struct McMemberRecord[52] {
        /// The group.
        pub mgid: Gid,
        /// The port.
        pub port_gid: Gid,
        /// The group's Q_Key.
        pub q_key: QKey,
        /// The group's LID.
        pub mlid: Lid,
        mtu: u8,
        /// Traffic class.
        pub traffic_class: u8,
        /// The group's partition.
        pub p_key: PKey,
        rate: u8,
        life: u8,
        sl_flow_hop: U32,
        scope_join: u8,
        proxy: u8,
        reserved: U16,
    }
}

bits! { McMemberRecord {
    /// Selector of [`Self::mtu_code`].
    mtu_selector, set_mtu_selector: Selector = mtu[7, 6];
    /// The group's largest payload, as PortInfo has it.
    mtu_code, set_mtu_code: u8 = mtu[5, 0];
    /// Selector of [`Self::rate`].
    rate_selector, set_rate_selector: Selector = rate[7, 6];
    /// The group's rate.
    rate, set_rate: u8 = rate[5, 0];
    /// Selector of [`Self::life_time`].
    life_time_selector, set_life_time_selector: Selector = life[7, 6];
    /// Packet lifetime: 4.096 us x 2^n.
    life_time, set_life_time: u8 = life[5, 0];
    /// Service level.
    sl, set_sl: Sl = sl_flow_hop[31, 28];
    /// Flow label.
    flow_label, set_flow_label: u32 = sl_flow_hop[27, 8];
    /// Hop limit.
    hop_limit, set_hop_limit: u8 = sl_flow_hop[7, 0];
    /// Scope of the group, as in its GID.
    scope, set_scope: u8 = scope_join[7, 4];
    /// JoinState: a bit each for full member, non-member, and send-only member.
    join_state, set_join_state: u8 = scope_join[3, 0];
    /// `true` if the port was joined by another.
    is_proxy, set_proxy: bool = proxy[7, 7];
} }

impl McMemberRecord {
    /// The attribute.
    pub const ID: AttributeId = AttributeId::new(0x38);
    /// [`Self::join_state`]: sends and receives.
    pub const FULL_MEMBER: u8 = 1;
    /// Component mask: what a request to join a group has to name so that the group is made if there is none
    /// (15.2.5.17.2): MGID, PortGID, Q_Key, TClass, P_Key, SL, FlowLabel and JoinState.
    pub const TO_CREATE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 16;
}

/// Components by their places in the mask (15.2.5.17).
impl McMemberRecord {
    /// [`Self::mgid`].
    pub const MGID: u32 = 0;
    /// [`Self::port_gid`].
    pub const PORT_GID: u32 = 1;
    /// [`Self::join_state`].
    pub const JOIN_STATE: u32 = 16;
}

impl Record for McMemberRecord {
    const ID: AttributeId = Self::ID;
    const COMPONENTS: &'static [u16] = &[128, 128, 32, 16, 2, 6, 8, 16, 2, 6, 2, 6, 4, 20, 8, 4, 4, 1];
}
