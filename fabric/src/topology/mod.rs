//! The physical fabric: switches, channel adapters, and the cables between them.
//!
//! [`Topology::parse`] reads a netlist of ibsim or ibnetdiscover, and `Display` writes one. `book/src/topology.md`
//! describes the format.

mod fault;
mod guids;
mod parse;
mod rest;
mod write;

use iba::{Guid, PortNum};
use thiserror::Error;

pub use fault::{Fault, ParseError};

use cable::Abilities;

/// Netlist of the default fabric: a switch, two hosts, and a hypervisor.
pub const DEFAULT: &str = include_str!("default.net");

/// Id of the default hypervisor.
pub const DEFAULT_HYPERVISOR: &str = "portico-0";

/// Kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A switch; its port 0 is not among [`Node::ports`].
    Switch,
    /// A channel adapter of a host; the fabric runs its agents.
    Host,
    /// A channel adapter of a hypervisor, which runs its own agents.
    Hypervisor,
}

/// Reference to a port of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRef {
    /// Index of [`Topology::nodes`].
    pub node: usize,
    /// Port number, from 1 on.
    pub port: PortNum,
}

/// A port and its cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Other end of the cable; `None` without a cable. The port there refers to this one.
    pub peer: Option<PortRef>,
    /// Widths and speeds that are enabled at start.
    pub abilities: Abilities,
}

/// A node of the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Kind of node.
    pub kind: Kind,
    /// Id in the netlist; unique.
    pub id: String,
    /// NodeDescription, at most 64 bytes.
    pub description: String,
    /// Node GUID. The GUID of port `n` is `n` more; a switch's port 0 has the node GUID.
    pub guid: Guid,
    /// System image GUID.
    pub system_image_guid: Guid,
    /// Vendor's IEEE OUI, if the netlist gives one.
    pub vendor_id: Option<u32>,
    /// Device id, if the netlist gives one.
    pub device_id: Option<u16>,
    /// Ports; port `n` is at `n - 1`.
    pub ports: Vec<Port>,
}

/// A fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The nodes, in the order of the netlist.
    pub nodes: Vec<Node>,
}

/// Reason why a node cannot be a hypervisor.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HypervisorError {
    /// The topology lacks the node.
    #[error("cannot run Portico on `{0}`: the topology has no such node; name one of its Ca nodes with --hypervisor")]
    Unknown(String),
    /// The node is a switch.
    #[error("cannot run Portico on `{0}`: it is a switch; name a Ca node with --hypervisor")]
    Switch(String),
    /// The node has more ports than Portico drives.
    #[error(
        "cannot run Portico on `{0}`: it has {1} ports, and Portico drives {HYPERVISOR_PORTS}; give its Ca line fewer"
    )]
    Ports(String, usize),
}

impl Node {
    /// Returns the GUIDs of the node's ports: of port 0 for a switch, of the ports from 1 on for a channel adapter.
    pub fn port_guids(&self) -> impl Iterator<Item = Guid> {
        let numbers = match self.kind {
            Kind::Switch => 0..=0,
            Kind::Host | Kind::Hypervisor => 1..=self.ports.len() as u64,
        };
        let base = self.guid.get();
        numbers.map(move |number| Guid::new(base.wrapping_add(number)))
    }
}

impl Topology {
    /// Returns the index of the node `name`: an id, a description, or a node GUID as `0x` and hexadecimal digits.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        let by = |matches: &dyn Fn(&Node) -> bool| self.nodes.iter().position(matches);
        let guid = || name.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        by(&|node| node.id == name)
            .or_else(|| by(&|node| node.description == name))
            .or_else(|| guid().and_then(|guid| by(&|node| node.guid.get() == guid)))
    }

    /// Makes the channel adapter `name` a hypervisor.
    ///
    /// # Errors
    /// [`HypervisorError`] is the reason why it cannot be one.
    pub fn set_hypervisor(&mut self, name: &str) -> Result<(), HypervisorError> {
        let index = self.find(name).ok_or_else(|| HypervisorError::Unknown(name.to_owned()))?;
        let node = &mut self.nodes[index];
        match node.kind {
            Kind::Switch => Err(HypervisorError::Switch(name.to_owned())),
            Kind::Host | Kind::Hypervisor if node.ports.len() > HYPERVISOR_PORTS => {
                Err(HypervisorError::Ports(name.to_owned(), node.ports.len()))
            }
            Kind::Host | Kind::Hypervisor => {
                node.kind = Kind::Hypervisor;
                Ok(())
            }
        }
    }

    /// Returns the port `at`.
    #[must_use]
    pub fn port(&self, at: PortRef) -> Option<&Port> {
        self.nodes.get(at.node)?.ports.get(usize::from(at.port.get()).checked_sub(1)?)
    }
}

/// Ports of a hypervisor's HCA, at most.
const HYPERVISOR_PORTS: usize = hca_contract::MAX_PORTS as usize;

#[cfg(test)]
mod tests;
