//! A machine that lacks something is told what, and how to get it.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::os::unix::fs::symlink;
use std::process::Command;

use portico_tests::portico;

#[test]
fn without_apt_the_missing_packages_are_named_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    // A search path on which there is the tool chain, and neither QEMU nor apt-get.
    for program in ["cargo", "rustc", "rustup"] {
        let path = std::env::var("PATH").unwrap();
        let found = path.split(':').map(|dir| format!("{dir}/{program}")).find(|file| std::fs::exists(file).unwrap());
        symlink(found.unwrap(), folder.path().join(program)).unwrap();
    }
    let output = Command::new(portico())
        .args(["run", "--sm", "none", "--socket", "portico-test-setup", "--log-dir"])
        .arg(folder.path().join("log"))
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("qemu-system-x86") && said.contains("no apt-get"), "{said}");
    assert!(!said.contains("opensm"), "without a subnet manager none is needed: {said}");
    assert!(!folder.path().join("log").exists());
}
