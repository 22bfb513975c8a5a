//! What the server asks of the fabric that its clients attach to.

use iba::PortNum;
use iba::attr::{NodeInfo, PKeyTable, PortInfo};

/// A port of a node of the fabric. The fabric gives it out and the server hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodePort {
    /// The node, as the fabric counts its nodes.
    pub node: usize,
    /// The port: 0 is a switch's own port, a channel adapter counts from 1.
    pub port: PortNum,
}

/// The fabric as the server sees it: ports where a client may attach, the attributes of these ports, and a way in for
/// packets.
///
/// The way out is the server's own: the fabric hands it each packet that a node leaves to the consumers at a port. It
/// may not do so from within a call of this trait: it keeps such packets and hands them over after the call, which is
/// why nothing here takes the server.
pub trait Fabric {
    /// The port that `name` stands for: a node's id in the netlist, its description, or its GUID as hexadecimal
    /// digits behind `0x`. Without a name the first channel adapter that is no hypervisor. A channel adapter is
    /// attached at its port 1, a switch at its port 0.
    fn attach(&self, name: Option<&str>) -> Option<NodePort>;

    /// The id in the netlist of the node that `at` belongs to.
    fn node_id(&self, at: NodePort) -> &str;

    /// NodeInfo as Get at this port answers it (IBA vol. 1, 14.2.5.3).
    fn node_info(&self, at: NodePort) -> NodeInfo;

    /// PortInfo of port `port` of the node that `at` belongs to (IBA vol. 1, 14.2.5.6), `None` where it has no such
    /// port.
    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo>;

    /// Block 0 of the P_Key table of `at` (IBA vol. 1, 14.2.5.7).
    fn p_keys(&self, at: NodePort) -> PKeyTable;

    /// Sets or clears the IsSM bit in the capability mask of `at`.
    fn set_is_sm(&mut self, at: NodePort, is_sm: bool);

    /// Takes a packet that a client at `at` sends: LRH through payload, no CRCs. A directed-route SMP comes with hop
    /// pointer 0, as its sender makes it, so the node at `at` is the first to act on it.
    fn submit(&mut self, at: NodePort, packet: &mut [u8]);
}
