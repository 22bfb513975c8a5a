//! Ends of a run: each leaves nothing behind, and the exit code gives the outcome.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use portico_tests::Machine;
use rustix::process::Signal;

#[test]
fn run_after_ctrl_c_exits_with_success() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    assert!(machine.end_by(Signal::INT).success());
}

#[test]
fn run_without_subnet_after_sigterm_exits_with_130() {
    let mut machine = Machine::ready_for_tools(&["--lhcas", "1", "--sm", "none"]);
    assert_eq!(machine.end_by(Signal::TERM).code(), Some(130));
}

#[test]
fn run_after_sigkill_leaves_nothing() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    assert!(!machine.end_by(Signal::KILL).success());
}

#[test]
fn run_once_shows_the_subnet_and_exits() {
    let mut machine = Machine::start(&["--lhcas", "1", "--once"]);
    let (status, output) = machine.wait();
    assert!(status.success(), "{output}");
    // The picture stands before the summary of switch, two hosts, logical switch and LHCA.
    let (picture, _) = output.split_once("subnet up: 5 nodes, 5 LIDs").unwrap();
    assert!(picture.contains("portico-0-lhca1"), "{picture}");
}

#[test]
fn run_after_death_of_qemu_exits_with_the_reason() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    machine.kill("qemu-system-x86_64");
    let (status, _) = machine.wait();
    assert_eq!(status.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("the machine portico-0 ended") && said.contains("uplink 1 is up"), "{said}");
}

#[test]
fn run_with_invalid_memory_exits_with_the_error_of_qemu() {
    let mut machine = Machine::start(&["--memory", "1X"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("last lines of QEMU:\nqemu-system-x86_64: ") && said.contains("1X"), "{said}");
}

#[test]
fn run_with_invalid_fabric_is_refused_with_the_reason() {
    let mut machine = Machine::start(&["--hypervisor", "unknown"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    assert!(machine.stderr().contains("cannot run Portico on `unknown`"), "{}", machine.stderr());
    // 253 LHCAs and the SM's.
    let mut machine = Machine::start(&["--sm", "partition", "--lhcas", "253"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("254 LHCAs") && said.contains("a logical switch takes 253; use fewer"), "{said}");
}
