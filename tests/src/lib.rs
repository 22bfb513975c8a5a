//! What the whole-system tests share: a `portico run` of their own, the tools that attach to it, and the certainty
//! that nothing of it is left behind.
//!
//! Nothing here sleeps: a test waits for a line of output, for a program's end, or for a file to change, always with a
//! time limit. Each machine has its own socket name and folder, so tests do not meet.

#![allow(clippy::unwrap_used)] // what goes wrong in a harness fails the test

mod capture;
mod console;
mod ibsim;
mod leftovers;
mod lines;
mod machine;
mod opensm;
mod queue_pair_0;
mod site;
mod subscriber;
mod tool;
mod umad;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub use capture::tshark;
pub use console::Console;
pub use ibsim::Ibsim;
pub use lines::PATIENCE;
pub use machine::Machine;
pub use opensm::OpenSm;
pub use queue_pair_0::{Arrival, Destination, QueuePair0};
pub use site::Site;
pub use subscriber::Subscriber;
pub use tool::{Output, Preload, Server, Tool};

/// The command `portico`, built once for all tests of this program.
///
/// # Panics
/// It does not build.
#[must_use]
pub fn portico() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("portico", "portico"))
}

/// The preload library, built once for all tests of this program.
///
/// # Panics
/// It does not build.
#[must_use]
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| build("umad-shim", "libportico_umad.so"))
}

/// Builds `package` and says where its `file` is.
fn build(package: &str, file: &str) -> PathBuf {
    let target = target_dir();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success(), "{package} does not build");
    target.join("release").join(file)
}

/// Cargo's target directory: the one that the running test was built into.
///
/// # Panics
/// The running program was not built by cargo.
#[must_use]
pub fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(3).unwrap().to_owned()
}
