//! `cargo portico bench`: the figures, beside their peers.

mod instructions;
mod sweep;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::setup;

/// What to measure.
#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// OpenSM's first sweep, and the instructions that an SMP costs, on Portico and on ibsim
    Sweep(sweep::Options),
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let What::Sweep(options) = &options.what;
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM, &setup::IBSIM, &setup::VALGRIND])?;
    sweep::run(options)?;
    println!();
    instructions::run()?;
    Ok(ExitCode::SUCCESS)
}
