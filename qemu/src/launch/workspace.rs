//! Where the sources are, and what cargo makes of them for the machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::show::progress::Step;

/// The pinned toolchain, as in `rust-toolchain.toml`.
pub(crate) const TOOLCHAIN: &str = "1.95.0";

/// What cargo needs to be told to build the kernel, and the images that partitions run: their target, and that `core` and
/// `alloc` are built with them.
pub(crate) const KERNEL_TARGET: [&str; 9] = [
    "--package",
    "portico-kernel",
    "--package",
    "portico-echo",
    "--target",
    "x86_64-target.json",
    "-Zjson-target-spec",
    "-Zbuild-std=core,alloc,compiler_builtins",
    "-Zbuild-std-features=compiler-builtins-mem",
];

/// The root of the sources.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Cargo's target directory: the one that this program was built into.
///
/// # Errors
/// This program is not where cargo puts its output.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell the path of this program")?;
    let target = own.ancestors().nth(2).context("this program is not in cargo's target directory")?;
    Ok(target.to_owned())
}

/// Cargo, to be run on the sources, with `subcommand`.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn cargo(subcommand: &str) -> Result<Command> {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.arg(subcommand).current_dir(root()).env("CARGO_TARGET_DIR", target_dir()?);
    Ok(command)
}

/// Cargo with `subcommand` on the kernel for its own target. Stable cargo rebuilds `core` only when it is asked in this
/// way; the code itself uses no unstable feature.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn cargo_kernel(subcommand: &str) -> Result<Command> {
    let mut command = cargo(subcommand)?;
    command.args(KERNEL_TARGET).env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// Builds the kernel, and says where it is.
///
/// # Errors
/// It cannot be built.
pub(crate) fn build_kernel() -> Result<PathBuf> {
    let step = Step::begin("build the kernel");
    let mut command = cargo_kernel("build")?;
    command.args(["--release", "--bin", "portico-kernel", "--bin", "echo"]);
    step.watch(command)?;
    let kernel = target_dir()?.join("x86_64-target/release/portico-kernel");
    ensure!(kernel.is_file(), "cargo built the kernel, and yet there is no {}", kernel.display());
    step.done();
    Ok(kernel)
}

/// Where the image `name` is, once the kernel is built.
///
/// # Errors
/// There is none of this name.
pub(crate) fn image(name: &str) -> Result<PathBuf> {
    let image = target_dir()?.join("x86_64-target/release").join(name);
    ensure!(image.is_file(), "there is no image {name}: the folder partitions has those that there are");
    Ok(image)
}

/// Builds the preload library through which umad programs reach the fabric, and says where it is.
///
/// # Errors
/// It cannot be built.
pub(crate) fn build_umad_library() -> Result<PathBuf> {
    build_for_host("umad library", "portico-umad", "libportico_umad.so")
}

/// Builds the program whose instructions are counted, and says where it is.
///
/// # Errors
/// It cannot be built.
pub(crate) fn build_benches() -> Result<PathBuf> {
    build_for_host("benchmark", "portico-benches", "smp")
}

fn build_for_host(what: &str, package: &str, file: &str) -> Result<PathBuf> {
    let step = Step::begin(format!("build the {what}"));
    let mut command = cargo("build")?;
    command.args(["--release", "--package", package]);
    step.watch(command)?;
    let built = target_dir()?.join("release").join(file);
    ensure!(built.is_file(), "cargo built the {what}, and yet there is no {}", built.display());
    step.done();
    Ok(built)
}

/// The pinned toolchain's folder.
///
/// # Errors
/// The compiler cannot be asked.
pub(crate) fn rustc_sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(root())
        .output()
        .context("cannot run rustc: install Rust from https://rustup.rs")?;
    ensure!(output.status.success(), "rustc --print sysroot failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_toolchain_is_the_one_that_is_set_up() {
        let pinned = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
        assert!(pinned.contains(&format!("channel = \"{TOOLCHAIN}\"")), "{pinned}");
    }
}
