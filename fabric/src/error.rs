//! Errors of a fabric's start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use umad_server::BindError;

/// Reason why a fabric cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// `subnet` refuses a node.
    #[error("cannot create a node of the topology")]
    Node(#[from] subnet::ConfigError),
    /// A cable joins two hypervisors.
    #[error("cannot join the hypervisors `{0}` and `{1}` by a cable: put a switch between them")]
    NoSwitch(String, String),
    /// The socket of a cable fails.
    #[error("cannot listen for a cable at {0}: use a writable folder with a shorter path")]
    Cable(PathBuf, #[source] io::Error),
    /// The capture file fails.
    #[error("cannot create the capture file {0}")]
    Capture(PathBuf, #[source] io::Error),
    /// The socket for umad programs fails.
    #[error(transparent)]
    Umad(#[from] BindError),
    /// A system call fails.
    #[error("cannot set up the fabric's event loop")]
    System(#[from] io::Error),
}
