//! `cargo portico test`: runs every check and every test, and prints their totals.

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

/// Checks and tests to run.
#[derive(Args)]
pub(super) struct Options {
    /// Run only the tests whose name contains this text
    filter: Option<String>,
    /// Run only this stage; may be repeated
    #[arg(long = "stage", value_name = "STAGE", value_enum)]
    stages: Vec<Stage>,
}

/// The stages, in their order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Check the format of the source
    Format,
    /// Check the spelling by codespell
    Spell,
    /// Check licences, sources and advisories of dependencies
    Dependencies,
    /// Run Clippy on the host's code and on the kernel's
    Lint,
    /// Build the documentation without warnings
    Document,
    /// Run the tests that need no machine
    Host,
    /// Run the tests that boot machines: the kernel's own, and the whole system's
    System,
}

/// Counts of passed, failed and skipped checks and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
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
    let mut sum = Totals::default();
    for stage in stages {
        sum += stage.run(options.filter.as_deref())?;
    }
    println!("in {} s:", start.elapsed().as_secs());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    Ok(if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    fn run(self, filter: Option<&str>) -> Result<Totals> {
        let mut totals = Totals::default();
        match self {
            Self::Format => totals += check("formatting", cargo("fmt")?, &["--all", "--check"])?,
            Self::Spell => totals += check("spelling", Command::new("codespell"), &[])?,
            Self::Dependencies => {
                let rules = ["check", "licenses", "bans", "sources"];
                totals += check("licences and sources of dependencies", cargo("deny")?, &rules)?;
                totals += check_advisories()?;
            }
            Self::Lint => {
                let host = ["--workspace", "--all-targets", "--", "-D", "warnings"];
                totals += check("lints of what builds for the host", cargo("clippy")?, &host)?;
                totals += check("lints of the kernel", cargo_kernel("clippy")?, &["--", "-D", "warnings"])?;
            }
            Self::Document => {
                let host = ["--workspace", "--no-deps"];
                totals += check("documentation of what builds for the host", strict(cargo("doc")?), &host)?;
                totals += check("documentation of the kernel", strict(cargo_kernel("doc")?), &["--no-deps"])?;
            }
            Self::Host => {
                let mut command = cargo("test")?;
                command.args(["--workspace", "--exclude", "portico-tests", "--no-fail-fast"]);
                totals += tests("tests on the host", command, filter)?;
            }
            Self::System => {
                // Built first, so that the build does not count against a test's time limit.
                build_kernel()?;
                build_umad_library()?;
                let mut command = cargo("test")?;
                // One test at a time: each boots machines that use every processor.
                command.args(["--package", "portico-tests", "--no-fail-fast"]).env("RUST_TEST_THREADS", "1");
                totals += tests("tests of the booted system", command, filter)?;
            }
        }
        Ok(totals)
    }
}

fn strict(mut command: Command) -> Command {
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Runs a check that passes or fails as a whole.
fn check(name: &str, mut command: Command, arguments: &[&str]) -> Result<Totals> {
    announce(name);
    let status = command.args(arguments).stdin(Stdio::null()).status().context("cannot run cargo")?;
    let passed = status.success();
    println!("{name}: {}", if passed { "ok" } else { "FAILED" });
    Ok(Totals { passed: passed.into(), failed: (!passed).into(), skipped: 0 })
}

/// Checks dependencies against today's advisory database, or else against this host's last copy of it.
fn check_advisories() -> Result<Totals> {
    let name = "advisories on dependencies";
    let mut fetch = cargo("deny")?;
    fetch.args(["fetch", "db"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if fetch.status().context("cannot run cargo")?.success() || has_advisories() {
        return check(name, cargo("deny")?, &["--offline", "check", "advisories"]);
    }
    announce(name);
    println!("{name}: skipped: cannot fetch the advisory database, and this host has no copy of it");
    Ok(Totals { skipped: 1, ..Totals::default() })
}

/// Returns `true` if cargo-deny has fetched an advisory database on this machine before.
fn has_advisories() -> bool {
    let cargo =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let databases = cargo.and_then(|cargo| cargo.join("advisory-dbs").read_dir().ok());
    databases.is_some_and(|databases| databases.flatten().any(|entry| entry.path().is_dir()))
}

/// Runs test programs; adds up the totals of each.
fn tests(name: &str, mut command: Command, filter: Option<&str>) -> Result<Totals> {
    announce(name);
    command.args(filter).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cannot read cargo's output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals += summary(&line).unwrap_or_default();
    }
    let status = child.wait()?;
    // A program that does not build, or dies before its summary, is a failure too.
    if !status.success() && totals.failed == 0 {
        println!("{name}: FAILED ({status})");
        totals.failed = 1;
    }
    Ok(totals)
}

fn announce(name: &str) {
    println!("== {name}");
}

/// Parses the last line of a test program: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn summary(line: &str) -> Option<Totals> {
    let mut totals = Totals::default();
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    for count in counts.split("; ") {
        let (number, outcome) = count.split_once(' ')?;
        match outcome {
            "passed" => totals.passed = number.parse().ok()?,
            "failed" => totals.failed = number.parse().ok()?,
            "ignored" => totals.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(totals)
}

impl AddAssign for Totals {
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
    fn summary_of_a_test_program_is_parsed() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.05s";
        assert_eq!(summary(line), Some(Totals { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(summary("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"), {
            Some(Totals { passed: 5, failed: 0, skipped: 0 })
        });
        assert_eq!(summary("test a_name ... ok"), None);
        assert_eq!(summary("running 3 tests"), None);
    }

    #[test]
    fn program_that_fails_without_a_summary_is_one_failure() {
        assert_eq!(tests("false", Command::new("false"), None).unwrap().failed, 1);
        let mut says = Command::new("sh");
        says.args(["-c", "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured'; exit 101"]);
        assert_eq!(tests("sh", says, None).unwrap(), Totals { passed: 1, failed: 2, skipped: 0 });
    }
}
