//! `cargo portico bench`: the figures, beside their peers.

mod data;
mod instructions;
mod netlist;
mod opensm;
mod site;
mod sweep;
mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use thiserror::Error;

use super::{run, setup};

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
    /// The instructions that a datagram and a hypercall cost, and how often a partition under load is left
    Data(data::Options),
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::catch()?;
    let outcome = match &options.what {
        What::Sweep(options) => figures(options, &interrupt),
        What::Data(options) => data(options, &interrupt),
    };
    match outcome {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(run::INTERRUPTED)),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// Measures, and prints tables.
fn figures(options: &sweep::Options, interrupt: &Interrupt) -> Result<()> {
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM, &setup::IBSIM, &setup::VALGRIND])?;
    let sweeps = sweep::measure(options, interrupt)?;
    println!("\n{sweeps}\n");
    let costs = instructions::measure(interrupt)?;
    println!("\n{costs}");
    Ok(())
}

/// Measures, and prints a table.
fn data(options: &data::Options, interrupt: &Interrupt) -> Result<()> {
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?;
    let figures = data::measure(options, interrupt)?;
    println!("\n{figures}");
    Ok(())
}

/// Whether the user wants the run to end. The processes that were started end with the values that stand for them, so an
/// interrupted run returns rather than dies.
struct Interrupt(Arc<AtomicBool>);

/// The user wants the run to end.
#[derive(Debug, Error)]
#[error("interrupted")]
struct Interrupted;

impl Interrupt {
    fn catch() -> Result<Self> {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&wanted)).context("cannot wait for signals")?;
        }
        Ok(Self(wanted))
    }

    fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
