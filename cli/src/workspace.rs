//! Where the sources are, and what cargo makes of them for the machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::show::progress::Step;

/// The pinned toolchain, as in `rust-toolchain.toml`.
pub(crate) const TOOLCHAIN: &str = "1.95.0";

/// The images that partitions run: each is a folder of `partitions/`, whose package `portico-NAME` has the program `NAME`.
pub(crate) const IMAGES: &[&str] = &["bridge", "echo", "hostile", "measure", "sm", "traffic"];

/// What cargo needs to be told of the target that the kernel and the images have: `core` and `alloc` are built with them.
const KERNEL_TARGET: [&str; 5] = [
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

/// Cargo with `subcommand` on the kernel and the images for their own target. Stable cargo rebuilds `core` only when it is
/// asked in this way; the code itself uses no unstable feature.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn cargo_kernel(subcommand: &str) -> Result<Command> {
    let mut command = cargo(subcommand)?;
    command.args(["--package", "portico-kernel"]);
    command.args(IMAGES.iter().flat_map(|name| ["--package".into(), format!("portico-{name}")]));
    command.args(KERNEL_TARGET).env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// Builds the kernel and the images, and says where the kernel is.
///
/// # Errors
/// They cannot be built.
pub(crate) fn build_kernel() -> Result<PathBuf> {
    let step = Step::begin("build the kernel and the images");
    let mut command = cargo_kernel("build")?;
    command.args(["--release", "--bin", "portico-kernel"]).args(IMAGES.iter().flat_map(|name| ["--bin", name]));
    step.watch(command)?;
    step.done();
    built("portico-kernel")
}

/// Where the image `name` is, once the kernel is built.
///
/// # Errors
/// There is none of this name.
pub(crate) fn image(name: &str) -> Result<PathBuf> {
    ensure!(
        IMAGES.contains(&name),
        "there is no image {name}: name one of {}, or a file by its path",
        IMAGES.join(", ")
    );
    built(name)
}

fn built(name: &str) -> Result<PathBuf> {
    let file = target_dir()?.join("x86_64-target/release").join(name);
    ensure!(file.is_file(), "cargo built {name}, and yet there is no {}", file.display());
    Ok(file)
}

/// Builds the preload library through which umad programs reach the fabric, and says where it is.
///
/// # Errors
/// It cannot be built.
pub(crate) fn build_umad_library() -> Result<PathBuf> {
    build_for_host("umad library", "umad-shim", "libportico_umad.so")
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
    fn each_image_is_a_folder_with_a_program_of_its_name() {
        for name in IMAGES {
            let package = std::fs::read_to_string(root().join("partitions").join(name).join("Cargo.toml")).unwrap();
            assert!(package.contains(&format!("name = \"portico-{name}\"")), "{package}");
            assert!(package.contains(&format!("[[bin]]\nname = \"{name}\"")), "{package}");
        }
    }

    #[test]
    fn the_pinned_toolchain_is_the_one_that_is_set_up() {
        let pinned = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
        assert!(pinned.contains(&format!("channel = \"{TOOLCHAIN}\"")), "{pinned}");
    }
}
