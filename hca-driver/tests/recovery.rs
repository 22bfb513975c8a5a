//! Devices that appear, die, return, and lose their links.

mod support;

use core::time::Duration;

use hca_contract::{LinkState, Ring, device, driver, port, port_offset};
use hca_driver::{CHECK_PERIOD, Event, Fault, LinkRequest, MAX_PACKET, Port, Queue, Rate, SendError};
use support::{Pair, attached, packet, pair};

const RATE: Rate = Rate { width: 2, speed: 4, speed_ext: 0 };
const UP: Event = Event::LinkUp { port: Port::One, rate: RATE };
const DOWN: Event = Event::LinkDown { port: Port::One };

#[test]
fn device_that_appears_is_attached() {
    let mut p = pair(2);
    assert_eq!(p.events(), []);
    p.fake.start();
    let events = p.settle();
    let [Event::Attached(identity)] = events[..] else { panic!("{events:?}") };
    assert_eq!((identity.generation, identity.ports, identity.node_guid), (1, 2, hca_fake::NODE_GUID));
    assert_eq!((identity.vendor_id, identity.device_id, identity.revision), (0x1234, 1, 2));
    assert_eq!(p.hca.identity(), Some(identity));
    assert!(p.fake.taken_up());
    p.fake.plug(1, true);
    assert_eq!(p.settle(), [Event::LinkUp { port: Port::Two, rate: RATE }]);
}

#[test]
fn link_that_was_down_shortly_is_reported_down() {
    let mut p = attached(1);
    p.fake.plug(0, false);
    p.fake.plug(0, true);
    assert_eq!(p.events(), [DOWN, UP]);
    assert_eq!(p.events(), []);
    p.fake.plug(0, false);
    assert_eq!(p.events(), [DOWN]);
    // A short up is not reported: no packet can have passed.
    p.fake.plug(0, true);
    p.fake.plug(0, false);
    assert_eq!(p.events(), []);
}

#[test]
fn link_requests_are_made_one_after_the_other() {
    let mut p = attached(1);
    p.hca.request_link(Port::One, LinkRequest::Disable);
    assert_eq!(p.events(), []);
    p.hca.request_link(Port::One, LinkRequest::Enable);
    assert_eq!(p.events(), [], "the first is not done yet");
    assert_eq!(p.settle(), [DOWN, UP], "both were done");
    p.hca.request_link(Port::One, LinkRequest::Retrain);
    assert_eq!(p.settle(), [DOWN, UP]);
    p.hca.request_link(Port::One, LinkRequest::Enable);
    assert_eq!(p.settle(), [], "an enabled link stays as it is");
}

#[test]
fn disabled_link_in_the_next_generation_stays_disabled() {
    let mut p = attached(1);
    p.hca.request_link(Port::One, LinkRequest::Disable);
    assert_eq!(p.settle(), [DOWN]);
    p.fake.start();
    let events = p.settle();
    assert!(matches!(events[..], [Event::Lost(Fault::Restarted { from: 1, to: 2 }), Event::Attached(_)]), "{events:?}");
    p.hca.request_link(Port::One, LinkRequest::Enable);
    assert_eq!(p.settle(), [UP]);
}

#[test]
fn device_with_a_stopped_heartbeat_is_lost() {
    let mut p = attached(1);
    for _ in 0..10 {
        p.now += CHECK_PERIOD;
        p.fake.beat();
        assert_eq!(p.events(), []);
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        p.now += CHECK_PERIOD;
        seen.extend(p.events());
    }
    assert_eq!(seen, [DOWN, Event::Lost(Fault::HeartbeatStopped(Duration::from_secs(3)))]);
    assert_eq!(p.hca.send(Port::One, Queue::Qp0, &packet(64, 0)), Err(SendError::Absent));
    assert_eq!(p.hca.identity(), None);
    assert_eq!(p.events(), [], "the dead generation is not taken up again");
    // The device was only stopped: it sees that the driver released it, and begins a new generation.
    let events = p.settle();
    assert!(matches!(events[..], [Event::Attached(identity), UP] if identity.generation == 2), "{events:?}");
}

