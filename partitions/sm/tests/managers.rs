//! Several managers: one is master, the others stand by, and the subnet is never without one for long.
#![allow(clippy::unwrap_used, clippy::large_enum_variant)] // what goes wrong fails the test; few nodes are made

mod world;

use iba::attr::SmState;
use subnet_manager::Config;
use world::World;

/// Two switches with an adapter each, which are nodes 2 and 3, and a third adapter, node 4.
fn fabric() -> World {
    let mut world = World::new(1);
    let switches = [world.switch(4), world.switch(4)];
    let adapters = [world.adapter(1), world.adapter(1), world.adapter(1)];
    world.cable((switches[0], 1), (switches[1], 1));
    world.cable((switches[0], 2), (adapters[0], 1));
    world.cable((switches[1], 2), (adapters[1], 1));
    world.cable((switches[1], 3), (adapters[2], 1));
    world
}

fn with_priority(priority: u8) -> Config {
    Config { priority, ..Config::default() }
}

fn wait_for(world: &mut World, states: &[(usize, SmState)]) {
    world.wait("agreement", |world| states.iter().all(|&(sm, state)| world.state(sm) == state));
}

#[test]
fn of_two_that_begin_at_once_the_better_is_master() {
    for (priorities, master) in [([3, 3], 0), ([3, 4], 1), ([5, 4], 0)] {
        let mut world = fabric();
        let sms = [2, 3].map(|node| world.manager(node, None, 1, with_priority(priorities[node - 2])));
        wait_for(&mut world, &[(sms[master], SmState::MASTER), (sms[1 - master], SmState::STANDBY)]);
        world.settle(sms[master]);
        world.check(2);
        world.run(20_000);
        wait_for(&mut world, &[(sms[master], SmState::MASTER), (sms[1 - master], SmState::STANDBY)]);
    }
}

#[test]
fn a_lesser_one_stands_by_and_takes_over() {
    let mut world = fabric();
    let first = world.manager(2, None, 1, with_priority(5));
    world.settle(first);
    let before = world.check(2);
    let second = world.manager(3, None, 1, with_priority(4));
    wait_for(&mut world, &[(second, SmState::STANDBY)]);
    world.kill(first);
    world.reregistered.clear();
    world.settle(second);
    assert!((2..=4).all(|node| world.reregistered[&node] == 1), "{:?}", world.reregistered);
    // Everything is as it was, but for who is master.
    assert_eq!(world.check(2), before);
    let own = before.iter().find(|((member, _), _)| *member == 3).unwrap().1;
    assert_eq!(world.master_of(2), own);
}

#[test]
fn a_better_one_is_handed_the_subnet() {
    let mut world = fabric();
    let first = world.manager(2, None, 1, with_priority(5));
    world.settle(first);
    let before = world.check(2);
    let second = world.manager(4, None, 1, with_priority(6));
    wait_for(&mut world, &[(first, SmState::STANDBY), (second, SmState::MASTER)]);
    world.settle(second);
    assert_eq!(world.check(2), before);
    // It goes back when that one dies.
    world.kill(second);
    world.settle(first);
    assert_eq!(world.check(2), before);
}

#[test]
fn death_during_handover_makes_the_other_manager_master() {
    for (events, victim) in (0..400).step_by(5).flat_map(|events| [(events, 0), (events, 1)]) {
        let mut world = fabric();
        let first = world.manager(2, None, 1, with_priority(5));
        world.settle(first);
        let before = world.check(2);
        let sms = [first, world.manager(4, None, 1, with_priority(6))];
        world.step(events);
        world.kill(sms[victim]);
        world.settle(sms[1 - victim]);
        assert_eq!(world.check(2), before, "{victim} died after {events} events");
    }
}

#[test]
fn a_better_one_whose_trap_is_lost_claims_the_subnet_itself() {
    let mut world = fabric();
    let first = world.manager(2, None, 1, with_priority(5));
    world.settle(first);
    world.no_traps = true;
    let second = world.manager(4, None, 1, with_priority(6));
    wait_for(&mut world, &[(first, SmState::STANDBY), (second, SmState::MASTER)]);
}

#[test]
fn two_subnets_that_are_joined_have_one_master() {
    for better in [0, 1] {
        let mut world = fabric();
        world.run(1);
        world.pull((0, 1));
        let sms = [0, 1].map(|nth| world.manager(2 + nth, None, 1, with_priority(3 + u8::from(nth == better))));
        for sm in sms {
            world.settle(sm);
        }
        world.plug((0, 1));
        wait_for(&mut world, &[(sms[better], SmState::MASTER), (sms[1 - better], SmState::STANDBY)]);
        world.settle(sms[better]);
        assert_eq!(world.check(2).len(), 5);
    }
}

#[test]
fn three_agree_though_packets_are_lost() {
    for seed in 1..=20 {
        let mut world = fabric();
        world.seed(seed);
        world.faults.loss = 50;
        world.faults.jitter = 5_000_000;
        let sms =
            [(2, 1), (3, 2), (4, 3)].map(|(node, priority)| world.manager(node, None, 1, with_priority(priority)));
        wait_for(&mut world, &[(sms[0], SmState::STANDBY), (sms[1], SmState::STANDBY), (sms[2], SmState::MASTER)]);
        world.kill(sms[2]);
        wait_for(&mut world, &[(sms[0], SmState::STANDBY), (sms[1], SmState::MASTER)]);
        world.settle(sms[1]);
        world.check(2);
    }
}
