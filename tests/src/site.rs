//! A fabric that umad programs can attach to, whoever serves it.

use std::path::{Path, PathBuf};

use crate::opensm::OpenSm;
use crate::subscriber::Subscriber;
use crate::tool::Tool;

/// Where umad programs of a test attach, and where they leave their files.
#[derive(Clone, Debug)]
pub struct Site {
    /// `IBSIM_SOCKNAME`.
    pub(crate) socket: String,
    /// The node to attach to where a test names no other.
    pub(crate) host: String,
    /// Portico's preload library.
    pub(crate) library: PathBuf,
    /// Where programs run.
    pub(crate) folder: PathBuf,
}

impl Site {
    /// The same fabric, for programs that attach to `host`: a node's id, or a partition that lends its port.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// A program at this fabric, through Portico's library.
    #[must_use]
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Tool {
        Tool::new(self, program, arguments)
    }

    /// OpenSM with `arguments`, in addition to what the fabric may have.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn opensm(&self, arguments: &[&str]) -> OpenSm {
        OpenSm::start(self, arguments)
    }

    /// Somebody at this fabric's host who wants to be told of all events.
    ///
    /// # Panics
    /// There is no subnet manager, or it does not grant that.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        Subscriber::begin(self)
    }

    /// A folder for a test's files, removed with the fabric.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
