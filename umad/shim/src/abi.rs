//! The kernel's interface to userspace MADs, version 5: reads, writes and ioctls of `/dev/infiniband/umad*` (Linux,
//! `rdma/ib_user_mad.h`). Native endian unless InfiniBand defines a field.

use iba::mad::Class;
use rustix::io::Errno;
use umad_protocol::Datagram;
use zerocopy::byteorder::{BigEndian, NativeEndian, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::agents::{Filter, Registration};

/// Content of `/sys/class/infiniband_mad/abi_version`.
pub(crate) const VERSION: u32 = 5;

/// Header before each MAD that a program reads or writes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct UserMadHeader {
    /// Number of the agent that sends or receives.
    pub(crate) agent: U32<NativeEndian>,
    /// 0, or ETIMEDOUT for a request without a response.
    pub(crate) status: U32<NativeEndian>,
    /// Time to wait for a response, in milliseconds; 0 expects none.
    pub(crate) timeout_ms: U32<NativeEndian>,
    /// Number of times to send again after a timeout.
    pub(crate) retries: U32<NativeEndian>,
    /// Bytes of this header and the MAD; set on reading.
    pub(crate) length: U32<NativeEndian>,
    /// Queue pair of the peer.
    pub(crate) qpn: U32<BigEndian>,
    q_key: U32<BigEndian>,
    /// LID of the peer.
    pub(crate) lid: U16<BigEndian>,
    sl: u8,
    path_bits: u8,
    grh: [u8; 24],
    p_key_index: U16<NativeEndian>,
    reserved: [u8; 6],
}

impl UserMadHeader {
    /// Bytes of the header for a program that enabled P_Key indices.
    pub(crate) const LEN: usize = size_of::<Self>();
    /// Bytes of the header for a program that did not.
    pub(crate) const LEN_WITHOUT_P_KEY: usize = Self::LEN - 8;

    /// Creates the header of a MAD that arrived in `datagram` for `agent`.
    pub(crate) fn received(agent: u32, datagram: &Datagram) -> Self {
        Self { agent: U32::new(agent), qpn: datagram.sqp, lid: datagram.slid, ..Self::default() }
    }
}

const _: () = assert!(UserMadHeader::LEN == 64);

/// Argument of [`REGISTER_AGENT`].
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RegisterRequest {
    /// Out: the agent's number.
    pub(crate) id: U32<NativeEndian>,
    methods: [U64<NativeEndian>; 2],
    qpn: u8,
    class: Class,
    version: u8,
    oui: [u8; 3],
    rmpp_version: u8,
    padding: u8,
}

impl RegisterRequest {
    /// Returns the registration that the argument requests.
    ///
    /// # Errors
    ///
    /// EINVAL for a value that the kernel refuses.
    pub(crate) fn registration(&self) -> Result<Registration, Errno> {
        let filter = Filter::new(self.class, self.version, self.oui, methods(self.methods));
        Registration::new(self.qpn.into(), filter, self.rmpp_version, false)
    }
}

/// Argument of [`REGISTER_AGENT2`].
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RegisterRequest2 {
    /// Out: the agent's number.
    pub(crate) id: U32<NativeEndian>,
    qpn: U32<NativeEndian>,
    class: Class,
    version: u8,
    reserved: [u8; 2],
    /// In: requested flags; out, after an unknown one: [`Self::FLAGS`].
    pub(crate) flags: U32<NativeEndian>,
    methods: [U64<NativeEndian>; 2],
    oui: U32<NativeEndian>,
    rmpp_version: u8,
    padding: [u8; 3],
}

impl RegisterRequest2 {
    /// Flag: the program does RMPP itself.
    const USER_RMPP: u32 = 1;
    /// Known flags.
    pub(crate) const FLAGS: u32 = Self::USER_RMPP;

    /// Returns the registration that the argument requests.
    ///
    /// # Errors
    ///
    /// EINVAL for a value that the kernel refuses.
    pub(crate) fn registration(&self) -> Result<Registration, Errno> {
        let [0, oui @ ..] = self.oui.get().to_be_bytes() else { return Err(Errno::INVAL) };
        if self.flags.get() & !Self::FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let filter = Filter::new(self.class, self.version, oui, methods(self.methods));
        Registration::new(self.qpn.get(), filter, self.rmpp_version, self.flags.get() & Self::USER_RMPP != 0)
    }
}

/// Joins the halves of a method mask; bit `n` is method `n`.
fn methods([low, high]: [U64<NativeEndian>; 2]) -> u128 {
    u128::from(low.get()) | u128::from(high.get()) << 64
}

/// Registers an agent: [`RegisterRequest`].
pub(crate) const REGISTER_AGENT: u64 = request(READ | WRITE, 1, size_of::<RegisterRequest>());
/// Removes an agent: its number, u32.
pub(crate) const UNREGISTER_AGENT: u64 = request(WRITE, 2, size_of::<u32>());
/// Enables the header with the P_Key index: no argument.
pub(crate) const ENABLE_PKEY: u64 = request(0, 3, 0);
/// Registers an agent: [`RegisterRequest2`].
pub(crate) const REGISTER_AGENT2: u64 = request(READ | WRITE, 4, size_of::<RegisterRequest2>());

const WRITE: u64 = 1;
const READ: u64 = 2;

/// Returns the number of an ioctl of this driver.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    const MAGIC: u64 = 0x1b;
    direction << 30 | (size as u64) << 16 | MAGIC << 8 | number
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn ioctl_numbers_match_the_kernel() {
        // As a C compiler makes them of the kernel's header.
        assert_eq!(REGISTER_AGENT, 0xc01c_1b01);
        assert_eq!(UNREGISTER_AGENT, 0x4004_1b02);
        assert_eq!(ENABLE_PKEY, 0x1b03);
        assert_eq!(REGISTER_AGENT2, 0xc028_1b04);
    }

    #[test]
    fn unknown_flags_and_a_long_oui_are_refused() {
        let mut request = RegisterRequest2::new_zeroed();
        request.qpn = U32::new(1);
        request.class = Class::SUBN_ADM;
        request.version = 2;
        assert!(request.registration().is_ok());
        request.flags = U32::new(2);
        assert_eq!(request.registration().err(), Some(Errno::INVAL));
        request.flags = U32::new(0);
        request.oui = U32::new(0x0100_1405);
        assert_eq!(request.registration().err(), Some(Errno::INVAL));
    }
}
