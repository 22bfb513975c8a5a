use hca_contract::{Ring, control, driver, port, port_offset, ring_control_offset, slot, slot_offset};
use proptest::prelude::*;

use super::world::{World, numbered, packet};

/// Step of a driver that keeps no contract.
#[derive(Clone, Debug)]
enum HostileStep {
    /// Writes one of its own words.
    Word { offset: usize, value: u32 },
    /// A packet arrives for the driver.
    Arrival { vl: u8 },
    /// Notifies the device.
    Step,
}

/// Returns the offsets of all the driver's words of ports 0 and 1, and of some of its slots.
fn words() -> Vec<usize> {
    let mut words = vec![driver::GENERATION, driver::RELEASED];
    for port in 0..2 {
        words.extend([0, 4].map(|half| port_offset(port) + port::LINK_REQUEST + half));
        for ring in [Ring::Qp0Send, Ring::PacketSend] {
            words.extend([control::PRODUCED, control::SPACE_EVENT].map(|word| ring_control_offset(port, ring) + word));
            for index in [0, 1, 2, 255] {
                let slot = slot_offset(port, ring, index);
                words.extend([slot::INDEX, slot::LENGTH, slot::PACKET, slot::PACKET + 4].map(|word| slot + word));
            }
        }
        for ring in [Ring::Qp0Receive, Ring::PacketReceive] {
            words.extend([control::CONSUMED, control::DATA_EVENT].map(|word| ring_control_offset(port, ring) + word));
        }
    }
    words
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..5, 250_u32..260, any::<u32>(), Just(u32::MAX), Just(u32::MAX - 255), Just(284)]
}

fn hostile_step() -> impl Strategy<Value = HostileStep> {
    prop_oneof![
        6 => (prop::sample::select(words()), value()).prop_map(|(offset, value)| HostileStep::Word { offset, value }),
        2 => prop::sample::select(vec![0_u8, 15]).prop_map(|vl| HostileStep::Arrival { vl }),
        3 => Just(HostileStep::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a driver writes, and whenever, the device goes on, keeps the credit that it gave, and serves the next
    /// driver as usual.
    #[test]
    fn device_after_a_hostile_driver_serves_the_next_one(steps in prop::collection::vec(hostile_step(), 1..80)) {
        let mut world = World::up(2);
        for step in steps {
            match step {
                // Halves of the link request are written one by one, as a driver with u32 stores would.
                HostileStep::Word { offset, value } => world.driver.bar.store(offset, value),
                HostileStep::Arrival { vl } => drop(world.far[0].transmit(&packet(vl, 64))),
                HostileStep::Step => world.step(),
            }
        }
        world.settle();
        world.driver.release();
        world.settle();
        world.driver.take_up();
        world.settle();
        world.arrived.clear();
        for port in 0..2 {
            prop_assert!(world.driver.is_up(port));
            let far = &mut world.far[usize::from(port)];
            far.with_end(|end| end.grant(8));
            prop_assert_eq!(far.transmit(&numbered(0, 1)), Ok(()));
            prop_assert_eq!(far.transmit(&numbered(15, 2)), Ok(()));
            world.driver.send(port, Ring::PacketSend, &numbered(0, 3));
            world.driver.send(port, Ring::Qp0Send, &numbered(15, 4));
            world.settle();
            prop_assert_eq!(world.driver.receive_all(port, Ring::PacketReceive), [numbered(0, 1)]);
            prop_assert_eq!(world.driver.receive_all(port, Ring::Qp0Receive), [numbered(15, 2)]);
            prop_assert_eq!(world.arrived.len(), 2);
            world.arrived.clear();
        }
    }
}
