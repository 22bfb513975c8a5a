//! Packets through the rings of a device that keeps the contract.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use hca_contract::Ring;
use hca_driver::{Free, LinkRequest, MAX_PACKET, Port, Queue, SendError};
use support::{attached, packet, pair};

const RINGS: [(Queue, Ring, Ring); 2] =
    [(Queue::Qp0, Ring::Qp0Send, Ring::Qp0Receive), (Queue::Packet, Ring::PacketSend, Ring::PacketReceive)];

#[test]
fn packet_of_every_length_passes_both_ways_unchanged() {
    let mut p = attached(2);
    let mut buffer = [0; MAX_PACKET];
    for port in Port::ALL {
        for (queue, send, receive) in RINGS {
            for length in (8..=send.max_packet().min(4188)).step_by(4) {
                let sent = packet(length, length);
                p.hca.send(port, queue, &sent).unwrap();
                assert_eq!(p.fake.take(port as u16, send).as_deref(), Some(&sent[..]), "{queue} {length}");
                assert!(p.fake.deliver(port as u16, receive, &sent));
                assert_eq!(p.hca.receive(port, queue, &mut buffer).unwrap().as_deref(), Some(&sent[..]));
                assert_eq!(p.hca.receive(port, queue, &mut buffer), Ok(None));
            }
        }
    }
}

#[test]
fn full_rings_keep_the_order_of_packets() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    for round in 0..5 {
        for (queue, send, receive) in RINGS {
            let slots = send.slots() as usize;
            for i in 0..slots {
                p.hca.send(Port::One, queue, &packet(64, round + i)).unwrap();
                assert!(p.fake.deliver(0, receive, &packet(64, round + i)));
            }
            assert!(!p.fake.deliver(0, receive, &packet(64, 0)), "no room for the device");
            for i in 0..slots {
                let expected = packet(64, round + i);
                assert_eq!(p.fake.take(0, send), Some(expected.clone()));
                assert_eq!(p.hca.receive(Port::One, queue, &mut buffer).unwrap().as_deref(), Some(&expected[..]));
            }
            assert_eq!(p.fake.take(0, send), None);
        }
    }
}

#[test]
fn full_vl15_ring_drops_and_counts() {
    let mut p = attached(1);
    for i in 0..260 {
        p.hca.send(Port::One, Queue::Qp0, &packet(284, i)).unwrap();
    }
    assert_eq!(p.hca.counters(Port::One).vl15_send_dropped, 4);
    let taken = core::iter::from_fn(|| p.fake.take(0, Ring::Qp0Send)).count();
    assert_eq!(taken, 256);
}

#[test]
fn full_packet_ring_refuses_and_requests_a_notification() {
    let mut p = attached(1);
    for i in 0..256 {
        assert!(p.hca.has_room(Port::One, Queue::Packet));
        p.hca.send(Port::One, Queue::Packet, &packet(64, i)).unwrap();
    }
    assert!(!p.hca.has_room(Port::One, Queue::Packet));
    assert_eq!(p.hca.send(Port::One, Queue::Packet, &packet(64, 0)), Err(SendError::NoRoom));
    assert_eq!(p.fake.interrupts(), [], "nothing was taken yet");
    assert!(p.fake.take(0, Ring::PacketSend).is_some());
    assert_eq!(p.fake.interrupts(), [Ring::PacketSend.vector(0)], "interrupt for the first free slot");
    assert!(p.fake.take(0, Ring::PacketSend).is_some());
    assert_eq!(p.fake.interrupts(), [], "and only of that");
    p.hca.send(Port::One, Queue::Packet, &packet(64, 0)).unwrap();
}

#[test]
fn free_slots_of_a_queue_are_counted_in_both_directions() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    for (queue, send, receive) in RINGS {
        assert_eq!(p.hca.free(Port::One, queue), Some(Free { send: 256, receive: 256 }));
        for i in 0..3 {
            p.hca.send(Port::One, queue, &packet(64, i)).unwrap();
        }
        assert!(p.fake.deliver(0, receive, &packet(64, 0)));
        assert_eq!(p.hca.free(Port::One, queue), Some(Free { send: 253, receive: 255 }));
        assert!(p.fake.deliver(0, receive, &packet(64, 0)));
        assert!(p.fake.take(0, send).is_some());
        assert!(p.hca.receive(Port::One, queue, &mut buffer).unwrap().is_some());
        assert_eq!(
            p.hca.free(Port::One, queue),
            Some(Free { send: 254, receive: 255 }),
            "packets that came since count too"
        );
    }
    assert_eq!(p.hca.free(Port::Two, Queue::Qp0), None);
}

