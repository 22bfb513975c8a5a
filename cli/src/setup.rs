//! Installation of missing programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use portico_qemu::launch::find_program;

use crate::show::progress::Step;
use crate::workspace;

/// A program or module that a command uses.
pub(super) struct Need {
    package: &'static str,
    source: Source,
    purpose: &'static str,
    evidence: Evidence,
}

/// Registry of a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Debian,
    CratesIo,
}

/// Evidence that a [`Need`] is met.
enum Evidence {
    Program(&'static str),
    PerlModule(&'static str),
}

pub(super) const QEMU: Need = need("qemu-system-x86", "runs the machine", "qemu-system-x86_64");
pub(super) const OPENSM: Need = need("opensm", "the subnet manager", "opensm");
pub(super) const IBSIM: Need = need("ibsim-utils", "the simulator to compare with", "ibsim");
pub(super) const DIAGS: Need = need("infiniband-diags", "the tools that look at the subnet", "ibnetdiscover");
pub(super) const IBUTILS: Need = need("ibutils", "checks the routes that OpenSM chose", "ibdmchk");
pub(super) const TSHARK: Need = need("tshark", "reads captures", "tshark");
pub(super) const VALGRIND: Need = need("valgrind", "counts instructions", "valgrind");
pub(super) const PERL_CRC: Need = Need {
    package: "libdigest-crc-perl",
    source: Source::Debian,
    purpose: "checks the CRCs of captures independently",
    evidence: Evidence::PerlModule("Digest::CRC"),
};

pub(super) const CODESPELL: Need = need("codespell", "checks spelling", "codespell");
pub(super) const CARGO_DENY: Need =
    Need { source: Source::CratesIo, ..need("cargo-deny", "checks licences of dependencies", "cargo-deny") };

const fn need(package: &'static str, purpose: &'static str, program: &'static str) -> Need {
    Need { package, source: Source::Debian, purpose, evidence: Evidence::Program(program) }
}

impl Need {
    /// Returns `true` if this host has it.
    pub(super) fn is_met(&self) -> bool {
        match self.evidence {
            Evidence::Program(name) => find_program(name).is_some(),
            Evidence::PerlModule(name) => succeeds(Command::new("perl").args([&format!("-M{name}"), "-e", "1"])),
        }
    }
}

/// Installs the missing ones of `needs`, and the compiler's source, from which the kernel's `core` is built.
///
/// # Errors
/// An installation fails; the error has the commands for an installation by hand.
pub(super) fn ensure_present(needs: &[&Need]) -> Result<()> {
    ensure_rust_src()?;
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("Portico needs these packages, which are not installed:");
    for need in &missing {
        eprintln!("  {:<20} {}", need.package, need.purpose);
    }
    let packages_of =
        |source| -> Vec<_> { missing.iter().filter(|need| need.source == source).map(|need| need.package).collect() };
    install_from_debian(&packages_of(Source::Debian))?;
    install_from_crates_io(&packages_of(Source::CratesIo))?;
    let still: Vec<_> = missing.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    ensure!(still.is_empty(), "cannot find {} after the installation: check the PATH", still.join(" "));
    Ok(())
}

/// Installs `packages` from Debian's archive, as root.
fn install_from_debian(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find_program("apt-get").is_none() {
        bail!("cannot install packages: this host has no apt-get; install them by hand, and try again");
    }
    // OpenSM's package starts it as a service; on a real fabric a second subnet manager does harm.
    if packages.contains(&OPENSM.package) && has_real_adapter() {
        bail!(
            "cannot install OpenSM: its package starts it as a service, and this host has an InfiniBand adapter; \
             run `{by_hand}` if you want that, else use a host without an adapter"
        );
    }
    let Some(root) = become_root() else {
        bail!("cannot install packages without root: run `sudo {by_hand}`, and try again");
    };
    install(&root, packages)
}

/// Installs the programs of `packages` from crates.io into cargo's folder of programs.
fn install_from_crates_io(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("cargo install --locked {}", packages.join(" "));
    let step = Step::begin(format!("install {} ({by_hand}); this takes minutes", packages.join(" ")));
    let mut command = workspace::cargo("install")?;
    command.arg("--locked").args(packages).env_remove("CARGO_TARGET_DIR");
    step.watch(command).with_context(|| format!("cannot install {}: run `{by_hand}`", packages.join(" ")))?;
    step.done();
    Ok(())
}

fn install(root: &[&str], packages: &[&str]) -> Result<()> {
    let step = Step::begin(format!("install {} (apt-get)", packages.join(" ")));
    let mut fresh = false;
    if !has_package_lists() {
        step.watch(apt(root, &["update"]))?;
        fresh = true;
    }
    let arguments: Vec<_> = ["install", "-y", "--no-install-recommends"].iter().chain(packages).copied().collect();
    let mut installed = step.watch(apt(root, &arguments));
    if installed.is_err() && !fresh {
        // Old lists name packages that the archive no longer has.
        step.watch(apt(root, &["update"]))?;
        installed = step.watch(apt(root, &arguments));
    }
    installed.context("cannot install the missing packages")?;
    step.done();
    Ok(())
}

fn apt(root: &[&str], arguments: &[&str]) -> Command {
    let words = [root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", WAIT_FOR_LOCK], arguments].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Returns the words before a command that runs as root; `None` if that needs a password.
fn become_root() -> Option<Vec<&'static str>> {
    if rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then(|| vec!["sudo", "-n"])
}

fn has_package_lists() -> bool {
    let names = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains("_Packages");
    fs::read_dir("/var/lib/apt/lists").is_ok_and(|dir| dir.flatten().any(names))
}

fn has_real_adapter() -> bool {
    fs::read_dir("/sys/class/infiniband").is_ok_and(|mut dir| dir.next().is_some())
}

fn ensure_rust_src() -> Result<()> {
    let source = |root: &Path| root.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file();
    let sysroot = workspace::rustc_sysroot()?;
    if source(&sysroot) {
        return Ok(());
    }
    let toolchain = workspace::TOOLCHAIN;
    let by_hand = format!("rustup component add rust-src --toolchain {toolchain}");
    eprintln!("The kernel's build compiles `core`, whose source (4 MB) this toolchain lacks.");
    let step = Step::begin(format!("install rust-src ({by_hand})"));
    let mut command = Command::new("rustup");
    command.args(["component", "add", "rust-src", "--toolchain", toolchain]);
    step.watch(command).with_context(|| {
        format!(
            "cannot install the component rust-src: run `{by_hand}`, or unpack Debian's package rust-src \
             {toolchain} into {}, and try again",
            sysroot.display()
        )
    })?;
    ensure!(source(&sysroot), "cannot find rust-src after its installation: {} lacks it", sysroot.display());
    step.done();
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Option of apt-get: waits up to 120 s for another installation, such as an automatic upgrade.
const WAIT_FOR_LOCK: &str = "-oDPkg::Lock::Timeout=120";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_of_a_missing_program_is_unmet() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
        assert!(!need("nothing", "is missing", "no-such-program-anywhere").is_met());
    }

    #[test]
    fn apt_command_is_noninteractive() {
        let command = apt(&["sudo", "-n"], &["install", "-y", "opensm"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(command.get_program(), "sudo");
        assert_eq!(
            words.join(" "),
            "-n env DEBIAN_FRONTEND=noninteractive apt-get -q -oDPkg::Lock::Timeout=120 install -y opensm"
        );
    }
}
