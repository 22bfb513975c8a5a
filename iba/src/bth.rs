//! The base transport header (BTH) (9.2).

use crate::{PKey, Psn, Qpn};

wire! {
    /// Base transport header (9.2).
    #[derive(Default)]
    pub struct Bth[12] {
        /// Service, operation and which headers follow.
        pub opcode: Opcode,
        flags: u8,
        /// Partition.
        pub p_key: PKey,
        resv8a: u8,
        /// Destination queue pair.
        pub dest_qp: Qpn,
        ack: u8,
        /// Packet sequence number.
        pub psn: Psn,
    }
}

bits! { Bth {
    /// Solicited event: the receiver's completion is to notify.
    solicited_event, set_solicited_event: bool = flags[7, 7];
    /// State of path migration.
    migration, set_migration: bool = flags[6, 6];
    /// Bytes of padding at the payload's end.
    pad_count, set_pad_count: u8 = flags[5, 4];
    /// Version of the transport headers; 0 is the only one.
    transport_version, set_transport_version: u8 = flags[3, 0];
    /// The sender asks for an acknowledgement.
    acknowledge, set_acknowledge: bool = ack[7, 7];
} }

values! {
    /// Operation of a packet: service in the upper three bits, operation in the lower five.
    Opcode: u8, 1;
    /// Unreliable datagram, SEND only.
    UD_SEND_ONLY = 0x64 "UD SEND only";
    /// Unreliable datagram, SEND only with immediate data.
    UD_SEND_ONLY_IMMEDIATE = 0x65 "UD SEND only with immediate";
}

impl Opcode {
    /// Returns `true` if this is of the unreliable datagram service, so that a datagram header ([`crate::deth::Deth`])
    /// follows.
    #[inline]
    pub const fn is_unreliable_datagram(self) -> bool {
        self.get() >> 5 == 3
    }
}
