//! Subnet administration: records of the subnet, asked for and changed by datagrams (15.2).

use crate::mad::{AttributeId, MadHeader};
use crate::rmpp::RmppHeader;
use crate::wire::{Format, U16, U32, U64, fill, front};
use crate::{Gid, Lid, PKey, QKey, Sl, SmKey};

wire! {
    /// A datagram of the subnet administration that is one message by itself (15.2.1.1).
    pub struct SaMad[256] {
        /// The common header; its class version is [`SaMad::CLASS_VERSION`].
        pub header: MadHeader,
        /// Not active: the message is this datagram.
        pub rmpp: RmppHeader,
        /// Proves a request to be trusted; 0 for what anybody may ask.
        pub sm_key: SmKey,
        /// Words of eight bytes from one record to the next, where there are several.
        pub attribute_offset: U16,
        reserved: U16,
        /// Which of the record's components count, from bit 0 on in the record's own order.
        pub component_mask: U64,
        data: [u8; 200],
    }

    /// A port's membership in a multicast group (15.2.5.17).
    #[derive(Default)]
    pub struct McMemberRecord[52] {
        /// The group.
        pub mgid: Gid,
        /// The port.
        pub port_gid: Gid,
        /// Q_Key of the group's datagrams.
        pub q_key: QKey,
        /// The group's LID.
        pub mlid: Lid,
        mtu: u8,
        /// Traffic class.
        pub traffic_class: u8,
        /// P_Key of the group's datagrams.
        pub p_key: PKey,
        rate: u8,
        life_time: u8,
        sl_flow_hop: U32,
        scope_state: u8,
        proxy: u8,
        reserved: U16,
    }
}

impl SaMad {
    /// The version of the class's formats (15.2.1.1).
    pub const CLASS_VERSION: u8 = 2;

    /// The record that it holds.
    #[must_use]
    pub fn record<T: Format>(&self) -> &T {
        front(&self.data)
    }

    /// Makes it hold `record`.
    pub fn set_record<T: Format>(&mut self, record: &T) {
        fill(&mut self.data, record);
    }
}

impl McMemberRecord {
    /// The attribute (15.2.5.17).
    pub const ID: AttributeId = AttributeId::new(0x38);
    /// [`Self::join_state`]: sends and receives.
    pub const FULL_MEMBER: u8 = 1;
    /// Component mask: what a request to join a group has to name so that the group is made if there is none (15.2.5.17.2):
    /// MGID, PortGID, Q_Key, TClass, P_Key, SL, FlowLabel and JoinState.
    pub const TO_CREATE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 16;
}

bits! { McMemberRecord {
    /// The group's path MTU.
    mtu_code, set_mtu_code: u8 = mtu[5, 0];
    /// Service level.
    sl, set_sl: Sl = sl_flow_hop[31, 28];
    /// Flow label.
    flow_label, set_flow_label: u32 = sl_flow_hop[27, 8];
    /// Hop limit.
    hop_limit, set_hop_limit: u8 = sl_flow_hop[7, 0];
    /// As what the port is a member.
    join_state, set_join_state: u8 = scope_state[3, 0];
} }
