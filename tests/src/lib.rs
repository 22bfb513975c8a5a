//! Shared code of the whole-system tests: a `portico run` for each test, the programs that attach to it, and the check
//! that it leaves nothing behind.
//!
//! No test sleeps: it waits for a line of output, for a program's end, or for a file to change, always with a time
//! limit. Each machine has a socket name and a folder of its own, so that tests can run side by side.

#![allow(clippy::unwrap_used)] // a test fails by panicking

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

/// Returns the path of the command `portico`, built once for all tests of this program.
///
/// # Panics
/// The build fails.
#[must_use]
pub fn portico() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("portico", "portico"))
}

/// Returns the path of the preload library, built once for all tests of this program.
///
/// # Panics
/// The build fails.
#[must_use]
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| build("umad-shim", "libportico_umad.so"))
}

/// Builds `package` and returns the path of its `file`.
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

/// Returns cargo's target directory: that of the running test.
///
/// # Panics
/// Cargo did not build the running program.
#[must_use]
pub fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(3).unwrap().to_owned()
}
