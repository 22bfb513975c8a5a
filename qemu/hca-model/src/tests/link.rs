use hca_contract::{Counter, LinkRequest, LinkState, Ring, STATUS_VECTOR};

use super::world::{World, numbered, plugged, start};
use cable::{CableEnd, LinkState as EndState, pair};

const DISABLED: u8 = LinkState::Disabled as u8;
const POLLING: u8 = LinkState::Polling as u8;
const UP: u8 = LinkState::Up as u8;

#[test]
fn link_requests_are_done_once_and_confirmed() {
    let mut world = World::up(1);
    let (_, epoch) = world.driver.link(0);
    world.driver.request(0, LinkRequest::Enable);
    world.serve();
    assert!(world.driver.request_is_done(0));
    assert_eq!(world.interrupts, [STATUS_VECTOR]);
    assert_eq!(world.driver.link(0), (UP, epoch), "a link that is up stays so");

    world.driver.request(0, LinkRequest::Disable);
    world.settle();
    assert_eq!(world.driver.link(0), (DISABLED, epoch + 1));
    assert_eq!(world.driver.counter(0, Counter::LinkDowned), 1);
    world.driver.request(0, LinkRequest::Enable);
    world.settle();
    assert_eq!(world.driver.link(0), (UP, epoch + 3));
    world.driver.request(0, LinkRequest::Retrain);
    world.settle();
    assert_eq!(world.driver.link(0), (UP, epoch + 5));
    assert_eq!(world.driver.counter(0, Counter::LinkDowned), 2);
    world.settle();
    assert_eq!(world.driver.link(0), (UP, epoch + 5), "done again");
}

#[test]
fn packets_before_a_link_request_go_out_before_it_takes_effect() {
    let mut world = World::open(1);
    for number in 0..200 {
        world.driver.send(0, Ring::Qp0Send, &numbered(15, number));
    }
    world.driver.send(0, Ring::PacketSend, &numbered(0, 200));
    world.driver.request(0, LinkRequest::Disable);
    world.settle();
    assert_eq!(world.driver.link(0).0, DISABLED);
    assert_eq!(world.arrived.len(), 201);
    assert_eq!(world.driver.counter(0, Counter::XmitDiscards), 0);
}

#[test]
fn unknown_link_request_is_confirmed_and_changes_nothing() {
    let mut world = World::up(1);
    let before = world.driver.link_word(0);
    for request in [0, 4, u32::MAX] {
        world.driver.request_number(0, request);
        world.settle();
        assert!(world.driver.request_is_done(0));
        assert_eq!(world.driver.link_word(0), before);
    }
}

#[test]
fn ports_have_links_of_their_own() {
    let mut world = World::up(2);
    world.driver.request(1, LinkRequest::Disable);
    world.settle();
    assert_eq!(world.driver.link(0).0, UP);
    assert_eq!(world.driver.link(1).0, DISABLED);
    assert_eq!(world.far[1].end().state(), EndState::Polling);
}

#[test]
fn link_disabled_and_retrained_at_the_far_end_is_reported() {
    let mut world = World::up(1);
    let (_, epoch) = world.driver.link(0);
    world.far[0].with_end(CableEnd::disable);
    world.settle();
    assert_eq!(world.driver.link(0), (POLLING, epoch + 1));
    assert_eq!(world.interrupts, [STATUS_VECTOR]);
    world.far[0].with_end(CableEnd::retrain);
    world.settle();
    assert_eq!(world.driver.link(0), (UP, epoch + 2));
}

#[test]
fn link_without_a_cable_is_down_until_one_is_plugged_in() {
    let mut world = World::up(1);
    let (_, epoch) = world.driver.link(0);
    world.far[0].unplug();
    world.step();
    assert_eq!(world.driver.link(0), (POLLING, epoch + 1));
    assert_eq!(world.interrupts, [STATUS_VECTOR]);
    let (near, far) = pair().unwrap();
    world.device.plug(0, near, |_| {});
    world.far[0].plug(far);
    world.settle();
    assert_eq!(world.driver.link(0), (UP, epoch + 2));
}

#[test]
fn cable_after_an_invalid_message_is_unplugged() {
    let mut world = World::up(1);
    let socket = world.far[0].socket().unwrap();
    rustix::net::send(socket, b"hello", rustix::net::SendFlags::empty()).unwrap();
    world.device.receive(0, |_| {}).unwrap_err();
    assert_eq!(world.driver.link(0).0, POLLING);
    assert!(world.device.cables().all(|cable| cable.socket().is_none()));
}

#[test]
fn cable_between_two_ports_of_a_device_comes_up() {
    let mut world = World::new(2);
    let (one, two) = plugged(1, 2);
    world.device = start(&world.memory, vec![one, two], &mut Vec::new());
    world.driver.take_up();
    for port in [0, 1].repeat(8) {
        world.device.serve(|_| {});
        world.device.receive(port, |_| {}).unwrap();
    }
    assert!(world.driver.is_up(0) && world.driver.is_up(1));
}
