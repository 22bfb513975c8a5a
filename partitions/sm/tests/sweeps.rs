//! A manager alone: any subnet comes up, whatever happens to packets and cables, and stays as it is.
#![allow(clippy::unwrap_used, clippy::large_enum_variant)] // what goes wrong fails the test; few nodes are made

mod world;

use iba::attr::{PortState, SmState};
use subnet_manager::Config;
use world::{At, Faults, World};

/// Brings up what can be reached from the adapter `at`, checks it, and checks that another sweep changes nothing.
fn comes_up(world: &mut World, at: At) -> usize {
    let sm = world.manager(at.0, None, at.1, Config::default());
    let report = world.settle(sm);
    let ends = world.check(at.0);
    assert_eq!((report.failures, report.lids), (0, ends.len()));
    let (sets, sweeps) = (world.sets, world.sweeps(sm).len());
    let trap = world.told(sm).len();
    world.run(25_000);
    assert_eq!(world.sets, sets, "nothing is set twice");
    assert_eq!(world.sweeps(sm).len(), sweeps, "nothing has changed");
    assert_eq!(world.told(sm).len(), trap);
    assert_eq!(ends, world.check(at.0));
    sm
}

/// A switch with this many adapters; the first one is node 1.
fn star(world: &mut World, adapters: u8) -> At {
    let switch = world.switch(adapters);
    for port in 1..=adapters {
        let adapter = world.adapter(1);
        world.cable((switch, port), (adapter, 1));
    }
    (1, 1)
}

/// Switches in a square, with `links` cables between neighbours, `hosts` adapters at each, and the rows closed to rings
/// if `torus`. The last node is an adapter.
fn mesh(world: &mut World, side: usize, links: u8, hosts: u8, torus: bool) -> At {
    let switches: Vec<usize> = (0..side * side).map(|_| world.switch(4 * links + hosts)).collect();
    for y in 0..side {
        for x in 0..side {
            let here = switches[y * side + x];
            for link in 0..links {
                if x + 1 < side || torus {
                    world.cable((here, 1 + link), (switches[y * side + (x + 1) % side], 1 + links + link));
                }
                if y + 1 < side || torus {
                    let there = switches[(y + 1) % side * side + x];
                    world.cable((here, 1 + 2 * links + link), (there, 1 + 3 * links + link));
                }
            }
            for host in 0..hosts {
                let adapter = world.adapter(1);
                world.cable((here, 1 + 4 * links + host), (adapter, 1));
            }
        }
    }
    (side * side, 1)
}

#[test]
fn an_adapter_with_no_cable_manages_itself() {
    let mut world = World::new(1);
    let adapter = world.adapter(1);
    let sm = world.manager(adapter, None, 1, Config::default());
    assert_eq!((world.settle(sm).nodes, world.state(sm)), (1, SmState::MASTER));
}

#[test]
fn two_adapters_and_a_cable_come_up() {
    let mut world = World::new(1);
    let (one, other) = (world.adapter(1), world.adapter(1));
    world.cable((one, 1), (other, 1));
    comes_up(&mut world, (one, 1));
}

#[test]
fn a_star_comes_up() {
    for adapters in [1, 4, 254] {
        let mut world = World::new(1);
        let at = star(&mut world, adapters);
        comes_up(&mut world, at);
    }
}

#[test]
fn a_ring_comes_up() {
    let mut world = World::new(1);
    let switches: Vec<usize> = (0..40).map(|_| world.switch(3)).collect();
    for (nth, &switch) in switches.iter().enumerate() {
        world.cable((switch, 1), (switches[(nth + 1) % 40], 2));
        let adapter = world.adapter(1);
        world.cable((switch, 3), (adapter, 1));
    }
    comes_up(&mut world, (40, 1));
}

#[test]
fn three_hundred_nodes_in_a_tree_come_up() {
    let mut world = World::new(1);
    let spines: Vec<usize> = (0..4).map(|_| world.switch(24)).collect();
    for leaf in 0..12 {
        let switch = world.switch(4 + 24);
        for (nth, &spine) in (0..4).zip(&spines) {
            world.cable((switch, 1 + nth), (spine, 1 + leaf));
        }
        for port in 0..24 {
            let adapter = world.adapter(1);
            world.cable((switch, 5 + port), (adapter, 1));
        }
    }
    comes_up(&mut world, (5, 1));
    // Adapters at other leaves are three cables up and down away.
    let ends = world.ends(5);
    let far = ends.iter().find(|((member, _), _)| *member > 290).unwrap();
    assert_eq!(world.walk((5, 1), far.1, far.0), Some(4));
}

