//! MADs between client and server.

use zerocopy::byteorder::{BigEndian, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a MAD (IBA vol. 1, 13.4.2).
pub const MAD_LEN: usize = 256;

/// Status of a request that comes back without a response: ETIMEDOUT.
pub const TIMED_OUT: u32 = 110;

/// One MAD with its addresses. It carries no GRH, SL, P_Key index or Q_Key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Datagram {
    /// Destination LID; 0xFFFF for a directed route from the client's node.
    pub dlid: U16<BigEndian>,
    reserved_dlid: [u8; 2],
    /// Source LID; from a client 0 stands for the base LID of its port.
    pub slid: U16<BigEndian>,
    reserved_slid: [u8; 2],
    /// Destination queue pair.
    pub dqp: U32<BigEndian>,
    /// Source queue pair.
    pub sqp: U32<BigEndian>,
    /// 0, or [`TIMED_OUT`].
    pub status: U32<BigEndian>,
    padding: [u8; 4],
    /// Number of valid bytes of the MAD.
    pub length: U64<BigEndian>,
    /// The MAD.
    pub mad: [u8; MAD_LEN],
}

const _: () = assert!(size_of::<Datagram>() == 288);

impl Datagram {
    /// Creates a datagram with a whole MAD between these LIDs and queue pairs, status 0.
    #[must_use]
    pub fn new(slid: u16, dlid: u16, sqp: u32, dqp: u32, mad: [u8; MAD_LEN]) -> Self {
        Self {
            dlid: U16::new(dlid),
            reserved_dlid: [0; 2],
            slid: U16::new(slid),
            reserved_slid: [0; 2],
            dqp: U32::new(dqp),
            sqp: U32::new(sqp),
            status: U32::ZERO,
            padding: [0; 4],
            length: U64::new(MAD_LEN as u64),
            mad,
        }
    }

    /// Returns `true` for a request that comes back without a response.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        self.status.get() == TIMED_OUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagram_has_the_layout_of_ibsim() {
        let mut datagram = Datagram::new(0x0102, 0xffff, 0, 1, [7; MAD_LEN]);
        datagram.status = U32::new(TIMED_OUT);
        let bytes = datagram.as_bytes();
        assert_eq!(bytes[..4], [0xff, 0xff, 0, 0]);
        assert_eq!(bytes[4..8], [1, 2, 0, 0]);
        assert_eq!(bytes[8..12], [0, 0, 0, 1]);
        assert_eq!(bytes[12..16], [0, 0, 0, 0]);
        assert_eq!(bytes[16..20], [0, 0, 0, 110]);
        assert_eq!(bytes[24..32], [0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(bytes[32], 7);
        assert!(datagram.is_timed_out());
    }
}
