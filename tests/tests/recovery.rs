//! Ports, HCA models and SMs that fail and return while the machine runs.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use portico_tests::Machine;

#[test]
fn logical_port_after_down_and_up_has_its_lid_again() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "4"]);
    let mut opensm = machine.opensm(&[]);
    opensm.wait_for_subnet_up();
    let before = machine.active_lhcas();
    assert_eq!(before.len(), 4);

    assert!(machine.control("portico-0", "port 3 down").is_empty());
    // Trap 128, link state change, is what starts the sweep (IBA vol. 1, 14.2.5.1).
    opensm.wait_for("num:128");
    let without = machine.wait_for_active(&mut opensm, 3);
    assert!(!without.contains_key("portico-0-lhca2"), "{without:?}");

    assert!(machine.control("portico-0", "port 3 up").is_empty());
    opensm.wait_for("num:128");
    assert_eq!(machine.wait_for_active(&mut opensm, 4), before);
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

/// Returns PortStateChange of the logical switch, by the route from `H1`: `S1`, and its port 3.
fn port_state_change(machine: &Machine) -> bool {
    let info = machine.tool("smpquery", &["-D", "switchinfo", "0,1,3"]).run();
    let value = info.ok().lines().find_map(|line| line.strip_prefix("StateChange:")).map(|dots| dots.trim_matches('.'));
    match value {
        Some("0") => false,
        Some("1") => true,
        other => panic!("{other:?}"),
    }
}

#[test]
fn port_state_change_is_set_by_a_link_and_cleared_by_the_sm() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "2"]);
    assert!(port_state_change(&machine));
    let mut opensm = machine.opensm(&[]);
    opensm.wait_for_subnet_up();
    drop(opensm); // no SM clears it at once
    assert!(!port_state_change(&machine));
    assert!(machine.control("portico-0", "port 3 down").is_empty());
    assert!(port_state_change(&machine));
}

#[test]
fn hca_model_after_its_death_restarts_with_the_same_lids() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "4"]);
    let mut opensm = machine.opensm(&[]);
    opensm.wait_for_subnet_up();
    let before = machine.active_lhcas();
    assert_eq!(before.len(), 4);
    for generation in 2..=3 {
        machine.kill("portico model");
        opensm.wait_for("num:128");
        assert_eq!(machine.wait_for_active(&mut opensm, 4), before);
        let status = machine.control("portico-0", "status");
        let expected = format!("hca generation {generation} ");
        assert!(status.iter().any(|line| line.starts_with(&expected)), "{expected}: {status:?}");
    }
}

#[test]
fn opensm_after_a_kill_finds_the_same_lids() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "4"]);
    let mut first = machine.opensm(&[]);
    first.wait_for_subnet_up();
    let before = machine.active_lhcas();
    assert_eq!(before.len(), 4);
    drop(first); // killed: it sends no handover
    let mut second = machine.opensm(&[]);
    second.wait_for_subnet_up();
    assert_eq!(machine.active_lhcas(), before);
    assert!(second.errors().is_empty(), "{:#?}", second.errors());
}
