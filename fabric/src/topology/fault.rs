//! Mistakes in a netlist.

use iba::Guid;
use thiserror::Error;

/// A mistake in a netlist, and its line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {fault}")]
pub struct ParseError {
    /// Line, 1-based.
    pub line: usize,
    /// Mistake.
    pub fault: Fault,
}

/// A mistake in a line of a netlist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The text differs from the format.
    #[error("expected {expected}, found `{found}`")]
    Expected {
        /// Text that the format expects.
        expected: &'static str,
        /// Text of the netlist, up to the end of the line.
        found: String,
    },
    /// A port line without a node line before it.
    #[error(
        "cannot assign the port to a node: put a `Switch` or `Ca` line before it, without an empty line between them"
    )]
    Stray,
    /// A number is out of range.
    #[error("{field} is {value}; use {range}")]
    Range {
        /// Field of the line.
        field: &'static str,
        /// Number.
        value: u64,
        /// Allowed range.
        range: &'static str,
    },
    /// A description exceeds a NodeDescription.
    #[error("the description has {0} bytes; use at most {MAX_DESCRIPTION}")]
    Description(usize),
    /// Two nodes have one id.
    #[error("the id `{id}` belongs to the node of line {first}; choose another")]
    DuplicateId {
        /// Id.
        id: String,
        /// Line of the first node, 1-based.
        first: usize,
    },
    /// Two nodes share the GUID of a node or a port.
    #[error("the GUID {guid} belongs to the node of line {first}, or to one of its ports; choose another")]
    DuplicateGuid {
        /// GUID.
        guid: Guid,
        /// Line of the first node, 1-based.
        first: usize,
    },
    /// A port has two cables.
    #[error("port {port} already has a cable; remove one of the lines")]
    DuplicatePort {
        /// Port number.
        port: u64,
    },
    /// The netlist lacks the node at the other end of the cable.
    #[error("the cable leads to the unknown node `{id}`; add the node, or correct the id")]
    UnknownNode {
        /// Id.
        id: String,
    },
    /// The node at the other end of the cable lacks the port.
    #[error("the cable leads to port {port} of `{id}`, which lacks it; raise its number of ports, or correct the port")]
    UnknownPort {
        /// Id of the other node.
        id: String,
        /// Port number.
        port: u64,
    },
    /// The port at the other end refers to another port, or to none.
    #[error("the cable leads to `{id}` port {port}, which does not lead back; make the two lines agree")]
    OneWay {
        /// Id of the other node.
        id: String,
        /// Port number of the other node.
        port: u64,
    },
    /// The ends of the cable have no common width and speed.
    #[error("the ends of the cable to `{id}` port {port} have no width and speed in common; change one of the masks")]
    NoCommonLink {
        /// Id of the other node.
        id: String,
        /// Port number of the other node.
        port: u64,
    },
}

/// Bytes of a NodeDescription (IBA vol. 1, 14.2.5.2).
pub(super) const MAX_DESCRIPTION: usize = 64;
