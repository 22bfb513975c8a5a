//! What can be wrong with a netlist.

use iba::Guid;
use thiserror::Error;

/// Bytes of a NodeDescription (IBA vol. 1, 14.2.5.2).
pub(super) const MAX_DESCRIPTION: usize = 64;

/// What is wrong with a netlist, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {fault}")]
pub struct ParseError {
    /// The line, the first is 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line of a netlist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Something else is missing.
    #[error("expected {expected}, found `{found}`")]
    Expected {
        /// What the format asks for.
        expected: &'static str,
        /// What is there, up to the end of the line.
        found: String,
    },
    /// A port line that follows no node line.
    #[error("a port without a node: expected a `Switch` or `Ca` line before it, without an empty line between them")]
    Stray,
    /// A number is out of range.
    #[error("{what} is {value}, but has to be {range}")]
    Range {
        /// What the number is for.
        what: &'static str,
        /// The number.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// A description does not fit into a NodeDescription.
    #[error("the description has {0} bytes, but has to have at most {MAX_DESCRIPTION}")]
    Description(usize),
    /// The id is taken.
    #[error("`{id}` is the node of line {first} already")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where it was seen first.
        first: usize,
    },
    /// The GUID of the node, or of one of its ports, is taken.
    #[error("the GUID {guid} is also that of the node of line {first}, or of one of its ports")]
    DuplicateGuid {
        /// The GUID.
        guid: Guid,
        /// Where it was seen first.
        first: usize,
    },
    /// The port has a cable already.
    #[error("port {port} has a cable already")]
    DuplicatePort {
        /// The port.
        port: u64,
    },
    /// The cable leads to a node that is not there.
    #[error("there is no node `{id}` for the cable to lead to")]
    UnknownNode {
        /// The id.
        id: String,
    },
    /// The cable leads to a port that the other node does not have.
    #[error("`{id}` has no port {port} for the cable to lead to")]
    UnknownPort {
        /// The other node.
        id: String,
        /// The port.
        port: u64,
    },
    /// The port at the other end names another port, or none.
    #[error("the cable leads to `{id}` port {port}, which does not lead back to this port: the two lines must agree")]
    OneWay {
        /// The other node.
        id: String,
        /// Its port.
        port: u64,
    },
    /// The ends can never train a link.
    #[error("the ends of the cable to `{id}` port {port} have no width and speed in common")]
    NoCommonLink {
        /// The other node.
        id: String,
        /// Its port.
        port: u64,
    },
}
