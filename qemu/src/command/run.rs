//! `cargo portico run`: the machine, from nothing to a subnet that is up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::setup;
use crate::launch::folder::Folder;
use crate::launch::workspace;

/// The machine to run.
#[derive(Args)]
pub(super) struct Options {
    /// Logical HCAs behind each hypervisor's port
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=253))]
    lhcas: u8,
    /// Processors of each hypervisor
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    cpus: u8,
    /// Memory of each hypervisor, as QEMU takes it
    #[arg(long, default_value = "256M")]
    memory: String,
    /// The physical fabric, in ibsim's netlist format or as ibnetdiscover prints it [default: a switch S1, hosts H1
    /// and H2, and the hypervisor portico-0]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Which Ca of the topology is a Portico machine; may be repeated [default: portico-0]
    #[arg(long = "hypervisor", value_name = "NAME")]
    hypervisors: Vec<String>,
    /// The subnet manager, at H1
    #[arg(long, value_enum, default_value_t = Sm::Opensm)]
    sm: Sm,
    /// IBSIM_SOCKNAME, at which umad programs attach
    #[arg(long, value_name = "NAME", default_value = "portico")]
    socket: String,
    /// End once the subnet is up and shown
    #[arg(long)]
    once: bool,
    /// Capture every packet on the hypervisors' cables
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Where the logs go [default: under target/portico/]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sm {
    /// OpenSM, as Debian packages it
    Opensm,
    /// None: attach one yourself
    None,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match options.sm {
        Sm::Opensm => setup::ensure_present(&[&setup::QEMU, &setup::OPENSM])?,
        Sm::None => setup::ensure_present(&[&setup::QEMU])?,
    }
    workspace::build_kernel()?;
    workspace::build_umad_library()?;
    let _folder = Folder::new()?;
    Ok(ExitCode::SUCCESS)
}
