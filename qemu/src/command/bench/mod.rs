//! `cargo portico bench`: the figures, beside their peers.

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
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let What::Sweep(options) = &options.what;
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM, &setup::IBSIM, &setup::VALGRIND])?;
    let interrupt = Interrupt::catch()?;
    match figures(options, &interrupt) {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(run::INTERRUPTED)),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// Measures, and prints tables.
fn figures(options: &sweep::Options, interrupt: &Interrupt) -> Result<()> {
    let sweeps = sweep::measure(options, interrupt)?;
    println!("\n{sweeps}\n");
    let costs = instructions::measure(interrupt)?;
    println!("\n{costs}");
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
