//! However a run ends, nothing of it is left, and its exit code says how it went.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use portico_tests::Machine;
use rustix::process::Signal;

#[test]
fn ctrl_c_ends_a_run_that_is_up_in_good_order() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    assert!(machine.end_by(Signal::INT).success());
}

#[test]
fn a_signal_ends_a_run_that_is_not_up_yet() {
    let mut machine = Machine::ready_for_tools(&["--lhcas", "1", "--sm", "none"]);
    assert_eq!(machine.end_by(Signal::TERM).code(), Some(130));
}

#[test]
fn a_killed_run_leaves_nothing() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    assert!(!machine.end_by(Signal::KILL).success());
}

#[test]
fn a_run_once_ends_by_itself() {
    let mut machine = Machine::start(&["--lhcas", "1", "--once"]);
    let (status, output) = machine.wait();
    assert!(status.success(), "{output}");
    // The picture comes before the line that sums it up: switch, two hosts, logical switch and LHCA.
    let (picture, _) = output.split_once("subnet up: 5 nodes, 5 LIDs").unwrap();
    assert!(picture.contains("portico-0-lhca1"), "{picture}");
}

#[test]
fn a_machine_that_dies_ends_the_run_with_the_reason() {
    let mut machine = Machine::up(&["--lhcas", "1"]);
    machine.kill("qemu-system-x86_64");
    let (status, _) = machine.wait();
    assert_eq!(status.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("the machine portico-0 ended") && said.contains("uplink 1 is up"), "{said}");
}

#[test]
fn a_machine_that_cannot_begin_ends_the_run_with_what_qemu_says_of_it() {
    let mut machine = Machine::start(&["--memory", "1X"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("last lines of QEMU:\nqemu-system-x86_64: ") && said.contains("1X"), "{said}");
}

#[test]
fn a_fabric_that_makes_no_sense_is_refused_with_the_reason() {
    let mut machine = Machine::start(&["--hypervisor", "nobody"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    assert!(machine.stderr().contains("cannot run Portico on `nobody`"), "{}", machine.stderr());
    // 253 LHCAs and the subnet manager's.
    let mut machine = Machine::start(&["--sm", "partition", "--lhcas", "253"]);
    assert_eq!(machine.wait().0.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("254 LHCAs") && said.contains("a logical switch takes 253; use fewer"), "{said}");
}
