//! `cargo portico test`: every check and every test, and one line that sums them up.

use std::env;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::setup;
use crate::workspace::{build_kernel, build_umad_library, cargo, cargo_kernel};

/// What to test.
#[derive(Args)]
pub(super) struct Options {
    /// Run the tests whose name contains this
    filter: Option<String>,
    /// Run these stages alone
    #[arg(long = "stage", value_enum)]
    stages: Vec<Stage>,
}

/// The stages, in their order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Source is formatted
    Format,
    /// Words are spelled as codespell knows them
    Spell,
    /// Licences and sources of dependencies are allowed, and no advisory is open
    Dependencies,
    /// Clippy has nothing to say, on the host's code and on the kernel's
    Lint,
    /// The documentation builds without a warning
    Document,
    /// What runs on the host alone
    Host,
    /// What boots: the kernel's own tests, and the whole system's
    System,
}

/// How many passed, failed, and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    use setup::{CARGO_DENY, CODESPELL, DIAGS, IBSIM, IBUTILS, OPENSM, PERL_CRC, QEMU, TSHARK, VALGRIND};
    let wanted = |stage| match &options.stages[..] {
        [] => options.filter.is_none() || matches!(stage, Stage::Host | Stage::System),
        stages => stages.contains(&stage),
    };
    let stages: Vec<_> = Stage::value_variants().iter().copied().filter(|&stage| wanted(stage)).collect();
    let mut needs = Vec::new();
    if stages.contains(&Stage::System) {
        needs.extend([&QEMU, &OPENSM, &IBSIM, &DIAGS, &IBUTILS, &TSHARK, &PERL_CRC, &VALGRIND]);
    }
    if stages.contains(&Stage::Spell) {
        needs.push(&CODESPELL);
    }
    if stages.contains(&Stage::Dependencies) {
        needs.push(&CARGO_DENY);
    }
    setup::ensure_present(&needs)?;
    let start = Instant::now();
    let mut total = Tally::default();
    for stage in stages {
        total += stage.run(options.filter.as_deref())?;
    }
    println!("in {} s:", start.elapsed().as_secs());
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    fn run(self, filter: Option<&str>) -> Result<Tally> {
        let mut tally = Tally::default();
        match self {
            Self::Format => tally += check("formatting", cargo("fmt")?, &["--all", "--check"])?,
            Self::Spell => tally += check("spelling", Command::new("codespell"), &[])?,
            Self::Dependencies => {
                let rules = ["check", "licenses", "bans", "sources"];
                tally += check("licences and sources of dependencies", cargo("deny")?, &rules)?;
                tally += check_advisories()?;
            }
            Self::Lint => {
                let host = ["--workspace", "--all-targets", "--", "-D", "warnings"];
                tally += check("lints of what builds for the host", cargo("clippy")?, &host)?;
                tally += check("lints of the kernel", cargo_kernel("clippy")?, &["--", "-D", "warnings"])?;
            }
            Self::Document => {
                let host = ["--workspace", "--no-deps"];
                tally += check("documentation of what builds for the host", strict(cargo("doc")?), &host)?;
                tally += check("documentation of the kernel", strict(cargo_kernel("doc")?), &["--no-deps"])?;
            }
            Self::Host => {
                let mut command = cargo("test")?;
                command.args(["--workspace", "--exclude", "portico-tests", "--no-fail-fast"]);
                tally += tests("tests on the host", command, filter)?;
            }
            Self::System => {
                // Built first, so that no test's time limit pays for it.
                build_kernel()?;
                build_umad_library()?;
                let mut command = cargo("test")?;
                // One test at a time: each boots machines that use every processor.
                command.args(["--package", "portico-tests", "--no-fail-fast"]).env("RUST_TEST_THREADS", "1");
                tally += tests("tests of the booted system", command, filter)?;
            }
        }
        Ok(tally)
    }
}

fn strict(mut command: Command) -> Command {
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// A check that passes or fails as a whole.
fn check(name: &str, mut command: Command, arguments: &[&str]) -> Result<Tally> {
    announce(name);
    let status = command.args(arguments).stdin(Stdio::null()).status().context("cannot run cargo")?;
    let passed = status.success();
    println!("{name}: {}", if passed { "ok" } else { "FAILED" });
    Ok(Tally { passed: passed.into(), failed: (!passed).into(), skipped: 0 })
}

/// Checks dependencies against the advisory database as it is today, or else against this machine's last copy of it.
fn check_advisories() -> Result<Tally> {
    let name = "advisories on dependencies";
    let mut fetch = cargo("deny")?;
    fetch.args(["fetch", "db"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if fetch.status().context("cannot run cargo")?.success() || has_advisories() {
        return check(name, cargo("deny")?, &["--offline", "check", "advisories"]);
    }
    announce(name);
    println!("{name}: skipped: cannot fetch the advisory database, and this machine has no copy of it");
    Ok(Tally { skipped: 1, ..Tally::default() })
}

/// Returns `true` if cargo-deny has fetched an advisory database on this machine before.
fn has_advisories() -> bool {
    let cargo =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let databases = cargo.and_then(|cargo| cargo.join("advisory-dbs").read_dir().ok());
    databases.is_some_and(|databases| databases.flatten().any(|entry| entry.path().is_dir()))
}

/// Test programs, each of which says at its end how many of its tests passed.
fn tests(name: &str, mut command: Command, filter: Option<&str>) -> Result<Tally> {
    announce(name);
    command.args(filter).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally += summary(&line).unwrap_or_default();
    }
    let status = child.wait()?;
    // What does not even build, or dies before it can sum up, is a failure too.
    if !status.success() && tally.failed == 0 {
        println!("{name}: FAILED ({status})");
        tally.failed = 1;
    }
    Ok(tally)
}

fn announce(name: &str) {
    println!("== {name}");
}

/// What a test program's last line says: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn summary(line: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    for count in counts.split("; ") {
        let (number, what) = count.split_once(' ')?;
        match what {
            "passed" => tally.passed = number.parse().ok()?,
            "failed" => tally.failed = number.parse().ok()?,
            "ignored" => tally.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_test_programs_are_understood() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.05s";
        assert_eq!(summary(line), Some(Tally { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(summary("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"), {
            Some(Tally { passed: 5, failed: 0, skipped: 0 })
        });
        assert_eq!(summary("test a_name ... ok"), None);
        assert_eq!(summary("running 3 tests"), None);
    }

    #[test]
    fn a_program_that_fails_without_a_summary_counts_as_one_failure() {
        assert_eq!(tests("false", Command::new("false"), None).unwrap().failed, 1);
        let mut says = Command::new("sh");
        says.args(["-c", "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured'; exit 101"]);
        assert_eq!(tests("sh", says, None).unwrap(), Tally { passed: 1, failed: 2, skipped: 0 });
    }
}
