//! What the physical fabric is made of: switches, channel adapters, and the cables between them.
//!
//! It is read from a netlist as ibsim takes it and ibnetdiscover prints it ([`Topology::parse`]), and written as one
//! ([`Topology`]'s `Display`).

mod fault;
mod guids;
mod parse;
mod rest;
mod write;

use iba::{Guid, PortNum};
use thiserror::Error;

pub use fault::{Fault, ParseError};

use cable::Abilities;

/// The fabric that is there when nobody asks for another: a switch, two hosts, and a machine that runs Portico.
pub const DEFAULT: &str = include_str!("default.net");

/// The channel adapter that runs Portico when nobody names another.
pub const DEFAULT_HYPERVISOR: &str = "portico-0";

/// Ports that the HCA of a machine that runs Portico may have.
const HYPERVISOR_PORTS: usize = hca_contract::MAX_PORTS as usize;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A switch; its port 0 is not among [`Node::ports`].
    Switch,
    /// A channel adapter of a host that is not ours to run: the fabric answers for it.
    Host,
    /// A channel adapter of a machine that runs Portico.
    Hypervisor,
}

/// A port of some node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRef {
    /// Index into [`Topology::nodes`].
    pub node: usize,
    /// The port, from 1 on.
    pub port: PortNum,
}

/// A port and its cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where the cable leads to; `None` without a cable. The port there names this one.
    pub peer: Option<PortRef>,
    /// The widths and speeds that the port starts with enabled.
    pub abilities: Abilities,
}

/// A node of the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name in the netlist, of which there is one only.
    pub id: String,
    /// Its NodeDescription, at most 64 bytes.
    pub description: String,
    /// Its node GUID. The GUID of port `n` is `n` more; that of a switch's port 0 is the same.
    pub guid: Guid,
    /// Its system image GUID.
    pub system_image_guid: Guid,
    /// Its vendor's IEEE OUI, if the netlist gives one.
    pub vendor_id: Option<u32>,
    /// Its device id, if the netlist gives one.
    pub device_id: Option<u16>,
    /// Its ports; port `n` is at `n - 1`.
    pub ports: Vec<Port>,
}

/// A fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The nodes, in the order of the netlist.
    pub nodes: Vec<Node>,
}

/// Why a node cannot run Portico.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HypervisorError {
    /// There is no such node.
    #[error("the topology has no node `{0}` to run Portico on: name one of its Ca nodes with --hypervisor")]
    Unknown(String),
    /// It is a switch.
    #[error("`{0}` is a switch and cannot run Portico: name a Ca node with --hypervisor")]
    Switch(String),
    /// It has more ports than Portico drives.
    #[error("`{0}` has {1} ports, and Portico drives at most {HYPERVISOR_PORTS}: give its Ca line fewer")]
    Ports(String, usize),
}

impl Node {
    /// The GUIDs of the node's ports: that of a switch's port 0, those of a channel adapter's ports from 1 on.
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
    /// The node that `name` stands for: its id, its description, or its node GUID as `0x` and hexadecimal digits.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        let by = |matches: &dyn Fn(&Node) -> bool| self.nodes.iter().position(matches);
        let guid = || name.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        by(&|node| node.id == name)
            .or_else(|| by(&|node| node.description == name))
            .or_else(|| guid().and_then(|guid| by(&|node| node.guid.get() == guid)))
    }

    /// Makes the channel adapter `name` one of a machine that runs Portico.
    ///
    /// # Errors
    /// If there is no such node, or it cannot run Portico.
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

    /// The port that `at` names.
    #[must_use]
    pub fn port(&self, at: PortRef) -> Option<&Port> {
        self.nodes.get(at.node)?.ports.get(usize::from(at.port.get()).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests;
