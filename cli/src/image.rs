//! `cargo portico image`: creates the flashable ROM image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::setup;
use crate::workspace;

/// Image to create.
#[derive(Args)]
pub(super) struct Options {
    /// Output file [default: target/portico/portico.rom]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure_present(&[])?;
    let kernel = workspace::build_kernel()?;
    let output = pack(&kernel, options.output.as_deref())?;
    let size = fs::metadata(&output)?.len() >> 10;
    println!("{}: {size} KiB; map it so that it ends at 4 GiB (QEMU: -bios)", output.display());
    Ok(ExitCode::SUCCESS)
}

/// Packs the kernel as a flash image into `output`, or into the default file; returns the file.
///
/// # Errors
/// The ELF file is not a kernel, or the image cannot be written.
pub(super) fn pack(kernel: &Path, output: Option<&Path>) -> Result<PathBuf> {
    let elf = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let image = rom_image::pack(&elf).context("cannot create an image of the kernel")?;
    let output = match output {
        Some(file) => file.to_owned(),
        None => {
            let folder = workspace::target_dir()?.join("portico");
            fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
            folder.join("portico.rom")
        }
    };
    fs::write(&output, &image).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(output)
}
