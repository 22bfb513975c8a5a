//! Interface of the fabric to the server.

use iba::PortNum;
use iba::attr::{NodeInfo, PKeyTable, PortInfo};

/// Port of a node of the fabric. The fabric chooses the numbers; the server passes them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodePort {
    /// Number of the node.
    pub node: usize,
    /// The port: 0 is a switch's management port; a channel adapter counts from 1.
    pub port: PortNum,
}

/// Fabric as the server uses it: ports at which clients attach, attributes of these ports, and packets of clients.
///
/// In the other direction the fabric calls [`Server::deliver`](crate::Server::deliver) for each packet to the consumers
/// at a port. It does so after a call of this trait, never within one.
pub trait Fabric {
    /// Returns the port of the node `name`: a node's id in the netlist, its description, or its GUID as hexadecimal
    /// digits behind `0x`. Without a name, returns the first channel adapter that is no hypervisor's. A client attaches
    /// at port 1 of a channel adapter and at port 0 of a switch.
    fn attach(&self, name: Option<&str>) -> Option<NodePort>;

    /// Returns the id in the netlist of the node of `at`.
    fn node_id(&self, at: NodePort) -> &str;

    /// Returns NodeInfo as in a SubnGetResp of this port (IBA vol. 1, 14.2.5.3).
    fn node_info(&self, at: NodePort) -> NodeInfo;

    /// Returns PortInfo of port `port` of the node of `at` (IBA vol. 1, 14.2.5.6); `None` if the node has no such port.
    fn port_info(&self, at: NodePort, port: PortNum) -> Option<PortInfo>;

    /// Returns block 0 of the P_Key table of `at` (IBA vol. 1, 14.2.5.7).
    fn p_keys(&self, at: NodePort) -> PKeyTable;

    /// Sets or clears the IsSM bit in the capability mask of `at`.
    fn set_is_sm(&mut self, at: NodePort, is_sm: bool);

    /// Takes a packet of a client at `at`: LRH through payload, no CRCs. A directed-route SMP has hop pointer 0, so the
    /// node of `at` is the first to act on it.
    fn submit(&mut self, at: NodePort, packet: &mut [u8]);
}
