//! A node of the HSMA's subnet, and the wires of its ports.

use alloc::boxed::Box;
use alloc::vec;

use iba::PortNum;

use super::types::UplinkId;
use crate::node::Node;

/// A port of a member, by the member's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) member: u16,
    pub(super) port: PortNum,
}

/// Other end of a port's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Nowhere,
    /// A physical port.
    Uplink(UplinkId),
    /// Another member's port.
    To(At),
}

/// A logical switch, or an LHCA.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    /// By the number of the port.
    wires: Box<[Wire]>,
    /// `true` if its wires are plugged in.
    pub(super) plugged: bool,
}

impl Member {
    /// A member with this many ports, none of them wired.
    pub(super) fn new(node: Node, ports: u8) -> Self {
        Self { node, wires: vec![Wire::Nowhere; usize::from(ports) + 1].into_boxed_slice(), plugged: false }
    }

    /// Returns the number of its ports; a switch's management port is not counted.
    pub(super) fn ports(&self) -> u8 {
        self.node.node_info().num_ports
    }

    /// Returns the other end of the wire of `port`.
    #[inline]
    pub(super) fn wired(&self, port: PortNum) -> Wire {
        self.wires.get(usize::from(port.get())).copied().unwrap_or(Wire::Nowhere)
    }

    /// Wires a port that it has.
    pub(super) fn wire(&mut self, port: PortNum, wire: Wire) {
        if let Some(place) = self.wires.get_mut(usize::from(port.get())) {
            *place = wire;
        }
    }

    /// The other members' ports that its ports are wired to, in the order of its ports.
    pub(super) fn wires(&self) -> impl Iterator<Item = At> + '_ {
        self.wires.iter().filter_map(|wire| match wire {
            Wire::To(at) => Some(*at),
            Wire::Nowhere | Wire::Uplink(_) => None,
        })
    }
}
