//! Command lines of QEMU.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use partition_table::ImageName;

use super::plan::{Clock, Kernel};
use super::supervise;

/// Command line of the QEMU of one hypervisor.
pub(super) struct CommandLine<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) cpus: u8,
    /// Memory in QEMU's notation, such as `256M`.
    pub(super) memory: &'a str,
    /// File of the packed partition table.
    pub(super) table: &'a Path,
    pub(super) clock: Clock,
    /// Images by name, and their files.
    pub(super) images: &'a [(ImageName, PathBuf)],
    /// Socket that serves the HCA's shared memory.
    pub(super) hca: &'a Path,
    /// HCAs for partitions: PCI device number, and the socket that serves the shared memory.
    pub(super) assignable: &'a [(u8, &'a Path)],
    /// Socket of the kernel's control line.
    pub(super) control: &'a Path,
    /// File of the kernel's console.
    pub(super) console: &'a Path,
    /// File of QEMU's own output.
    pub(super) log: &'a Path,
}

impl CommandLine<'_> {
    /// Returns the command that runs the machine.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn command(&self) -> Result<Command> {
        let log = std::fs::File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let kernel = match self.kernel {
            Kernel::Elf(file) => [OsStr::new("-kernel"), file.as_os_str()],
            Kernel::Flash(file) => [OsStr::new("-bios"), file.as_os_str()],
        };
        let mut command = supervise::command("qemu-system-x86_64")?;
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max"])
            .args(["-smp", &self.cpus.to_string(), "-m", self.memory])
            .args(kernel)
            .args(["-serial", &format!("file:{}", self.console.display())])
            .args(["-chardev", &format!("socket,id=control,path={}", self.control.display())])
            .args(["-serial", "chardev:control"])
            .args(["-chardev", &format!("socket,id=hca,path={}", self.hca.display())])
            .args(["-device", &format!("ivshmem-doorbell,chardev=hca,vectors={}", hca_contract::VECTORS)])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .args(["-fw_cfg", &format!("name={},file={}", partition_table::FW_CFG_FILE, self.table.display())])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (device, path) in self.assignable {
            command.args(["-chardev", &format!("socket,id=assignable-{device},path={}", path.display())]).args([
                "-device",
                &format!(
                    "ivshmem-doorbell,chardev=assignable-{device},vectors={},addr={device:#x}",
                    hca_contract::VECTORS
                ),
            ]);
        }
        if self.clock == Clock::Instructions {
            command.args(["-icount", "shift=0"]);
        }
        for (name, path) in self.images {
            // QEMU reads two commas in an option's value as one.
            let path = path.display().to_string().replace(',', ",,");
            let file = format!("name={}{name},file={path}", ImageName::FW_CFG_FOLDER);
            command.args(["-fw_cfg", &file]);
        }
        Ok(command)
    }
}

/// Describes the exit status of QEMU, which the kernel may have set (isa-debug-exit: 2n + 1).
pub(super) fn meaning(status: ExitStatus) -> String {
    match status.code().filter(|code| code & 1 == 1).map(|code| code >> 1) {
        Some(0x10) => "the kernel reported success".into(),
        Some(0x11) => "a check of the kernel failed".into(),
        Some(0x12) => "the kernel panicked".into(),
        Some(0x13) => "the kernel took an unexpected exception".into(),
        _ => format!("QEMU: {status}"),
    }
}