#[test]
fn meshes_with_parallel_links_come_up() {
    for (side, links, hosts, torus) in [(2, 3, 2, false), (3, 2, 1, false), (4, 2, 3, true), (7, 1, 1, true)] {
        let mut world = World::new(1);
        let at = mesh(&mut world, side, links, hosts, torus);
        comes_up(&mut world, at);
    }
}

#[test]
fn an_adapter_with_two_ports_has_two_lids() {
    let mut world = World::new(1);
    let (left, right) = (world.switch(4), world.switch(4));
    let (sm, both) = (world.adapter(1), world.adapter(2));
    world.cable((left, 1), (right, 1));
    world.cable((left, 2), (sm, 1));
    world.cable((left, 3), (both, 1));
    world.cable((right, 3), (both, 2));
    comes_up(&mut world, (sm, 1));
    assert_eq!(world.ends(sm).len(), 5);
}

#[test]
fn paths_are_shortest_and_balanced() {
    let mut world = World::new(1);
    let (left, right) = (world.switch(20), world.switch(20));
    for link in 1..=4 {
        world.cable((left, link), (right, link));
    }
    let hosts: Vec<usize> = (0..32).map(|_| world.adapter(1)).collect();
    for (nth, &host) in (0..).zip(&hosts) {
        let switch = if nth < 16 { left } else { right };
        world.cable((switch, 5 + nth % 16), (host, 1));
    }
    comes_up(&mut world, (hosts[0], 1));
    let ends = world.ends(left);
    let mut used = std::collections::BTreeMap::new();
    for &((member, port), lid) in ends.iter().filter(|((member, _), _)| hosts[16..].contains(member)) {
        assert_eq!(world.walk((hosts[0], 1), lid, (member, port)), Some(3));
        *used.entry(world.next_hop(left, lid)).or_insert(0) += 1;
    }
    // The other switch's own LID goes by one of them, too.
    assert_eq!(used.len(), 4);
    assert!(used.values().all(|&lids| (3..=5).contains(&lids)), "{used:?}");
}

#[test]
fn packets_may_be_lost_repeated_and_late() {
    for seed in 1..=6 {
        let mut world = World::new(seed);
        let at = mesh(&mut world, 3, 2, 2, true);
        world.faults = Faults { loss: 20, duplicate: 50, jitter: 3_000_000 };
        let sm = world.manager(at.0, None, at.1, Config::default());
        world.settle(sm);
        world.check(at.0);
    }
}

#[test]
fn a_node_that_never_answers_holds_nothing_up() {
    let mut world = World::new(1);
    let at = star(&mut world, 6);
    world.run(1);
    world.mute.insert(4);
    let sm = world.manager(at.0, None, at.1, Config::default());
    let report = world.settle(sm);
    assert_eq!((report.nodes, report.silent), (6, 1));
    world.check(at.0);
    // When it wakes up, it is found.
    world.mute.clear();
    world.wait("seventh node", |world| world.sweeps(sm).last().unwrap().nodes == 7);
    world.settle(sm);
    assert_eq!(world.check(at.0).len(), 7);
}

#[test]
fn cables_are_pulled_and_plugged_during_a_sweep() {
    for millis in [0, 1, 2, 3, 5, 8, 13] {
        let mut world = World::new(millis + 1);
        let at = mesh(&mut world, 4, 1, 2, true);
        world.faults = Faults { jitter: 2_000_000, ..Faults::default() };
        let sm = world.manager(at.0, None, at.1, Config::default());
        world.run(20 + 10 * millis);
        let cables = [(0, 1), (5, 3), (6, 1), (2, 5)];
        cables.iter().for_each(|&cable| world.pull(cable));
        world.settle(sm);
        let without = world.check(at.0).len();
        cables.iter().for_each(|&cable| world.plug(cable));
        world.settle(sm);
        assert_eq!(world.check(at.0).len(), without + 1, "the adapter is there again");
    }
}

#[test]
fn a_link_may_flap_at_any_moment_of_a_sweep() {
    for events in (0..400).step_by(4) {
        let mut world = World::new(1);
        let at = star(&mut world, 3);
        let sm = world.manager(at.0, None, at.1, Config::default());
        world.step(events);
        world.pull((0, 2));
        world.plug((0, 2));
        world.settle(sm);
        assert_eq!(world.check(at.0).len(), 4, "after {events} events");
    }
}

