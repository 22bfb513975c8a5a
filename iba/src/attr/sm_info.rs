use crate::mad::{Attribute, AttributeId};
use crate::wire::U32;
use crate::{Guid, SmKey};

wire! {
    /// A subnet manager (14.2.5.13). A Set's attribute modifier says what to do (14.4.1).
    #[derive(Default)]
    pub struct SmInfo[21] {
        /// The port that it runs at.
        pub guid: Guid,
        /// Key by which managers trust each other; 0 where it is not shown.
        pub sm_key: SmKey,
        /// Counts what it does, so that others see it alive.
        pub act_count: U32,
        priority_state: u8,
    }
}

impl Attribute for SmInfo {
    const ID: AttributeId = AttributeId::SM_INFO;
}

bits! { SmInfo {
    /// Priority in the election: the highest wins, then the lowest GUID.
    priority, set_priority: u8 = priority_state[7, 4];
    /// Identity.
    state, set_state: SmState = priority_state[3, 0];
} }

values! {
    /// State of a subnet manager (14.4.1).
    SmState: u8, 1;
    /// Switched off.
    NOT_ACTIVE = 0 "Not-Active";
    /// Looks for other managers.
    DISCOVERING = 1 "Discovering";
    /// Waits for the master to fail.
    STANDBY = 2 "Standby";
    /// Manages the subnet.
    MASTER = 3 "Master";
}

values! {
    /// Control of a subnet manager by Set(SMInfo): the attribute modifier (14.4.1).
    SmControl: u32, 4;
    /// Become master: the sender, who is master, steps down.
    HANDOVER = 1 "HANDOVER";
    /// The handover is accepted.
    ACKNOWLEDGE = 2 "ACKNOWLEDGE";
    /// Switch yourself off.
    DISABLE = 3 "DISABLE";
    /// Wait for the master to fail.
    STANDBY = 4 "STANDBY";
    /// Look for other managers.
    DISCOVER = 5 "DISCOVER";
}

bit_field! { SmState }
