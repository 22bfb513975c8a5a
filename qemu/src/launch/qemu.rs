//! QEMU: one for each hypervisor.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use partition_table::ImageName;

use super::leash;

/// A hypervisor's machine.
pub(super) struct Machine<'a> {
    /// The kernel: an ELF with a PVH entry, or a flash image.
    pub(super) kernel: &'a Path,
    /// Whether it is in flash, and there is no firmware.
    pub(super) flash: bool,
    pub(super) cpus: u8,
    /// As QEMU takes it, such as `256M`.
    pub(super) memory: &'a str,
    /// The packed partition table, a file.
    pub(super) table: &'a Path,
    /// Whether time is instructions.
    pub(super) counts_instructions: bool,
    /// What partitions run, and the files.
    pub(super) images: &'a [(ImageName, PathBuf)],
    /// Where the HCA's shared memory is served.
    pub(super) hca: &'a Path,
    /// HCAs that partitions drive: PCI device number, and where the shared memory is served.
    pub(super) lent: &'a [(u8, &'a Path)],
    /// The socket to which the kernel's control line is to be connected.
    pub(super) control: &'a Path,
    /// What the kernel's console says, a file.
    pub(super) console: &'a Path,
    /// What QEMU itself says, a file.
    pub(super) log: &'a Path,
}

impl Machine<'_> {
    /// The command that runs the machine.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn command(&self) -> Result<Command> {
        let log = std::fs::File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = leash::command("qemu-system-x86_64")?;
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max"])
            .args(["-smp", &self.cpus.to_string(), "-m", self.memory])
            .arg(if self.flash { "-bios" } else { "-kernel" })
            .arg(self.kernel)
            .args(["-serial", &format!("file:{}", self.console.display())])
            .args(["-chardev", &format!("socket,id=control,path={}", self.control.display())])
            .args(["-serial", "chardev:control"])
            .args(["-chardev", &format!("socket,id=hca,path={}", self.hca.display())])
            .args(["-device", &format!("ivshmem-doorbell,chardev=hca,vectors={}", hca_contract::VECTORS)])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .args(["-fw_cfg", &format!("name=opt/org.portico/table,file={}", self.table.display())])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (device, path) in self.lent {
            command.args(["-chardev", &format!("socket,id=lent-{device},path={}", path.display())]).args([
                "-device",
                &format!("ivshmem-doorbell,chardev=lent-{device},vectors={},addr={device:#x}", hca_contract::VECTORS),
            ]);
        }
        if self.counts_instructions {
            command.args(["-icount", "shift=0"]);
        }
        for (name, path) in self.images {
            // A comma in an option's value is said twice.
            let path = path.display().to_string().replace(',', ",,");
            let file = format!("name={}{name},file={path}", ImageName::FW_CFG_FOLDER);
            command.args(["-fw_cfg", &file]);
        }
        Ok(command)
    }
}

/// What the end of QEMU means: the kernel may have ended the machine, and said how.
pub(super) fn meaning(status: ExitStatus) -> String {
    match status.code().filter(|code| code & 1 == 1).map(|code| code >> 1) {
        Some(0x10) => "the kernel said that all is done".into(),
        Some(0x11) => "the kernel found a check that failed".into(),
        Some(0x12) => "the kernel panicked".into(),
        Some(0x13) => "the processor raised an exception that the kernel does not expect".into(),
        _ => format!("QEMU: {status}"),
    }
}
