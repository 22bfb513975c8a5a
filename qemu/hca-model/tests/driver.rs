//! The real driver on the device model, in one process and without any waiting.
#![allow(clippy::unwrap_used)] // a test fails by it

mod support;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use cable::{Cable, pair};
use hca_driver::{Doorbell, Event, Fault, LinkRequest, Port, Queue, SendError};
use hca_model::{Bar, Device, Identity};
use iba::Guid;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use support::{Driver, drain, end, mad, smp};

const NODE_GUID: u64 = 0x0250_5400_0000_0100;
const TARGET: u16 = 3;

struct World<D> {
    memory: OwnedFd,
    device: Device,
    driver: Driver<D>,
    far: Cable,
    arrived: Vec<Vec<u8>>,
    /// Vectors of the driver's notifications, and of the device's interrupts.
    notified: Rc<RefCell<Vec<u16>>>,
    interrupts: Vec<u16>,
}

fn start(memory: &OwnedFd) -> (Device, Cable) {
    let (near, far) = pair().unwrap();
    let mut ends = [end(NODE_GUID), end(2)];
    ends[0].plug(near);
    ends[1].plug(far);
    let [near, far] = ends;
    let identity = Identity { node_guid: Guid::new(NODE_GUID), doorbell_target: TARGET };
    (Device::start(Bar::map(memory).unwrap(), identity, vec![near], |_| {}), far)
}

