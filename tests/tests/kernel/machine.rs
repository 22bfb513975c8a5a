//! One machine for one kernel test.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use portico_kernel::exit::ExitCode;

use crate::list::KernelTest;

/// End of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All checks passed.
    Pass,
    /// A check failed.
    Fail,
    /// The kernel panicked.
    Panic,
    /// The processor raised an exception.
    Fault,
    /// The machine did not end in time.
    Hang,
}

impl Verdict {
    /// Returns the verdict with this name.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Pass, Self::Fail, Self::Panic, Self::Fault, Self::Hang].into_iter().find(|it| format!("{it:?}") == name)
    }

    fn of(code: ExitCode) -> Option<Self> {
        match code {
            ExitCode::PASS => Some(Self::Pass),
            ExitCode::FAIL => Some(Self::Fail),
            ExitCode::PANIC => Some(Self::Panic),
            ExitCode::FAULT => Some(Self::Fault),
            _ => None,
        }
    }
}

/// Word among a test's options that selects a boot from a flash image, without firmware.
const FLASH: &str = "flash";

/// Returns the time limit of a machine. A test that must hang has less, because it spends all of it.
fn limit(test: &KernelTest) -> Duration {
    Duration::from_secs(if test.ends == Verdict::Hang { 8 } else { 60 })
}

/// Runs one test of the kernel in this ELF file in a machine of its own.
///
/// # Errors
/// The machine ends otherwise than expected, or its serial log lacks the expected text; the error has the log.
pub(crate) fn run(kernel: &Path, test: &KernelTest) -> Result<()> {
    let machine = Machine::start(kernel, test)?;
    let (verdict, log) = machine.wait(limit(test))?;
    if verdict != test.ends {
        bail!("{} ended in {verdict:?}, not in {:?}; its serial log:\n{log}", test.name, test.ends);
    }
    if !log.contains(&test.shows) {
        bail!("{} does not show {:?}; its serial log:\n{log}", test.name, test.shows);
    }
    Ok(())
}

/// A QEMU process, killed on drop.
struct Machine {
    qemu: Child,
    log: mpsc::Receiver<String>,
}

impl Machine {
    fn start(kernel: &Path, test: &KernelTest) -> Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-machine", "q35", "-cpu", "max", "-m", "128M", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(["-fw_cfg", &format!("name=opt/org.portico/cmdline,string=test={}", test.name)])
            .args(test.machine.iter().filter(|word| *word != FLASH))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if test.machine.iter().any(|word| word == FLASH) {
            command.arg("-bios").arg(flash_image(kernel)?);
        } else {
            command.arg("-kernel").arg(kernel);
        }
        let mut qemu = command.spawn().with_context(|| format!("starting QEMU: {command:?}"))?;
        let mut serial = qemu.stdout.take().context("QEMU's standard output is the serial port")?;
        let (send, log) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // The log is the part before an error.
            let _ = serial.read_to_end(&mut bytes);
            let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        Ok(Self { qemu, log })
    }

    /// Waits for the machine's end, for `limit` at most, and returns its serial log.
    fn wait(mut self, limit: Duration) -> Result<(Verdict, String)> {
        if let Ok(log) = self.log.recv_timeout(limit) {
            let status = self.qemu.wait().context("waiting for QEMU")?;
            let code = status.code().and_then(ExitCode::from_process_status);
            let verdict = code.and_then(Verdict::of);
            let verdict =
                verdict.with_context(|| format!("QEMU ended with {status} ({code:?}); serial log:\n{log}"))?;
            return Ok((verdict, log));
        }
        self.qemu.kill().context("killing a QEMU that hangs")?;
        Ok((Verdict::Hang, self.log.recv().context("the serial log of a killed QEMU")?))
    }
}

/// Packs the kernel as a flash image, beside it.
fn flash_image(kernel: &Path) -> Result<PathBuf> {
    static PACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let pack = || -> Result<PathBuf> {
        let image = kernel.with_extension("rom");
        std::fs::write(&image, rom_image::pack(&std::fs::read(kernel)?)?)?;
        Ok(image)
    };
    PACKED.get_or_init(|| pack().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The process has ended already unless an error occurred.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
