//! Names of an HCA's ports and of the queues of a port.

use core::fmt;

use hca_contract::Ring;

/// Longest packet that a queue takes or gives, in bytes, CRCs not counted.
pub const MAX_PACKET: usize = Ring::PacketReceive.max_packet();

/// A physical port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Port 1.
    One = 0,
    /// Port 2; an HCA with one port has none.
    Two = 1,
}

impl Port {
    /// Ports that an HCA may have, in order.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u8 + 1)
    }
}

/// A pair of a port's rings, one in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Queue pair 0: VL15, subnet management. VL15 has no flow control: a full ring drops and counts.
    Qp0 = 0,
    /// All other packets. A full ring refuses, and the cable's credits hold the peer back, so no packet is dropped.
    Packet = 1,
}

impl Queue {
    /// Queues of a port, in order.
    pub const ALL: [Self; 2] = [Self::Qp0, Self::Packet];

    pub(crate) fn send_ring(self) -> Ring {
        match self {
            Self::Qp0 => Ring::Qp0Send,
            Self::Packet => Ring::PacketSend,
        }
    }

    pub(crate) fn receive_ring(self) -> Ring {
        match self {
            Self::Qp0 => Ring::Qp0Receive,
            Self::Packet => Ring::PacketReceive,
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qp0 => "QP0",
            Self::Packet => "packet",
        })
    }
}
