use hca_contract::{LinkState, MAGIC, Ring, STATUS_VECTOR, VERSION, control, device, driver};

use super::world::{DOORBELL_TARGET, NODE_GUID, World, memory, packet};
use crate::Bar;

#[test]
fn started_device_shows_its_identity_and_touches_no_ring() {
    let mut world = World::new(2);
    let bar = &world.driver.bar;
    assert_eq!((bar.load(device::MAGIC), bar.load(device::VERSION)), (MAGIC, VERSION));
    assert_eq!((bar.load(device::GENERATION), bar.load(device::PORTS)), (1, 2));
    assert_eq!(bar.load(device::DOORBELL_TARGET), u32::from(DOORBELL_TARGET));
    assert_eq!(bar.load64(device::NODE_GUID), NODE_GUID);
    assert_eq!(bar.load64(device::SYSTEM_IMAGE_GUID), NODE_GUID);
    assert_ne!(bar.load(device::VENDOR_ID), 0x5076);
    assert_eq!(world.interrupts, [STATUS_VECTOR]);

    world.driver.send(0, Ring::Qp0Send, &packet(15, 284));
    world.settle();
    assert_eq!(world.driver.link(0), (LinkState::Disabled as u8, 0), "not taken up");
    assert_eq!(world.driver.word(0, Ring::Qp0Send, control::CONSUMED), 0, "the ring was touched");
    assert_eq!(world.arrived, [[0; 0]; 0]);
}

#[test]
fn links_after_take_up_come_up() {
    let mut world = World::new(2);
    world.driver.take_up();
    world.interrupts.clear();
    world.serve();
    assert_eq!(world.driver.link(1), (LinkState::Polling as u8, 1));
    assert_eq!(world.interrupts, [STATUS_VECTOR; 2]);
    world.settle();
    // 4X, 10 Gb/s and its extended speed 25 Gb/s.
    assert_eq!(world.driver.link_word(0), 2 << 32 | 2 << 24 | 4 << 16 | 2 << 8 | LinkState::Up as u64);
    assert_eq!(world.driver.link(1), (LinkState::Up as u8, 2));
}

#[test]
fn heartbeat_grows_by_one() {
    let mut world = World::new(1);
    let before = world.driver.bar.load(device::HEARTBEAT);
    world.device.beat();
    assert_eq!(world.driver.bar.load(device::HEARTBEAT), before + 1);
}

#[test]
fn device_after_release_begins_a_new_generation_from_zero() {
    let mut world = World::up(1);
    world.driver.send(0, Ring::Qp0Send, &packet(15, 284));
    world.far[0].transmit(&packet(15, 284)).unwrap();
    world.settle();
    world.driver.release();
    world.interrupts.clear();
    world.serve();
    assert_eq!(world.driver.generation(), 2);
    assert_eq!(world.interrupts, [STATUS_VECTOR]);
    assert_eq!(world.driver.link(0), (LinkState::Disabled as u8, 0));
    assert_eq!(world.driver.word(0, Ring::Qp0Receive, control::PRODUCED), 0);
    assert_eq!(world.driver.word(0, Ring::Qp0Send, control::CONSUMED), 0);
    world.settle();
    assert_eq!(world.driver.generation(), 2, "one generation for one release");

    world.driver.take_up();
    world.settle();
    world.driver.send(0, Ring::Qp0Send, &packet(15, 284));
    world.settle();
    assert_eq!(world.arrived.len(), 2);
}

#[test]
fn generation_released_before_the_device_saw_the_take_up_is_replaced() {
    let mut world = World::new(1);
    world.driver.take_up();
    world.driver.release();
    world.serve();
    assert_eq!(world.driver.generation(), 2);
    world.serve();
    assert_eq!(world.driver.generation(), 2, "one generation for one release");
}

#[test]
fn restarted_device_takes_the_next_generation_and_ignores_the_old_word() {
    let mut world = World::up(1);
    world.driver.send(0, Ring::PacketSend, &packet(0, 64));
    world.restart();
    world.settle();
    assert_eq!(world.driver.generation(), 2);
    assert_eq!(world.driver.bar.load(driver::GENERATION), 1);
    assert_eq!(world.arrived, [[0; 0]; 0], "the packet went to the dead device");
    world.driver.take_up();
    world.settle();
    assert!(world.driver.is_up(0));
}

#[test]
fn generation_is_never_zero_nor_a_word_of_the_driver() {
    for (left, taken_up, released, expected) in [
        (5, 0, 0, 6),
        (u32::MAX, 0, 0, 1),
        (5, 6, 0, 7),
        (u32::MAX, 1, 0, 2),
        (0, 9, 0, 10),
        (0, u32::MAX, 0, 1),
        (u32::MAX - 1, u32::MAX, 0, 1),
        (5, 0, 6, 7),
        (5, 7, 6, 8),
        (0, 0, 9, 10),
        (u32::MAX, 0, 1, 2),
    ] {
        let memory = memory();
        let bar = Bar::map(&memory).unwrap();
        bar.store(device::GENERATION, left);
        bar.store(driver::GENERATION, taken_up);
        bar.store(driver::RELEASED, released);
        let message = format!("{left} left, {taken_up} taken up, {released} released");
        assert_eq!(World::on(memory, 1).driver.generation(), expected, "{message}");
    }
}

#[test]
fn links_after_the_end_of_the_machine_are_down() {
    let mut world = World::up(1);
    world.device.abandon(|_| {});
    world.settle();
    assert_eq!(world.driver.link(0), (LinkState::Disabled as u8, 0));
    assert_eq!(world.far[0].end().counters().link_downed, 1);
}

#[test]
fn stopped_device_shows_generation_zero() {
    let world = World::up(1);
    let mut interrupts = Vec::new();
    world.device.stop(|vector| interrupts.push(vector));
    assert_eq!(world.driver.generation(), 0);
    assert_eq!(interrupts, [STATUS_VECTOR]);
}
