//! Configuration of a fabric.

use std::path::PathBuf;

use umad_server::Endpoint;

use crate::topology::Topology;

/// Nodes, cables and sockets of a fabric.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nodes and cables.
    pub topology: Topology,
    /// Folder of the cables' sockets for the HCA models: port `p` of node `n` is at `cable-n-p`.
    pub folder: PathBuf,
    /// Capture file for the packets on the cables to hypervisors.
    pub capture: Option<PathBuf>,
    /// Socket at which umad programs attach to hosts, switches and bridges.
    pub umad: Endpoint,
    /// HCAs that bridges drive.
    pub bridges: Vec<BridgeHca>,
}

/// HCA assigned to a bridge: a partition that hands management datagrams on between this HCA and its LHCA. Bridges
/// drive it one after another. Its model finds the cables as [`Config::folder`] says, with this name for the node.
#[derive(Clone, Debug)]
pub struct BridgeHca {
    /// Name of the HCA.
    pub name: String,
    /// Number of ports.
    pub ports: u8,
}
