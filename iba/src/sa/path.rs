use crate::mad::AttributeId;
use crate::sa::Record;
use crate::wire::{U16, U32, U64};
use crate::{Gid, Lid, PKey, Sl};

wire! {
    /// A path from one port to another (15.2.5.16).
    #[derive(Default)]
    pub struct PathRecord[64] {
        /// Service that the path is for; 0 for any.
        pub service_id: U64,
        /// Destination.
        pub dgid: Gid,
        /// Source.
        pub sgid: Gid,
        /// Destination.
        pub dlid: Lid,
        /// Source.
        pub slid: Lid,
        raw_flow_hop: U32,
        /// Traffic class.
        pub traffic_class: u8,
        reversible_paths: u8,
        /// Partition.
        pub p_key: PKey,
        qos_sl: U16,
        mtu: u8,
        rate: u8,
        life: u8,
        /// Which of several paths is best: the lowest.
        pub preference: u8,
        reserved: [u8; 6],
    }
}

bits! { PathRecord {
    /// `true` if raw packets may take the path.
    is_raw, set_raw: bool = raw_flow_hop[31, 31];
    /// Flow label.
    flow_label, set_flow_label: u32 = raw_flow_hop[27, 8];
    /// Hop limit.
    hop_limit, set_hop_limit: u8 = raw_flow_hop[7, 0];
    /// `true` if the way back is a path as well.
    is_reversible, set_reversible: bool = reversible_paths[7, 7];
    /// NumbPath: most paths between two ports in the response.
    paths, set_paths: u8 = reversible_paths[6, 0];
    /// Class of service.
    qos_class, set_qos_class: u16 = qos_sl[15, 4];
    /// Service level.
    sl, set_sl: Sl = qos_sl[3, 0];
    /// Selector of [`Self::mtu_code`]: see [`Selector`].
    mtu_selector, set_mtu_selector: Selector = mtu[7, 6];
    /// Largest payload, as PortInfo has it.
    mtu_code, set_mtu_code: u8 = mtu[5, 0];
    /// Selector of [`Self::rate`].
    rate_selector, set_rate_selector: Selector = rate[7, 6];
    /// Rate.
    rate, set_rate: u8 = rate[5, 0];
    /// Selector of [`Self::life_time`].
    life_time_selector, set_life_time_selector: Selector = life[7, 6];
    /// Packet lifetime: 4.096 us x 2^n.
    life_time, set_life_time: u8 = life[5, 0];
} }

values! {
    /// Meaning of a bound in a request (15.2.5.16).
    Selector: u8, 1;
    /// Greater than this.
    GREATER = 0 "greater";
    /// Less than this.
    LESS = 1 "less";
    /// Exactly this; so it is in answers.
    EXACTLY = 2 "exactly";
    /// The best there is.
    BEST = 3 "best";
}

bit_field! { Selector }

/// Components by their places in the mask (15.2.5.16).
impl PathRecord {
    /// [`Self::dgid`].
    pub const DGID: u32 = 2;
    /// [`Self::sgid`].
    pub const SGID: u32 = 3;
    /// [`Self::dlid`].
    pub const DLID: u32 = 4;
    /// [`Self::slid`].
    pub const SLID: u32 = 5;
    /// [`Self::paths`].
    pub const PATHS: u32 = 12;
    /// [`Self::p_key`].
    pub const P_KEY: u32 = 13;
    /// [`Self::sl`].
    pub const SL: u32 = 15;
    /// [`Self::mtu_selector`].
    pub const MTU_SELECTOR: u32 = 16;
    /// [`Self::mtu_code`].
    pub const MTU: u32 = 17;
    /// [`Self::rate_selector`].
    pub const RATE_SELECTOR: u32 = 18;
    /// [`Self::rate`].
    pub const RATE: u32 = 19;
}

impl Record for PathRecord {
    const ID: AttributeId = AttributeId::new(0x35);
    const COMPONENTS: &'static [u16] =
        &[32, 32, 128, 128, 16, 16, 1, 3, 20, 8, 8, 1, 7, 16, 12, 4, 2, 6, 2, 6, 2, 6, 8, 48];
}
