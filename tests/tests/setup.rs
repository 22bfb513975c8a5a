//! Hosts that lack packages: the run names them and their remedy.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use portico_tests::portico;

/// Programs of the tool chain, for a search path.
const TOOL_CHAIN: [&str; 5] = ["cargo", "rustc", "rustup", "cc", "ld"];

/// Runs `portico run` with `arguments` and a search path with `programs` only; its logs are in `folder`.
fn run_with(folder: &Path, programs: &[&str], arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap();
    for program in programs {
        let found = path.split(':').map(|dir| format!("{dir}/{program}")).find(|file| std::fs::exists(file).unwrap());
        symlink(found.unwrap_or_else(|| panic!("no {program}")), folder.join(program)).unwrap();
    }
    let timeout = path.split(':').map(|dir| format!("{dir}/timeout")).find(|file| std::fs::exists(file).unwrap());
    Command::new(timeout.unwrap())
        .args(["--kill-after=5", "240"])
        .arg(portico())
        .args(["run", "--socket", "portico-test-setup", "--log-dir"])
        .arg(folder.join("log"))
        .args(arguments)
        .env("PATH", folder)
        .output()
        .unwrap()
}

#[test]
fn run_without_apt_names_missing_packages_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_with(folder.path(), &TOOL_CHAIN, &["--sm", "none"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("qemu-system-x86") && said.contains("no apt-get"), "{said}");
    assert!(!said.contains("opensm"), "a run without an SM needs no OpenSM: {said}");
    assert!(!folder.path().join("log").exists());
}

#[test]
fn run_without_opensm_starts_an_sm_partition() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [&TOOL_CHAIN[..], &["qemu-system-x86_64"]].concat();
    let output = run_with(folder.path(), &programs, &["--lhcas", "2", "--once"]);
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{shown}\n{said}");
    assert!(said.contains("OpenSM is not installed: a partition manages the subnet"), "{said}");
    // Switch, two hosts, logical switch, two LHCAs, and the manager's own.
    assert!(shown.contains("subnet up: 7 nodes, 7 LIDs"), "{shown}");
    let manager = shown.lines().find(|line| line.contains(" sm "));
    assert!(manager.is_some_and(|line| line.contains("Active")), "{shown}");
    assert!(!folder.path().join("log/opensm.log").exists());
}
