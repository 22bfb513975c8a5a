//! Unmodified OpenSM brings up the whole subnet, logical part and all.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;

use portico_tests::Machine;
use rustix::process::Signal;

/// Asserts that `lhcas` LHCAs are Active, and returns their LIDs.
fn lids_of_lhcas(machine: &Machine, lhcas: usize) -> BTreeSet<u16> {
    let active = machine.active_lhcas();
    assert_eq!(active.len(), lhcas, "{active:?}");
    let lids: BTreeSet<u16> = active.into_values().collect();
    assert_eq!(lids.len(), lhcas, "each has a LID of its own");
    assert!(lids.iter().all(|&lid| lid > 0));
    lids
}

/// Boots with `lhcas` LHCAs on one processor and on two.
fn comes_up(lhcas: usize) {
    for cpus in ["1", "2"] {
        let mut machine = Machine::up(&["--lhcas", &lhcas.to_string(), "--cpus", cpus]);
        let log = std::fs::read_to_string(machine.log("opensm.log")).unwrap();
        let errors: Vec<_> = log.lines().filter(|line| line.contains(" ERR ")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        lids_of_lhcas(&machine, lhcas);
        assert!(machine.end_by(Signal::INT).success());
    }
}

#[test]
fn subnet_with_1_lhca_comes_up() {
    comes_up(1);
}

#[test]
fn subnet_with_4_lhcas_comes_up() {
    comes_up(4);
}

#[test]
fn subnet_with_16_lhcas_comes_up() {
    comes_up(16);
}

#[test]
fn subnet_with_253_lhcas_comes_up() {
    comes_up(253);
}

#[test]
fn second_sweep_changes_nothing() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "16"]);
    let mut opensm = machine.opensm(&[]);
    opensm.wait_for_subnet_up();
    let state = || {
        let dump = |program: &str| machine.tool(program, &[]).run().ok().to_owned();
        // The first lines of some dumps hold the time.
        let facts = ["ibnetdiscover", "iblinkinfo", "dump_fts"].map(dump).join("\n");
        facts.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = state();
    opensm.sweep();
    assert_eq!(before, state());
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn port_with_lmc_2_answers_at_four_lids() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "4"]);
    let mut opensm = machine.opensm(&["--lmc", "2"]);
    opensm.wait_for_subnet_up();
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
    for lid in lids_of_lhcas(&machine, 4) {
        assert_eq!(lid % 4, 0, "aligned to the number of LIDs (IBA vol. 1, 7.11)");
        // The port answers at all four, with its base LID.
        for offset in 0..4 {
            let output = machine.tool("smpquery", &["portinfo", &(lid + offset).to_string(), "1"]).run();
            let field = |name: &str| {
                let line = output.ok().lines().find(|line| line.starts_with(&format!("{name}:")));
                line.unwrap().rsplit('.').next().unwrap().to_owned()
            };
            assert_eq!(field("Lid"), lid.to_string());
            assert_eq!(field("LMC"), "2");
        }
    }
}

#[test]
fn two_hypervisors_in_a_larger_fabric_come_up() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_switches.net");
    let options = ["--topology", topology, "--hypervisor", "west", "--hypervisor", "east", "--lhcas", "3"];
    let mut machine = Machine::up(&[&options[..], &["--once"]].concat());
    let (status, output) = machine.wait();
    assert!(status.success());
    for name in ["H1", "H2", "H3", "H4", "H5", "H6", "west-lhca1", "west-lhca3", "east-lhca1", "east-lhca3"] {
        let line = output.lines().find(|line| line.split_whitespace().any(|word| word == name));
        assert!(line.is_some_and(|line| line.contains("Active")), "{name}: {output}");
    }
    // Two switches, six hosts, and twice a logical switch with three LHCAs.
    assert!(output.contains("subnet up: 16 nodes, 16 LIDs"), "{output}");
    let log = std::fs::read_to_string(machine.log("opensm.log")).unwrap();
    assert!(!log.contains(" ERR "), "{log}");
}

#[test]
fn hypervisor_with_two_ports_has_two_logical_switches() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net");
    let mut machine = Machine::start(&["--topology", topology, "--lhcas", "3", "--once"]);
    let (status, output) = machine.wait();
    assert!(status.success());
    // Two switches, two hosts, two logical switches, and three LHCAs with a LID for each of their two ports.
    assert!(output.contains("subnet up: 9 nodes, 12 LIDs"), "{output}");
}
