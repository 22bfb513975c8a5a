//! The command `cargo portico`.

mod bench;
mod ctl;
mod image;
mod images;
mod run;
mod setup;
mod show;
mod test;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use portico_qemu::hca_process;
use portico_qemu::launch::{remove_after_run, supervise};

/// Hypervisor that shares one InfiniBand port among logical partitions, and its machine in QEMU
#[derive(Parser)]
#[command(name = "cargo portico", bin_name = "cargo portico", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install missing programs, build, boot, bring the subnet up, show it, and run until Ctrl-C
    Run(run::Options),
    /// Start, stop, add, remove and show the partitions of a running machine
    Ctl(ctl::Options),
    /// Run the checks and the tests
    Test(test::Options),
    /// Measure, beside the same work by other programs
    Bench(bench::Options),
    /// Create the flashable ROM image
    Image(image::Options),
    /// Model one HCA
    #[command(hide = true)]
    Model(hca_process::Options),
    /// Execute a program that the system kills when process PARENT ends
    #[command(hide = true)]
    Supervise {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
    /// Remove DIR after the end of standard input
    #[command(hide = true)]
    Janitor { dir: PathBuf },
}

/// Runs the command of the command line.
fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Run(options) => run::run(&options),
            Self::Ctl(options) => ctl::run(&options),
            Self::Test(options) => test::run(&options),
            Self::Bench(options) => bench::run(&options),
            Self::Image(options) => image::run(&options),
            Self::Model(options) => hca_process::run(&options).map(|()| ExitCode::SUCCESS),
            Self::Supervise { parent, program } => Err(supervise::exec(parent, &program)),
            Self::Janitor { dir } => remove_after_run(&dir).map(|()| ExitCode::SUCCESS),
        }
    }
}
