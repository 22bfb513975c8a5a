//! The client protocol of ibsim, the InfiniBand fabric simulator: how a umad program reaches a fabric in user space.
//!
//! All of it is datagrams, over AF_UNIX sockets with abstract names ([`name`]) or over UDP ([`DEFAULT_PORT`]). A client
//! asks [`Control`] messages, each answered by the same message filled in, and exchanges [`Datagram`]s, each one MAD
//! with its addresses. Both ends run on machines of one byte order, so what is not of InfiniBand is native endian.

mod control;
mod datagram;
pub mod name;

pub use control::{ConnectData, Control, ControlKind, DATA_LEN, MAGIC, NODE_ID_LEN, VendorData};
pub use datagram::{Datagram, MAD_LEN, TIMED_OUT};

/// UDP port of the server's control socket where `IBSIM_SERVER_PORT` names no other. Slot `i` is at this port + 1 + `i`.
pub const DEFAULT_PORT: u16 = 7070;

/// Base of the socket names where `IBSIM_SOCKNAME` gives no other.
pub const DEFAULT_BASE: &str = "sim";
