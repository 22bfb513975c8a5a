//! A device that breaks the contract, by table; then one that writes at random.

mod support;

use std::cell::RefCell;
use std::time::Duration;

use hca_contract::{
    BAR2_SIZE, MAGIC, MAX_PORTS, Ring, VERSION, control, device, port, port_offset, ring_control_offset, slot,
    slot_offset,
};
use hca_driver::{Doorbell, Event, Fault, LinkRequest, MAX_PACKET, Port, Queue, SendError, SlotFault};
use proptest::prelude::*;
use support::{Pair, attached, packet, pair};

const DOWN: Event = Event::LinkDown { port: Port::One };
const LINK: usize = port_offset(0) + port::LINK;

/// Returns a link word of epoch 9.
const fn link(state: u64, width: u64, speed: u64, speed_ext: u64) -> u64 {
    9 << 32 | speed_ext << 24 | speed << 16 | width << 8 | state
}

#[test]
fn device_with_a_false_identity_is_refused_by_name() {
    let table: [(usize, u64, Fault); 10] = [
        (device::MAGIC, 0, Fault::BadMagic(0)),
        (device::MAGIC, u64::from(u32::MAX), Fault::BadMagic(u32::MAX)),
        (device::MAGIC, u64::from(MAGIC + 1), Fault::BadMagic(MAGIC + 1)),
        (device::VERSION, u64::from(VERSION + 0x1_0000), Fault::BadVersion(VERSION + 0x1_0000)),
        (device::PORTS, 0, Fault::BadPorts(0)),
        (device::PORTS, 3, Fault::BadPorts(3)),
        (device::PORTS, 0x1_0001, Fault::BadPorts(0x1_0001)),
        (device::DOORBELL_TARGET, 0x1_0000, Fault::BadDoorbellTarget(0x1_0000)),
        (device::NODE_GUID, 0, Fault::BadNodeGuid(0)),
        (device::NODE_GUID, u64::MAX, Fault::BadNodeGuid(u64::MAX)),
    ];
    for (offset, value, fault) in table {
        let mut p = pair(1);
        p.fake.start();
        if offset == device::NODE_GUID {
            p.fake.poke64(offset, value);
        } else {
            p.fake.poke(offset, u32::try_from(value).unwrap());
        }
        assert_eq!(p.settle(), [Event::Refused(fault)]);
        assert!(!p.fake.taken_up(), "{fault}");
    }
    // A newer minor version is accepted.
    let mut p = pair(1);
    p.fake.start();
    p.fake.poke(device::VERSION, VERSION + 1);
    assert!(matches!(p.settle()[..], [Event::Attached(_)]));
}

#[test]
fn device_with_an_impossible_register_is_lost_by_name() {
    let rate = |width, speed, speed_ext| Fault::BadLinkRate { port: Port::One, width, speed, speed_ext };
    let state = |state| Fault::BadLinkState { port: Port::One, state };
    let table: [(usize, u64, Fault); 10] = [
        (LINK, link(0, 0, 0, 0), state(0)),
        (LINK, link(4, 2, 4, 0), state(4)),
        (LINK, u64::MAX, state(255)),
        (LINK, link(3, 0, 4, 0), rate(0, 4, 0)),
        (LINK, link(3, 2, 0, 0), rate(2, 0, 0)),
        (LINK, link(3, 3, 4, 0), rate(3, 4, 0)),
        (LINK, link(3, 32, 4, 0), rate(32, 4, 0)),
        (LINK, link(3, 2, 8, 0), rate(2, 8, 0)),
        (LINK, link(3, 2, 4, 16), rate(2, 4, 16)),
        (device::GENERATION, 0, Fault::Gone),
    ];
    for (offset, value, fault) in table {
        let mut p = attached(1);
        if offset == LINK {
            p.fake.poke64(offset, value);
        } else {
            p.fake.poke(offset, u32::try_from(value).unwrap());
        }
        assert_eq!(p.events(), [DOWN, Event::Lost(fault)]);
        assert_eq!(p.hca.send(Port::One, Queue::Qp0, &packet(64, 0)), Err(SendError::Absent));
    }
}

#[test]
fn device_that_claims_an_unmade_link_request_is_lost() {
    let done = port_offset(0) + port::LINK_REQUEST_DONE;
    let mut p = attached(1);
    p.hca.request_link(Port::One, LinkRequest::Retrain);
    p.settle();
    p.hca.request_link(Port::One, LinkRequest::Retrain);
    assert_eq!(p.events(), []);
    p.fake.poke(done, 1);
    assert_eq!(p.events(), [], "the one before is what a slow device shows");
    p.fake.poke(done, 3);
    assert_eq!(p.events(), [DOWN, Event::Lost(Fault::BadLinkRequestDone { port: Port::One, made: 2, done: 3 })]);
}