/// Creates a device that is taken up, with its link up.
fn world() -> World<impl Doorbell> {
    let memory = memfd_create("hca-test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, hca_contract::BAR2_SIZE as u64).unwrap();
    let (device, far) = start(&memory);
    let notified = Rc::new(RefCell::new(Vec::new()));
    let doorbell = Rc::clone(&notified);
    let driver = Driver::new(&memory, move |target, vector| {
        assert_eq!(target, TARGET);
        doorbell.borrow_mut().push(vector);
    });
    let mut world = World { memory, device, driver, far, arrived: Vec::new(), notified, interrupts: Vec::new() };
    world.settle();
    assert!(world.driver.is_up(), "{:?}", world.driver.events);
    world
}

impl<D: Doorbell> World<D> {
    /// Lets both sides act until they are at rest. The device serves its rings only after a notification.
    fn settle(&mut self) {
        for _ in 0..16 {
            self.device.receive(0, |vector| self.interrupts.push(vector)).unwrap();
            self.device.serve(|vector| self.interrupts.push(vector));
            self.driver.check();
            assert!(drain(&mut self.far, &mut self.arrived));
        }
        self.notified.borrow_mut().clear();
        self.interrupts.clear();
    }
}

#[test]
fn model_is_taken_up_with_its_identity() {
    let mut world = world();
    let identity = world.driver.hca.identity().unwrap();
    assert_eq!((identity.generation, identity.ports, identity.node_guid), (1, 1, NODE_GUID));
    assert!(matches!(world.driver.events[..], [Event::Attached(_), Event::LinkUp { port: Port::One, rate }]
        if (rate.width, rate.speed, rate.speed_ext) == (2, 4, 2)));
    world.driver.events.clear();
    world.settle();
    assert_eq!(world.driver.events, []);
}

#[test]
fn packets_round_the_rings_pass_in_both_directions() {
    let mut world = world();
    for (queue, make) in [(Queue::Qp0, smp as fn(u64) -> Vec<u8>), (Queue::Packet, mad)] {
        for number in 0..700 {
            let packet = make(number);
            world.driver.hca.send(Port::One, queue, &packet).unwrap();
            world.far.transmit(&packet).unwrap();
            if number % 100 == 99 {
                world.settle();
                let wanted: Vec<_> = (number - 99..=number).map(make).collect();
                assert_eq!(world.driver.receive(queue), wanted);
                assert_eq!(std::mem::take(&mut world.arrived), wanted);
                world.settle();
            }
        }
    }
    let counters = world.driver.hca.counters(Port::One);
    assert_eq!((counters.xmit_packets, counters.rcv_packets, counters.rcv_errors), (1400, 1400, 0));
    assert_eq!((counters.vl15_dropped, counters.xmit_discards), (0, 0));
}

#[test]
fn batch_of_packets_is_one_notification_and_one_interrupt() {
    let mut world = world();
    for number in 0..50 {
        world.driver.hca.send(Port::One, Queue::Qp0, &smp(number)).unwrap();
        world.far.transmit(&smp(number)).unwrap();
    }
    assert_eq!(*world.notified.borrow(), [1]);
    world.device.receive(0, |vector| world.interrupts.push(vector)).unwrap();
    assert_eq!(world.interrupts, [1]);
}

#[test]
fn full_rings_hold_data_back_and_lose_none() {
    let mut world = world();
    let (mut sent, mut received) = (0, 0);
    while received < 1000 {
        while world.far.transmit(&mad(sent)).is_ok() {
            sent += 1;
        }
        world.settle();
        for packet in world.driver.receive(Queue::Packet) {
            assert_eq!(packet, mad(received));
            received += 1;
        }
        world.settle();
    }
    let mut accepted = 0;
    loop {
        match world.driver.hca.send(Port::One, Queue::Packet, &mad(accepted)) {
            Ok(()) => accepted += 1,
            Err(SendError::NoRoom) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(accepted, 256);
    world.settle();
    assert_eq!(world.arrived.len(), 256);
    world.driver.hca.send(Port::One, Queue::Packet, &mad(accepted)).unwrap();
}

#[test]
fn link_requests_reach_the_other_end() {
    let mut world = world();
    world.driver.events.clear();
    world.driver.hca.request_link(Port::One, LinkRequest::Retrain);
    world.settle();
    assert!(
        matches!(world.driver.events[..], [Event::LinkDown { port: Port::One }, Event::LinkUp { port: Port::One, .. }]),
        "{:?}",
        world.driver.events
    );
    world.driver.hca.request_link(Port::One, LinkRequest::Disable);
    world.settle();
    assert!(!world.driver.is_up());
    world.driver.hca.request_link(Port::One, LinkRequest::Enable);
    world.settle();
    assert!(world.driver.is_up());
    assert_eq!(world.driver.hca.counters(Port::One).link_downed, 2);
}

#[test]
fn device_that_starts_again_is_taken_up_again() {
    let mut world = world();
    for generation in 2..5 {
        world.driver.hca.send(Port::One, Queue::Qp0, &smp(0)).unwrap();
        world.driver.events.clear();
        (world.device, world.far) = start(&world.memory);
        world.settle();
        let [
            Event::LinkDown { .. },
            Event::Lost(Fault::Restarted { to, .. }),
            Event::Attached(_),
            Event::LinkUp { .. },
        ] = world.driver.events[..]
        else {
            panic!("{:?}", world.driver.events)
        };
        assert_eq!(to, generation);
        world.arrived.clear();
        world.driver.hca.send(Port::One, Queue::Qp0, &smp(9)).unwrap();
        world.far.transmit(&mad(8)).unwrap();
        world.settle();
        assert_eq!(world.arrived, [smp(9)]);
        assert_eq!(world.driver.receive(Queue::Packet), [mad(8)]);
    }
}

#[test]
fn driver_that_starts_again_gets_a_new_generation() {
    let mut world = world();
    world.driver.hca.send(Port::One, Queue::Packet, &mad(0)).unwrap();
    let mut second = Driver::new(&world.memory, |_, _| {});
    std::mem::swap(&mut world.driver.events, &mut second.events);
    for _ in 0..16 {
        world.device.receive(0, |_| {}).unwrap();
        world.device.serve(|_| {});
        second.check();
        drain(&mut world.far, &mut world.arrived);
    }
    assert_eq!(second.generation(), Some(2));
    assert!(second.is_up());
}