#[test]
fn malformed_packet_never_reaches_the_ring() {
    let mut p = attached(1);
    let mut short = packet(64, 0);
    short.truncate(60);
    let mut long = packet(500, 0);
    long.resize(504, 0);
    for bad in [&[][..], &[0; 4], &[0; 64], &short, &long, &packet(MAX_PACKET + 4, 0), &packet(500, 0)] {
        let queue = Queue::Qp0;
        assert!(matches!(p.hca.send(Port::One, queue, bad), Err(SendError::Malformed { .. })), "{} bytes", bad.len());
    }
    assert_eq!(p.fake.take(0, Ring::Qp0Send), None);
}

#[test]
fn absent_port_takes_and_gives_no_packets() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    assert_eq!(p.hca.send(Port::Two, Queue::Qp0, &packet(64, 0)), Err(SendError::Absent));
    assert_eq!(p.hca.receive(Port::Two, Queue::Qp0, &mut buffer), Ok(None));
    p.hca.request_link(Port::Two, LinkRequest::Disable);
    let mut unattached = pair(1);
    assert_eq!(unattached.hca.send(Port::One, Queue::Qp0, &packet(64, 0)), Err(SendError::Absent));
    assert_eq!(unattached.hca.receive(Port::One, Queue::Qp0, &mut buffer), Ok(None));
    assert!(!unattached.hca.arm(Port::One, Queue::Qp0));
}

#[test]
fn notifications_come_once_and_on_request_only() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    let notification = (hca_fake::DOORBELL_TARGET, Ring::PacketSend.vector(0));
    // The device begins with event index 0: the first packet notifies, the others do not.
    for i in 0..3 {
        p.hca.send(Port::One, Queue::Packet, &packet(64, i)).unwrap();
        assert_eq!(p.fake.notifications(), if i == 0 { vec![notification] } else { vec![] });
    }
    while p.fake.take(0, Ring::PacketSend).is_some() {}
    p.fake.arm(0, Ring::PacketSend);
    p.hca.send(Port::One, Queue::Packet, &packet(64, 0)).unwrap();
    p.hca.send(Port::One, Queue::Packet, &packet(64, 1)).unwrap();
    assert_eq!(p.fake.notifications(), [notification]);
    // A device without room requests a notification for the next free slot.
    while p.fake.deliver(0, Ring::PacketReceive, &packet(64, 0)) {}
    p.fake.interrupts();
    p.fake.poke(hca_contract::ring_control_offset(0, Ring::PacketReceive) + hca_contract::control::SPACE_EVENT, 0);
    for i in 0..256 {
        assert!(p.hca.receive(Port::One, Queue::Packet, &mut buffer).unwrap().is_some());
        assert_eq!(p.fake.notifications(), if i == 0 { vec![notification] } else { vec![] });
    }
    // A driver that polls is not interrupted; one that armed is, once.
    assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, 0)));
    assert_eq!(p.fake.interrupts(), []);
    assert!(p.hca.arm(Port::One, Queue::Packet), "a packet is waiting: no time to sleep");
    assert!(p.hca.receive(Port::One, Queue::Packet, &mut buffer).unwrap().is_some());
    assert!(!p.hca.arm(Port::One, Queue::Packet));
    assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, 0)));
    assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, 0)));
    assert_eq!(p.fake.interrupts(), [Ring::PacketReceive.vector(0)]);
}

/// Two threads, each of which sleeps whenever the other has no packet for it: one lost notification stops them.
#[test]
fn notifications_between_two_sleepers_are_never_lost() {
    const ROUNDS: usize = 20_000;
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut p = attached(1);
    // Borrowed, because the driver must not outlive the device's memory.
    let (hca, fake) = (&mut p.hca, &mut p.fake);
    let (interrupt, interrupts) = channel();
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The device echoes each packet.
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                while let Some(packet) = fake.take(0, Ring::PacketSend) {
                    assert!(fake.deliver(0, Ring::PacketReceive, &packet));
                }
                for vector in fake.interrupts() {
                    let _ = interrupt.send(vector);
                }
                fake.arm(0, Ring::PacketSend);
                let Some(packet) = fake.take(0, Ring::PacketSend) else {
                    fake.wait_notification(PATIENCE);
                    continue;
                };
                assert!(fake.deliver(0, Ring::PacketReceive, &packet));
            }
        });
        let mut buffer = [0; MAX_PACKET];
        let (mut sent, mut received) = (0, 0);
        while received < ROUNDS {
            // In flight: sometimes one, sometimes more.
            while sent < ROUNDS && sent - received < 1 + received % 7 {
                hca.send(Port::One, Queue::Packet, &packet(64, sent)).unwrap();
                sent += 1;
            }
            while let Some(got) = hca.receive(Port::One, Queue::Packet, &mut buffer).unwrap() {
                assert_eq!(got, packet(64, received));
                received += 1;
            }
            if sent - received > received % 7 && !hca.arm(Port::One, Queue::Packet) {
                interrupts.recv_timeout(PATIENCE).expect("a notification was lost");
            }
        }
        done.store(true, Ordering::Release);
        hca.request_link(Port::One, LinkRequest::Retrain);
        hca.check(Duration::from_secs(1)); // notifies the device, which then sees that the test is over
    });
}
