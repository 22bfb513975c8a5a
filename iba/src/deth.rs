//! The datagram extended transport header (DETH) (9.3.3).

use crate::{QKey, Qpn};

wire! {
    /// Datagram extended transport header (9.3.3).
    #[derive(Default)]
    pub struct Deth[8] {
        /// The queue key that the receiver demands.
        pub q_key: QKey,
        reserved: u8,
        /// Source queue pair.
        pub src_qp: Qpn,
    }
}