#[test]
fn device_with_a_jumping_index_is_lost_by_name() {
    let (queue, port) = (Queue::Packet, Port::One);
    let mut buffer = [0; MAX_PACKET];
    // Five packets were received; the device may not claim these indices now.
    for seen in [0, 4, 5 + 257, 0x8000_0000, u32::MAX] {
        let mut p = attached(1);
        for i in 0..5 {
            assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, i)));
            assert!(p.hca.receive(port, queue, &mut buffer).unwrap().is_some());
        }
        p.fake.poke(ring_control_offset(0, Ring::PacketReceive) + control::PRODUCED, seen);
        assert_eq!(p.hca.receive(port, queue, &mut buffer), Ok(None));
        let fault = Fault::ProducedJumped { port, queue, before: 5, seen, consumed: 5 };
        assert_eq!(p.events(), [DOWN, Event::Lost(fault)]);
    }
    // 260 were sent and 256 of them are in the ring: 4 were consumed.
    for seen in [0, 3, 261, 0x8000_0000, u32::MAX] {
        let mut p = attached(1);
        for i in 0..260 {
            if i >= 256 {
                assert!(p.fake.take(0, Ring::PacketSend).is_some());
            }
            p.hca.send(port, queue, &packet(64, i)).unwrap();
        }
        p.fake.poke(ring_control_offset(0, Ring::PacketSend) + control::CONSUMED, seen);
        assert_eq!(p.hca.send(port, queue, &packet(64, 0)), Err(SendError::Absent));
        let fault = Fault::ConsumedJumped { port, queue, before: 4, seen, produced: 260 };
        assert_eq!(p.events(), [DOWN, Event::Lost(fault)]);
    }
}

#[test]
fn bad_slot_is_skipped_by_name_and_the_next_is_read() {
    let length = |length| SlotFault::BadLength { index: 1, length };
    let table: [(usize, u32, SlotFault); 8] = [
        (slot::INDEX, 0, SlotFault::WrongIndex { expected: 1, seen: 0 }),
        (slot::INDEX, 257, SlotFault::WrongIndex { expected: 1, seen: 257 }),
        (slot::LENGTH, 0, length(0)),
        (slot::LENGTH, 7, length(7)),
        (slot::LENGTH, 497, length(497)),
        (slot::LENGTH, u32::MAX, length(u32::MAX)),
        (slot::LENGTH, 60, SlotFault::LengthMismatch { index: 1, length: 60, lrh: 64 }),
        (slot::LENGTH, 68, SlotFault::LengthMismatch { index: 1, length: 68, lrh: 64 }),
    ];
    for (field, value, fault) in table {
        let mut p = attached(1);
        let mut buffer = [0; MAX_PACKET];
        for i in 0..3 {
            assert!(p.fake.deliver(0, Ring::Qp0Receive, &packet(64, i)));
        }
        p.fake.poke(slot_offset(0, Ring::Qp0Receive, 1) + field, value);
        let mut next = || p.hca.receive(Port::One, Queue::Qp0, &mut buffer).map(|got| got.map(|got| got.to_vec()));
        assert_eq!(next(), Ok(Some(packet(64, 0))));
        assert_eq!(next(), Err(fault));
        assert_eq!(next(), Ok(Some(packet(64, 2))));
        assert_eq!(next(), Ok(None));
        assert_eq!(p.events(), []);
    }
}

#[test]
fn device_writes_over_the_drivers_words_change_nothing() {
    let mut p = attached(1);
    let mut buffer = [0; MAX_PACKET];
    let send = ring_control_offset(0, Ring::PacketSend);
    let receive = ring_control_offset(0, Ring::PacketReceive);
    for i in 0..600 {
        for (offset, value) in
            [(send + control::PRODUCED, 77), (send + control::SPACE_EVENT, 5), (receive + control::DATA_EVENT, 9)]
        {
            p.fake.poke(offset, value);
        }
        p.hca.send(Port::One, Queue::Packet, &packet(64, i)).unwrap();
        assert_eq!(p.fake.take(0, Ring::PacketSend), Some(packet(64, i)));
        assert!(p.fake.deliver(0, Ring::PacketReceive, &packet(64, i)));
        p.fake.poke(receive + control::CONSUMED, 1_000_000);
        assert!(p.hca.receive(Port::One, Queue::Packet, &mut buffer).unwrap().is_some());
    }
    assert_eq!(p.events(), []);
}

