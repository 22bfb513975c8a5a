//! The kernel that contains the kernel tests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Environment variable with the path of a test kernel that is built already.
const GIVEN: &str = "PORTICO_TEST_KERNEL";

/// Returns the test kernel's ELF file: that of the environment variable `PORTICO_TEST_KERNEL`, or else a new build.
///
/// # Errors
/// The build fails.
pub(crate) fn test_kernel() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(GIVEN) {
        return Ok(given.into());
    }
    let target_dir = portico_tests::target_dir();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "--release", "--package", "portico-kernel", "--bin", "kernel-tests"])
        .args(["--target", "x86_64-target.json", "-Zbuild-std=core,alloc,compiler_builtins"])
        .args(["-Zbuild-std-features=compiler-builtins-mem", "-Zjson-target-spec"])
        .arg("--target-dir")
        .arg(&target_dir)
        // The code is stable Rust; building `core` for our own target is what stable cargo hides behind this.
        .env("RUSTC_BOOTSTRAP", "1");
    let status = command.status().with_context(|| format!("starting {command:?} to build the test kernel"))?;
    ensure!(status.success(), "building the test kernel failed ({status}): {command:?}");
    Ok(target_dir.join("x86_64-target/release/kernel-tests"))
}
