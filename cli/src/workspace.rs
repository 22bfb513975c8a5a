//! Sources of Portico, and their builds by cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::show::progress::Step;

/// Pinned toolchain, as in `rust-toolchain.toml`.
pub(crate) const TOOLCHAIN: &str = "1.95.0";

/// Images of partitions: each is a folder of `partitions/`, whose package `portico-NAME` has the program `NAME`.
pub(crate) const IMAGES: &[&str] = &["bridge", "echo", "hostile", "measure", "sm", "traffic"];

/// Returns the root of the sources.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns cargo's target directory: the one that holds this program.
///
/// # Errors
/// This program is outside a target directory.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find the path of this program")?;
    let target = own
        .ancestors()
        .nth(2)
        .context("cannot find cargo's target directory: start this program by `cargo portico`")?;
    Ok(target.to_owned())
}

/// Returns a command of cargo with `subcommand`, for the sources.
///
/// # Errors
/// Those of [`target_dir`].
pub(crate) fn cargo(subcommand: &str) -> Result<Command> {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.arg(subcommand).current_dir(root()).env("CARGO_TARGET_DIR", target_dir()?);
    Ok(command)
}

/// Returns a command of cargo with `subcommand`, for the kernel and the images on their own target. Stable cargo
/// rebuilds `core` only with these options; the code itself uses no unstable feature.
///
/// # Errors
/// Those of [`target_dir`].
pub(crate) fn cargo_kernel(subcommand: &str) -> Result<Command> {
    let mut command = cargo(subcommand)?;
    command.args(["--package", "portico-kernel"]);
    command.args(IMAGES.iter().flat_map(|name| ["--package".into(), format!("portico-{name}")]));
    command.args(KERNEL_TARGET).env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// Builds the kernel and the images; returns the path of the kernel.
///
/// # Errors
/// The build fails.
pub(crate) fn build_kernel() -> Result<PathBuf> {
    let step = Step::begin("build the kernel and the images");
    let mut command = cargo_kernel("build")?;
    command.args(["--release", "--bin", "portico-kernel"]).args(IMAGES.iter().flat_map(|name| ["--bin", name]));
    step.watch(command)?;
    step.done();
    built("portico-kernel")
}

/// Returns the path of the image `name`, after [`build_kernel`].
///
/// # Errors
/// The sources have no such image.
pub(crate) fn image(name: &str) -> Result<PathBuf> {
    ensure!(
        IMAGES.contains(&name),
        "cannot find the image {name}: name one of {}, or a file by its path",
        IMAGES.join(", ")
    );
    built(name)
}

fn built(name: &str) -> Result<PathBuf> {
    let file = target_dir()?.join("x86_64-target/release").join(name);
    ensure!(file.is_file(), "cannot find {name} after its build: {} is missing", file.display());
    Ok(file)
}

/// Builds the preload library that connects umad programs to the fabric; returns its path.
///
/// # Errors
/// The build fails.
pub(crate) fn build_umad_library() -> Result<PathBuf> {
    build_for_host("umad library", "umad-shim", "libportico_umad.so")
}

/// Builds the program whose instructions callgrind counts; returns its path.
///
/// # Errors
/// The build fails.
pub(crate) fn build_benches() -> Result<PathBuf> {
    build_for_host("benchmark", "portico-benches", "smp")
}

fn build_for_host(name: &str, package: &str, file: &str) -> Result<PathBuf> {
    let step = Step::begin(format!("build the {name}"));
    let mut command = cargo("build")?;
    command.args(["--release", "--package", package]);
    step.watch(command)?;
    let built = target_dir()?.join("release").join(file);
    ensure!(built.is_file(), "cannot find the {name} after its build: {} is missing", built.display());
    step.done();
    Ok(built)
}

/// Returns the folder of the pinned toolchain.
///
/// # Errors
/// rustc cannot be run.
pub(crate) fn rustc_sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(root())
        .output()
        .context("cannot run rustc: install Rust from https://rustup.rs")?;
    ensure!(output.status.success(), "rustc --print sysroot failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Cargo's arguments for the target of the kernel and the images, with `core` and `alloc` built from source.
const KERNEL_TARGET: [&str; 5] = [
    "--target",
    "x86_64-target.json",
    "-Zjson-target-spec",
    "-Zbuild-std=core,alloc,compiler_builtins",
    "-Zbuild-std-features=compiler-builtins-mem",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_a_folder_with_its_program() {
        for name in IMAGES {
            let package = std::fs::read_to_string(root().join("partitions").join(name).join("Cargo.toml")).unwrap();
            assert!(package.contains(&format!("name = \"portico-{name}\"")), "{package}");
            assert!(package.contains(&format!("[[bin]]\nname = \"{name}\"")), "{package}");
        }
    }

    #[test]
    fn toolchain_equals_the_pinned_one() {
        let pinned = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
        assert!(pinned.contains(&format!("channel = \"{TOOLCHAIN}\"")), "{pinned}");
    }
}
