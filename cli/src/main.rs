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

use portico_qemu::{hca_process, launch};

/// A hypervisor that shares one InfiniBand port among logical partitions, and its machine in QEMU.
#[derive(Parser)]
#[command(name = "cargo portico", bin_name = "cargo portico", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, build, boot, bring the subnet up, show it, and stay until Ctrl-C
    Run(run::Options),
    /// Begin, end, add, remove and show the partitions of a running machine
    Ctl(ctl::Options),
    /// Run every test
    Test(test::Options),
    /// Measure, beside the peers
    Bench(bench::Options),
    /// Make the flashable ROM image
    Image(image::Options),
    /// Be the HCA of one machine
    #[command(hide = true)]
    Model(hca_process::Options),
    /// Become a program that dies with process PARENT
    #[command(hide = true)]
    Leash {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
    /// Remove DIR once nobody holds the other end of standard input
    #[command(hide = true)]
    Janitor { dir: PathBuf },
}

/// Does what the command line asks for.
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
            Self::Leash { parent, program } => Err(launch::leash::exec(parent, &program)),
            Self::Janitor { dir } => launch::folder::clean(&dir).map(|()| ExitCode::SUCCESS),
        }
    }
}
