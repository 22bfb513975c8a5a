use hca_contract::{Counter, Ring, control};

use super::world::{Driver, World, memory, number_of, numbered, packet, plugged, start};
use crate::Device;
use cable::TransmitError;

const QP0_VECTOR: u16 = 1;
const DATA_VECTOR: u16 = 2;

#[test]
fn packets_pass_both_ways_unchanged() {
    let mut world = World::open(2);
    for port in [0, 1] {
        for (send, receive, vl, lengths) in [
            (Ring::Qp0Send, Ring::Qp0Receive, 15, [20, 284, 496]),
            (Ring::PacketSend, Ring::PacketReceive, 3, [20, 84, 8 + 40 + 12 + 28 + 4096]),
        ] {
            for length in lengths {
                let packet = packet(vl, length);
                world.driver.send(port, send, &packet);
                world.far[usize::from(port)].transmit(&packet).unwrap();
                world.settle();
                assert_eq!(world.arrived.pop(), Some(packet.clone()));
                assert_eq!(world.driver.receive_all(port, receive), [packet]);
            }
        }
        assert_eq!(world.driver.counter(port, Counter::XmitPackets), 6);
        assert_eq!(world.driver.counter(port, Counter::RcvPackets), 6);
        assert_eq!(world.driver.counter(port, Counter::RcvBytes), 20 + 284 + 496 + 20 + 84 + 4184 + 6 * 6);
    }
    assert!(world.arrived.is_empty());
}

#[test]
fn rings_wrap_and_keep_order() {
    let mut world = World::open(1);
    for number in 0..3 * 256 + 5 {
        let packet = numbered(0, number);
        world.driver.send(0, Ring::PacketSend, &packet);
        world.far[0].transmit(&packet).unwrap();
        world.step();
        assert_eq!(world.driver.receive_all(0, Ring::PacketReceive), [packet]);
        world.settle();
    }
    let order: Vec<_> = world.arrived.iter().map(|packet| number_of(packet)).collect();
    assert_eq!(order, (0..3 * 256 + 5).collect::<Vec<_>>());
}

#[test]
fn full_send_ring_is_sent_after_one_notification() {
    let mut world = World::up(1);
    let rings: Vec<_> = (0..256).map(|number| world.driver.send(0, Ring::Qp0Send, &numbered(15, number))).collect();
    assert_eq!(rings.iter().filter(|ring| **ring).count(), 1);
    assert!(rings[0]);
    world.settle();
    assert_eq!(world.arrived.len(), 256);
    assert!(world.driver.send(0, Ring::Qp0Send, &numbered(15, 256)), "the device waits for a notification");
}

#[test]
fn vl15_packet_for_a_full_ring_is_dropped_and_counted() {
    let mut world = World::up(1);
    for number in 0..300 {
        world.far[0].transmit(&numbered(15, number)).unwrap();
        world.step();
    }
    assert_eq!(world.driver.counter(0, Counter::Vl15Dropped), 300 - 256);
    let got = world.driver.receive_all(0, Ring::Qp0Receive);
    assert_eq!(got.iter().map(|packet| number_of(packet)).collect::<Vec<_>>(), (0..256).collect::<Vec<_>>());
    world.far[0].transmit(&numbered(15, 300)).unwrap();
    world.settle();
    assert_eq!(world.driver.receive_all(0, Ring::Qp0Receive).len(), 1);
}

#[test]
fn data_from_the_peer_waits_for_credit_and_is_never_dropped() {
    let mut world = World::up(1);
    let mut sent = 0;
    let fill = |world: &mut World, sent: &mut u32| {
        while world.far[0].transmit(&numbered(0, *sent)).is_ok() {
            *sent += 1;
        }
        assert_eq!(world.far[0].transmit(&numbered(0, 0)), Err(TransmitError::Full));
        world.settle();
    };
    fill(&mut world, &mut sent);
    assert_eq!(sent, 256);
    let mut received = 0;
    while received < 2000 {
        fill(&mut world, &mut sent);
        // Credit comes in steps, so that a single free slot makes no message; a notification starts each step.
        let mut is_notified = false;
        while !is_notified && let Some((packet, notify)) = world.driver.receive(0, Ring::PacketReceive) {
            assert_eq!(number_of(&packet), received);
            received += 1;
            is_notified = notify;
        }
        assert!(is_notified, "the ring is empty, and the peer has no credit");
        world.settle();
    }
    assert_eq!(world.driver.counter(0, Counter::RcvErrors), 0);
    assert_eq!(world.driver.counter(0, Counter::Vl15Dropped), 0);
}

#[test]
fn damaged_packets_use_no_credit() {
    let mut world = World::up(1);
    // A raw packet: right as a frame, and for no ring. The far end's credit is spent on it all the same.
    let mut raw = packet(0, 64);
    raw[1] = 0;
    for _ in 0..1000 {
        world.far[0].transmit(&raw).unwrap();
        world.settle();
    }
    assert_eq!(world.driver.counter(0, Counter::RcvErrors), 1000);
    world.far[0].transmit(&numbered(0, 1)).unwrap();
    world.settle();
    assert_eq!(world.driver.receive_all(0, Ring::PacketReceive).len(), 1);
}