#[test]
fn clock_that_steps_back_loses_no_device() {
    let mut p = attached(1);
    p.now = Duration::ZERO;
    assert_eq!(p.events(), []);
}

#[test]
fn device_restarted_in_traffic_carries_over_no_packet() {
    let mut p = attached(2);
    let mut buffer = [0; MAX_PACKET];
    for generation in 2..20_u32 {
        for i in 0..100 + generation as usize {
            p.hca.send(Port::One, Queue::Packet, &packet(64, i)).unwrap();
            assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, i)));
            p.fake.take(0, Ring::PacketSend);
        }
        for _ in 0..generation {
            assert!(p.hca.receive(Port::One, Queue::Packet, &mut buffer).unwrap().is_some());
        }
        p.fake.start();
        // The driver may still use the old generation's rings; the device takes nothing from them.
        let _ = p.hca.send(Port::One, Queue::Packet, &packet(64, 0));
        while let Ok(Some(_)) = p.hca.receive(Port::One, Queue::Packet, &mut buffer) {}
        let events = p.settle();
        let downs = events.iter().filter(|e| matches!(e, Event::LinkDown { .. })).count();
        let ups = events.iter().filter(|e| matches!(e, Event::LinkUp { .. })).count();
        assert_eq!((downs, ups), (2, 2), "{events:?}");
        assert!(events.contains(&Event::Lost(Fault::Restarted { from: generation - 1, to: generation })), "{events:?}");
        assert_eq!(
            p.hca.receive(Port::One, Queue::Packet, &mut buffer),
            Ok(None),
            "no packet of the old generation arrives"
        );
        assert_eq!(p.fake.take(0, Ring::PacketSend), None);
    }
}

#[test]
fn device_in_the_middle_of_a_restart_is_lost_as_gone() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    for i in 0..5 {
        assert!(p.fake.deliver(0, Ring::Qp0Receive, &packet(64, i)));
        assert!(p.hca.receive(Port::One, Queue::Qp0, &mut buffer).unwrap().is_some());
    }
    // In the middle of a restart the indices are 0, and the new generation is not written yet.
    p.fake.poke(device::GENERATION, 0);
    p.fake.set_index(0, Ring::Qp0Receive, 0);
    assert_eq!(p.hca.receive(Port::One, Queue::Qp0, &mut buffer), Ok(None));
    assert!(p.hca.arm(Port::One, Queue::Qp0), "a loss waits to be reported");
    assert_eq!(p.events(), [DOWN, Event::Lost(Fault::Gone)]);
}

#[test]
fn device_of_a_restarted_driver_begins_a_new_generation() {
    let Pair { hca, mut fake, now } = attached(1);
    drop(hca);
    #[allow(unsafe_code)]
    // SAFETY: as in `support::pair`; the first driver is gone.
    let bar = unsafe { hca_driver::Bar2::new(fake.bar()) };
    let mut hca = hca_driver::Hca::new(bar, fake.doorbell());
    assert_eq!(hca.check(now), None, "generation 1 belongs to the driver before");
    assert_eq!(fake.notifications(), [(hca_fake::DOORBELL_TARGET, hca_contract::STATUS_VECTOR)]);
    fake.serve();
    assert!(matches!(hca.check(now), Some(Event::Attached(identity)) if identity.generation == 2));
    assert_eq!(fake.peek(driver::GENERATION), 2);
}

#[test]
fn refused_device_is_not_taken_up_and_is_refused_once() {
    let mut p = attached(1);
    p.hca.request_link(Port::One, LinkRequest::Retrain);
    p.settle();
    p.hca.send(Port::One, Queue::Qp0, &packet(64, 0)).unwrap();
    p.fake.start();
    p.fake.poke(device::PORTS, 3);
    let events = p.events();
    assert!(matches!(events[..], [DOWN, Event::Lost(_), Event::Refused(Fault::BadPorts(3))]), "{events:?}");
    assert_eq!(p.fake.peek(driver::GENERATION), 0, "a refused device is not taken up");
    assert_eq!(p.events(), [], "and is refused once");
    p.fake.start();
    assert!(matches!(p.settle()[..], [Event::Attached(_), UP]));
    assert_eq!(p.fake.peek(port_offset(0) + port::LINK_REQUEST + 4), 0, "requests begin anew");
    assert_eq!(p.fake.peek(port_offset(0) + port::LINK) & 0xff, LinkState::Up as u32);
}