/// Step of the random test: a word that the device writes anywhere in BAR2, or a call of the driver's.
#[derive(Clone, Debug)]
enum Step {
    Poke(usize, u32),
    Deliver(Vec<u8>),
    Send(usize),
    Receive,
    Check(u64),
    Arm,
    Attend,
    Start,
    Link(LinkRequest),
}

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![0..8_u32, 250..260_u32, any::<u32>(), Just(u32::MAX), Just(0x8000_0000)]
}

fn offset() -> impl Strategy<Value = usize> {
    let port_page = |number: u16, offset: usize| port_offset(number) + offset;
    prop_oneof![
        4 => (0..12_usize).prop_map(|i| 4 * i),
        4 => (0..MAX_PORTS, 0..4_usize).prop_map(move |(number, i)| port_page(number, 4 * i)),
        8 => (0..MAX_PORTS, 0..4_usize, prop_oneof![Just(0_usize), Just(4), Just(0x40), Just(0x44)])
            .prop_map(|(number, ring, word)| ring_control_offset(number, Ring::ALL[ring]) + word),
        4 => (0..MAX_PORTS, 0..4_usize, 0..4_u32, 0..8_usize)
            .prop_map(|(number, ring, index, word)| slot_offset(number, Ring::ALL[ring], index) + 4 * word),
        1 => (0..BAR2_SIZE / 4).prop_map(|i| 4 * i),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (offset(), word()).prop_map(|(offset, value)| Step::Poke(offset, value)),
        2 => proptest::collection::vec(any::<u8>(), 0..64).prop_map(Step::Deliver),
        3 => (2..128_usize).prop_map(|words| Step::Send(4 * words)),
        3 => Just(Step::Receive),
        3 => (0..2000_u64).prop_map(Step::Check),
        1 => Just(Step::Arm),
        2 => Just(Step::Attend),
        1 => Just(Step::Start),
        1 => prop_oneof![Just(LinkRequest::Disable), Just(LinkRequest::Enable), Just(LinkRequest::Retrain)]
            .prop_map(Step::Link),
    ]
}

#[test]
fn driver_after_any_device_drives_one_that_behaves() {
    // A device keeps its memory as bad as the case before left it. Its first generations are few enough for a forged
    // one to meet a real one, so there are many devices.
    for _ in 0..40 {
        let shared = RefCell::new(attached(2));
        let config = ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(steps in proptest::collection::vec(step(), 1..60))| {
            let p = &mut *shared.borrow_mut();
            for step in steps {
                act(p, step)?;
                p.fake.notifications();
                p.fake.interrupts();
            }
            p.fake.start();
            p.settle();
            prop_assert!(p.hca.identity().is_some());
            p.hca.send(Port::Two, Queue::Packet, &packet(64, 1)).unwrap();
            prop_assert_eq!(p.fake.take(1, Ring::PacketSend), Some(packet(64, 1)));
        });
    }
}

/// Takes one step, which must end whatever the device wrote before.
fn act(p: &mut Pair<impl Doorbell>, step: Step) -> Result<(), TestCaseError> {
    let mut buffer = [0; MAX_PACKET];
    match step {
        Step::Poke(offset, value) => p.fake.poke(offset, value),
        Step::Deliver(bytes) => {
            p.fake.deliver(0, Ring::Qp0Receive, &bytes);
            p.fake.deliver(1, Ring::PacketReceive, &bytes);
        }
        Step::Send(length) => {
            for (port, queue) in queues() {
                let result = p.hca.send(port, queue, &packet(length.min(492), length));
                prop_assert!(matches!(result, Ok(()) | Err(SendError::Absent | SendError::NoRoom)), "{:?}", result);
            }
        }
        Step::Receive => {
            for (port, queue) in queues() {
                // The device can claim the slots that the driver knows of, and as many new ones.
                let mut count = 0;
                while !matches!(p.hca.receive(port, queue, &mut buffer), Ok(None)) {
                    count += 1;
                    prop_assert!(count <= 512);
                }
            }
        }
        Step::Check(ms) => {
            p.now += Duration::from_millis(ms);
            p.events();
        }
        Step::Arm => queues().for_each(|(port, queue)| {
            p.hca.arm(port, queue);
        }),
        Step::Attend => p.fake.serve(),
        Step::Start => p.fake.start(),
        Step::Link(request) => p.hca.request_link(Port::One, request),
    }
    Ok(())
}

/// Returns each queue of each port.
fn queues() -> impl Iterator<Item = (Port, Queue)> {
    Port::ALL.into_iter().flat_map(|port| Queue::ALL.into_iter().map(move |queue| (port, queue)))
}