#[test]
fn of_two_ports_with_one_guid_one_is_taken_up_and_nothing_else_disturbed() {
    // The second adapter has the GUIDs of the first, or its port's alone, or that of the manager's port.
    for (node, port) in [(3, 3), (5, 3), (5, 2)] {
        let mut world = World::new(1);
        let (near, far) = (world.switch(3), world.switch(2));
        let nodes = [world.adapter(1), world.adapter(1), world.twin(node, port, 1)];
        world.cable((near, 1), (nodes[0], 1));
        world.cable((near, 2), (nodes[1], 1));
        world.cable((near, 3), (far, 1));
        world.cable((far, 2), (nodes[2], 1));
        let sm = world.manager(nodes[0], None, 1, Config::default());
        let report = world.settle(sm);
        assert_eq!((report.nodes, report.lids, report.silent), (4, 4, 1), "{node}, {port}");
        let active = |world: &World| nodes.map(|node| world.port_state((node, 1)) == PortState::ACTIVE);
        let is = active(&world);
        assert!(is[0] && is[1] != is[2] && (is[1] || port != 2), "{is:?}");
        // Once one of them is gone, the other is the node with that GUID.
        world.pull((nodes[1], 1));
        world.settle(sm);
        assert_eq!(active(&world), [true, false, port != 2]);
    }
}

#[test]
fn a_sweep_does_not_wait_for_each_of_many_that_are_gone() {
    let mut world = World::new(1);
    let (near, far, at) = (world.switch(2), world.switch(250), world.adapter(1));
    world.cable((near, 1), (at, 1));
    world.cable((near, 2), (far, 1));
    for port in 2..=250 {
        let adapter = world.adapter(1);
        world.cable((far, port), (adapter, 1));
    }
    world.faults.jitter = 1_000_000;
    let sm = world.manager(at, None, 1, Config::default());
    world.run(100);
    assert!(world.sweeps(sm).is_empty());
    let pulled = world.now;
    world.pull((near, 2));
    world.wait("sweep", |world| !world.sweeps(sm).is_empty());
    assert!(world.now - pulled < 3_000_000_000, "{} ns", world.now - pulled);
    assert_eq!(world.settle(sm).nodes, 2);
}

#[test]
fn a_port_keeps_its_lid_when_it_comes_back() {
    let mut world = World::new(1);
    let at = star(&mut world, 5);
    let sm = comes_up(&mut world, at);
    let before = world.check(at.0);
    world.pull((0, 4));
    world.settle(sm);
    assert_eq!(world.check(at.0).len(), 5);
    let asked = world.reregistered.clone();
    world.plug((0, 4));
    world.settle(sm);
    assert_eq!(world.check(at.0), before);
    // It alone is to register again: it was let go from all groups.
    let again = world.reregistered.iter().filter(|(node, times)| asked[node] != **times).map(|(node, _)| *node);
    assert_eq!(again.collect::<Vec<_>>(), [4]);
}

#[test]
fn a_change_is_seen_by_its_trap_at_once() {
    let mut world = World::new(1);
    let at = star(&mut world, 5);
    let sm = comes_up(&mut world, at);
    let (sweeps, then) = (world.sweeps(sm).len(), world.now);
    world.pull((0, 4));
    world.wait("sweep", |world| world.sweeps(sm).len() > sweeps);
    assert!(world.now - then < 1_000_000_000, "{} ns", world.now - then);
    assert_eq!(world.sweeps(sm).last().unwrap().nodes, 5);
}

#[test]
fn logical_adapters_come_up_from_within_and_from_without() {
    for inside in [true, false] {
        let mut world = World::new(1);
        let (switch, host, hypervisor) = (world.switch(4), world.adapter(1), world.hypervisor(253));
        world.cable((switch, 1), (host, 1));
        world.cable((switch, 2), (hypervisor, 1));
        let (member, lhca) = if inside { (hypervisor, Some(7)) } else { (host, None) };
        let sm = world.manager(member, lhca, 1, Config::default());
        let report = world.settle(sm);
        assert_eq!((report.nodes, report.lids, report.failures), (256, 256, 0));
        let sets = world.sets;
        world.run(15_000);
        assert_eq!(world.sets, sets);
    }
}
