//! Plan of a machine.

use std::path::PathBuf;

use fabric::topology::Topology;
use partition_table::ImageName;

use crate::config::Config;

/// Everything from which a machine is started.
pub struct Plan {
    /// The physical fabric, with its hypervisors marked.
    pub topology: Topology,
    /// Partitions of the hypervisors.
    pub config: Config,
    /// Processors of each hypervisor.
    pub cpus: u8,
    /// Memory of each hypervisor, in QEMU's notation, such as `256M`.
    pub memory: String,
    /// IBSIM_SOCKNAME: the name of the sockets for umad programs.
    pub socket: String,
    /// Capture file for the packets on the hypervisors' cables.
    pub capture: Option<PathBuf>,
    /// Folder of the log files.
    pub logs: PathBuf,
    /// The kernel.
    pub kernel: Kernel,
    /// Clock of the hypervisors.
    pub clock: Clock,
    /// Images of the hypervisors, by name.
    pub images: Vec<(ImageName, PathBuf)>,
}

/// File of a kernel.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// An ELF file, which QEMU loads by its PVH entry.
    Elf(PathBuf),
    /// A flash image, in place of the firmware.
    Flash(PathBuf),
}

/// Source of a hypervisor's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's clock.
    Host,
    /// Executed instructions: each takes 1 ns, and the time-stamp counter counts them.
    Instructions,
}
