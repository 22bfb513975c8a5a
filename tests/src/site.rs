//! The place at which umad programs attach to a fabric: Portico's or ibsim's.

use std::path::{Path, PathBuf};

/// A fabric's umad server and a node of the fabric, for a test's programs. `opensm`, `subscriber` and `tool` start
/// programs here.
#[derive(Clone, Debug)]
pub struct Site {
    /// Value of `IBSIM_SOCKNAME`.
    pub(crate) socket: String,
    /// Node to attach to: value of `SIM_HOST`.
    pub(crate) host: String,
    /// Path of Portico's preload library.
    pub(crate) library: PathBuf,
    /// Working directory of programs.
    pub(crate) folder: PathBuf,
}

impl Site {
    /// Returns the same fabric for programs that attach to `host`: a node's id, or a partition that runs a bridge.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// Returns a folder for a test's files, removed with the fabric.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