#[test]
fn data_of_the_driver_waits_for_credit_and_vl15_does_not() {
    let mut world = World::up(1);
    world.driver.send(0, Ring::PacketSend, &numbered(0, 1));
    world.driver.send(0, Ring::Qp0Send, &numbered(15, 2));
    world.settle();
    assert_eq!(world.arrived, [numbered(15, 2)]);
    world.far[0].with_end(|end| end.grant(1));
    world.driver.send(0, Ring::PacketSend, &numbered(0, 3));
    world.settle();
    assert_eq!(world.arrived, [numbered(15, 2), numbered(0, 1)]);
    world.far[0].with_end(|end| end.grant(1));
    world.settle();
    assert_eq!(world.arrived.len(), 3);
    assert_eq!(world.driver.counter(0, Counter::XmitDiscards), 0);
}

#[test]
fn full_cable_holds_packets_back_and_loses_none() {
    let mut world = World::up(1);
    let mut sent = 0;
    // The far end does not read: the socket fills, and then the ring does.
    while sent - world.driver.word(0, Ring::Qp0Send, control::CONSUMED) < 256 {
        world.driver.send(0, Ring::Qp0Send, &numbered(15, sent));
        sent += 1;
        world.serve();
    }
    assert!(world.device.cables().all(cable::Cable::is_full));
    for _ in 0..100 {
        world.settle();
    }
    assert_eq!(world.arrived.len(), sent as usize);
    assert_eq!(world.driver.counter(0, Counter::XmitDiscards), 0);
}

#[test]
fn interrupts_come_on_request_only() {
    let mut world = World::up(1);
    let arrive = |world: &mut World, vl, expected: &[u16]| {
        world.far[0].transmit(&numbered(vl, 0)).unwrap();
        world.settle();
        assert_eq!(std::mem::take(&mut world.interrupts), expected);
    };
    arrive(&mut world, 15, &[QP0_VECTOR]);
    arrive(&mut world, 15, &[]);
    arrive(&mut world, 0, &[DATA_VECTOR]);
    arrive(&mut world, 0, &[]);
    world.driver.receive_all(0, Ring::Qp0Receive);
    world.driver.arm(0, Ring::Qp0Receive);
    arrive(&mut world, 0, &[]);
    arrive(&mut world, 15, &[QP0_VECTOR]);

    world.driver.set_word(0, Ring::Qp0Send, control::SPACE_EVENT, 2);
    for (number, expected) in [(0, &[][..]), (1, &[]), (2, &[QP0_VECTOR]), (3, &[])] {
        world.driver.send(0, Ring::Qp0Send, &numbered(15, number));
        world.settle();
        assert_eq!(std::mem::take(&mut world.interrupts), expected, "packet {number}");
    }
}

#[test]
fn bad_slots_are_discarded_and_counted_and_the_next_packet_is_sent() {
    let mut world = World::open(1);
    let good = packet(15, 284);
    let change = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    let driver = &mut world.driver;
    driver.send_slot(0, Ring::Qp0Send, 1, 284, &good);
    driver.send_slot(0, Ring::Qp0Send, 256, 284, &good);
    driver.send_slot(0, Ring::Qp0Send, 0, 280, &good);
    driver.send_slot(0, Ring::Qp0Send, 0, 0, &good);
    driver.send_slot(0, Ring::Qp0Send, 0, 497, &good);
    driver.send_slot(0, Ring::Qp0Send, 0, u32::MAX, &good);
    driver.send(0, Ring::Qp0Send, &change(0, 0x00)); // VL0
    driver.send(0, Ring::Qp0Send, &change(0, 0xf1)); // link version 1
    driver.send(0, Ring::Qp0Send, &change(1, 0)); // raw
    driver.send(0, Ring::Qp0Send, &change(1, 3)); // a global route header that is none
    driver.send(0, Ring::PacketSend, &good); // VL15
    driver.send(0, Ring::Qp0Send, &good);
    driver.send(0, Ring::PacketSend, &packet(14, 64));
    world.settle();
    assert_eq!(world.driver.counter(0, Counter::XmitDiscards), 11);
    assert_eq!(world.arrived, [good, packet(14, 64)]);
}

#[test]
fn packets_without_a_link_are_discarded_and_counted() {
    let mut world = World::up(1);
    world.driver.request(0, hca_contract::LinkRequest::Disable);
    world.settle();
    world.driver.send(0, Ring::Qp0Send, &packet(15, 284));
    world.driver.send(0, Ring::PacketSend, &packet(0, 64));
    world.settle();
    assert_eq!(world.driver.counter(0, Counter::XmitDiscards), 2);
    assert!(world.arrived.is_empty());
}

#[test]
fn two_devices_at_one_cable_exchange_packets() {
    let (one, two) = plugged(1, 2);
    let mut sides: Vec<(Device, Driver)> = [one, two]
        .map(|cable| {
            let memory = memory();
            let device = start(&memory, vec![cable], &mut Vec::new());
            let mut driver = Driver::new(&memory);
            driver.take_up();
            (device, driver)
        })
        .into();
    let settle = |sides: &mut Vec<(Device, Driver)>| {
        for _ in 0..12 {
            for (device, _) in sides.iter_mut() {
                device.receive(0, |_| {}).unwrap();
                device.serve(|_| {});
            }
        }
    };
    settle(&mut sides);
    for (send, receive, vl) in [(Ring::Qp0Send, Ring::Qp0Receive, 15), (Ring::PacketSend, Ring::PacketReceive, 1)] {
        for number in 0..200 {
            sides[0].1.send(0, send, &numbered(vl, number));
            sides[1].1.send(0, send, &numbered(vl, number + 1000));
        }
        settle(&mut sides);
        for (side, first) in [(0, 1000), (1, 0)] {
            let got = sides[side].1.receive_all(0, receive);
            assert!(got.iter().map(|packet| number_of(packet)).eq(first..first + 200));
        }
    }
}
