//! `cargo portico bench`: measures Portico beside its peers.

mod data;
mod instructions;
mod interrupt;
mod netlist;
mod opensm;
mod site;
mod sweep;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::interrupt::{Interrupt, Interrupted};
use crate::{run, setup};

/// Benchmark to run.
#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Time OpenSM's first sweep and count the instructions of an SMP, on Portico and on ibsim
    Sweep(sweep::Options),
    /// Count the instructions of a datagram and a hypercall, and the VM exits under load
    Data(data::Options),
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::catch()?;
    let outcome = match &options.benchmark {
        Benchmark::Sweep(options) => sweep(options, &interrupt),
        Benchmark::Data(options) => data(options, &interrupt),
    };
    match outcome {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(run::INTERRUPTED)),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// Measures sweeps and SMPs, and prints a table of each.
fn sweep(options: &sweep::Options, interrupt: &Interrupt) -> Result<()> {
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM, &setup::IBSIM, &setup::VALGRIND])?;
    let sweeps = sweep::measure(options, interrupt)?;
    println!("\n{sweeps}\n");
    let costs = instructions::measure(interrupt)?;
    println!("\n{costs}");
    Ok(())
}

/// Measures datagrams and hypercalls, and prints a table.
fn data(options: &data::Options, interrupt: &Interrupt) -> Result<()> {
    setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?;
    let figures = data::measure(options, interrupt)?;
    println!("\n{figures}");
    Ok(())
}
