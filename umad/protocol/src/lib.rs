//! The client protocol of ibsim, the InfiniBand fabric simulator: the way of a umad program to a fabric in user space.
//!
//! The protocol is datagrams, over AF_UNIX sockets with abstract names ([`name`]) or over UDP ([`DEFAULT_PORT`]). A
//! client sends [`Control`] messages; the answer to each is the same message with its data filled in. It exchanges
//! [`Datagram`]s, each one MAD with its addresses. Both ends have one byte order: all fields but InfiniBand's are
//! native endian.

mod control;
mod datagram;
pub mod name;

pub use control::{ConnectData, Control, ControlKind, DATA_LEN, MAGIC, NODE_ID_LEN, VendorData};
pub use datagram::{Datagram, MAD_LEN, TIMED_OUT};

/// UDP port of the server's control socket unless `IBSIM_SERVER_PORT` names another. Slot `i` has port + 1 + `i`.
pub const DEFAULT_PORT: u16 = 7070;

/// Base of the socket names unless `IBSIM_SOCKNAME` gives another.
pub const DEFAULT_BASE: &str = "sim";