#[test]
fn device_released_before_it_saw_the_take_up_begins_a_new_generation() {
    let mut p = pair(1);
    p.fake.start();
    assert!(matches!(p.events()[..], [Event::Attached(identity)] if identity.generation == 1));
    // The device's process does not run for so long that the driver gives up.
    p.now += Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS);
    assert!(matches!(p.events()[..], [Event::Lost(Fault::HeartbeatStopped(_))]));
    assert!(matches!(p.settle()[..], [Event::Attached(identity)] if identity.generation == 2));
}

#[test]
fn device_that_a_dead_driver_took_up_unseen_begins_a_new_generation() {
    let mut p = pair(1);
    p.fake.start();
    assert!(matches!(p.events()[..], [Event::Attached(_)]));
    let Pair { hca, mut fake, now } = p;
    drop(hca);
    #[allow(unsafe_code)]
    // SAFETY: as in `support::pair`; the first driver is gone.
    let bar = unsafe { hca_driver::Bar2::new(fake.bar()) };
    let mut hca = hca_driver::Hca::new(bar, fake.doorbell());
    assert_eq!(hca.check(now), None);
    fake.serve();
    assert!(matches!(hca.check(now), Some(Event::Attached(identity)) if identity.generation == 2));
}

#[test]
fn driver_after_one_that_released_the_generation_waits_for_the_next() {
    let mut p = attached(1);
    p.now += Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS);
    assert!(matches!(p.events()[..], [DOWN, Event::Lost(Fault::HeartbeatStopped(_))]));
    let Pair { hca, mut fake, now } = p;
    drop(hca);
    #[allow(unsafe_code)]
    // SAFETY: as in `support::pair`; the first driver is gone.
    let bar = unsafe { hca_driver::Bar2::new(fake.bar()) };
    let mut hca = hca_driver::Hca::new(bar, fake.doorbell());
    assert_eq!(hca.check(now), None, "the device is still in the middle of generation 1");
    fake.serve();
    assert!(matches!(hca.check(now), Some(Event::Attached(identity)) if identity.generation == 2));
}

#[test]
fn device_that_starts_again_skips_generations_that_the_driver_knows() {
    // A device showed generation 2 before its time, and the driver holds it.
    let mut p = attached(1);
    p.fake.poke(device::GENERATION, 2);
    assert!(
        matches!(p.events()[..], [DOWN, Event::Lost(_), Event::Attached(identity), UP] if identity.generation == 2)
    );
    p.hca.send(Port::One, Queue::Packet, &packet(64, 0)).unwrap();
    p.fake.start();
    assert!(
        matches!(p.settle()[..], [DOWN, Event::Lost(_), Event::Attached(identity), UP] if identity.generation == 3)
    );
    // The same, and the driver has released it meanwhile.
    p.fake.poke(device::GENERATION, 4);
    assert!(
        matches!(p.events()[..], [DOWN, Event::Lost(_), Event::Attached(identity), UP] if identity.generation == 4)
    );
    p.fake.poke(device::GENERATION, 0);
    assert_eq!(p.events(), [DOWN, Event::Lost(Fault::Gone)]);
    p.fake.start();
    assert!(matches!(p.settle()[..], [Event::Attached(identity), UP] if identity.generation == 5));
}

#[test]
fn refused_device_with_a_mended_identity_is_attached() {
    let mut p = pair(1);
    p.fake.start();
    p.fake.poke(device::PORTS, 3);
    assert_eq!(p.events(), [Event::Refused(Fault::BadPorts(3))]);
    p.fake.poke(device::PORTS, 0);
    assert_eq!(p.events(), [Event::Refused(Fault::BadPorts(0))]);
    assert_eq!(p.events(), [], "each fault is reported once");
    p.fake.poke(device::PORTS, 1);
    assert!(matches!(p.settle()[..], [Event::Attached(identity)] if identity.generation == 1));
}
