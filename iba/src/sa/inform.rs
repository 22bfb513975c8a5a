use crate::mad::AttributeId;
use crate::notice::TrapNumber;
use crate::sa::Record;
use crate::wire::{U16, U32};
use crate::{Gid, Lid, ProducerType};

wire! {
    /// A subscription to notices (13.4.8.3).
    #[derive(Default)]
    pub struct InformInfo[36] {
        /// The port that notices are wanted of; 0 for those between the LIDs.
        pub gid: Gid,
        /// First LID; the permissive one for all.
        pub lid_first: Lid,
        /// Last LID.
        pub lid_last: Lid,
        reserved: U16,
        /// `true` if the specification's notices are meant, and no vendor's.
        pub is_generic: u8,
        /// 1 to subscribe, 0 to end it.
        pub subscribe: u8,
        /// Which kind of notice; 0xFFFF for all.
        pub notice_type: U16,
        /// Which notice; 0xFFFF for all.
        pub trap_number: TrapNumber,
        qpn_response: U32,
        reserved2: u8,
        /// Of whom; 0xFFFFFF for all.
        pub producer: ProducerType,
    }
}

bits! { InformInfo {
    /// Where reports are wanted, in the end of a subscription.
    qpn, set_qpn: u32 = qpn_response[31, 8];
    /// Longest time of the subscriber's response: 4.096 us x 2^n.
    response_time_value, set_response_time_value: u8 = qpn_response[4, 0];
} }

impl Record for InformInfo {
    const ID: AttributeId = AttributeId::INFORM_INFO;
    const COMPONENTS: &'static [u16] = &[128, 16, 16, 16, 8, 8, 16, 16, 24, 3, 5, 8, 24];
}

wire! {
    /// A subscription, and whose it is (15.2.5.12).
    #[derive(Default)]
    pub struct InformInfoRecord[60] {
        /// The subscriber.
        pub subscriber: Gid,
        /// Which of its subscriptions this is.
        pub number: U16,
        reserved: [u8; 6],
        /// Subscription.
        pub inform: InformInfo,
    }
}

impl Record for InformInfoRecord {
    const ID: AttributeId = AttributeId::new(0xf3);
    const COMPONENTS: &'static [u16] = &[128, 16, 48, 128, 16, 16, 16, 8, 8, 16, 16, 24, 3, 5, 8, 24];
}
