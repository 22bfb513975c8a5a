//! The claims of the patent application, by their own numbers, on the booted machine: a test for each.
//!
//! The scene is a machine whose partitions `sm-1`, `sm-2` and `sm-3` run the image `bridge`, so that a test sends and
//! receives at their aliased queue pairs 0, and whose partition `web` has none. OpenSM has made one sweep and has
//! ended: from then on each subnet management packet (SMP) is the test's own, and the agent's counters move for no
//! other.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::path::Path;

use iba::attr::{LinearForwardingBlock, NodeDescription, NodeInfo, NodeType, PortInfo, SmInfo, SwitchInfo};
use iba::mad::{Attribute, AttributeId, Method};
use iba::notice::Notice;
use iba::{Guid, PortNum};
use portico_tests::{Arrival, Destination, Machine, QueuePair0, tshark};
use zerocopy::FromZeros;

#[path = "claims/scene.rs"]
mod scene;

use scene::{LogicalPort, MANAGERS, Qp0, Scene, logical_ports, number};

const GET: u8 = 0x01;
const GET_RESP: u8 = 0x81;

fn response(number: u32, to: AttributeId) -> (Method, AttributeId, u32, bool) {
    (Method::GET_RESP, to, number, false)
}

fn essence(arrival: Arrival) -> (Method, AttributeId, u32, bool) {
    (arrival.method, arrival.attribute, arrival.number, arrival.is_timed_out)
}

/// Asserts that of `pairs` only number `index` receives the request that `send` sends with `number`: the next packet of
/// each other one is a later request, sent to it alone.
fn assert_arrives_at(pairs: &[QueuePair0; 3], index: usize, number: u32, send: impl Fn(usize, u32)) {
    send(index, number);
    assert_eq!(essence(pairs[index].arrival()), (Method::GET, SmInfo::ID, number, false));
    for other in (0..pairs.len()).filter(|other| *other != index) {
        let later = number + 1000 + u32::try_from(other).unwrap();
        send(other, later);
        assert_eq!(pairs[other].arrival().number, later, "{} received another's packet", MANAGERS[other]);
    }
}

/// Asserts that each SMP in the capture goes from a queue pair 0 to a queue pair 0 on virtual lane 15.
fn assert_all_on_queue_pair_0(capture: &Path, least: usize) {
    let fields = ["infiniband.deth.srcqp", "infiniband.bth.destqp", "infiniband.lrh.vl"];
    let packets = tshark(capture, "infiniband.mad.mgmtclass in {0x01, 0x81}", &fields);
    assert!(packets.len() >= least, "{}", packets.len());
    let kinds: BTreeSet<_> = packets.iter().map(String::as_str).collect();
    assert_eq!(kinds, ["0x00000000\t0x000000\t0x0f"].into());
}

/// Returns the GUIDs of the ports of LHCAs that the subnet manager's tools find.
fn guids_in_subnet(machine: &Machine) -> BTreeSet<u64> {
    let found = machine.tool("ibnetdiscover", &["-p"]).run();
    let adapters = found.ok().lines().filter(|line| line.starts_with("CA"));
    adapters.map(|line| number(line.split_whitespace().nth(3).unwrap())).collect()
}

#[test]
fn claim_01_one_physical_queue_pair_0_and_an_aliased_one_for_each_logical_port() {
    let scene = Scene::new();
    let pairs = scene.open_all();
    for ((pair, name), nth) in pairs.iter().zip(MANAGERS).zip(1..) {
        // A route without hops ends at the own port: each partition has its own queue pair 0 there, all at once.
        let info: NodeInfo = pair.get(Destination::Route(&[]), nth);
        assert_eq!(info.port_guid.get(), scene.port(name).guid);
        // And each reaches the subnet through the one cable.
        let outside: NodeDescription = pair.get(Destination::Route(&[1, 1, 2]), 10 + nth);
        assert_eq!(outside, NodeDescription::new("H2"));
        assert_eq!(scene.on_cable(10 + nth), [(GET, 0x10), (GET_RESP, 0x10)]);
    }
    let cables = scene.machine.tool("ibnetdiscover", &[]).run();
    let to_portico = cables.ok().lines().filter(|line| line.starts_with('[') && line.contains("# \"portico-0\" lid"));
    let from_s1 = to_portico.filter(|line| line.starts_with("[3]")).count();
    assert_eq!(from_s1, 1, "one cable from S1 to the physical port:\n{}", cables.stdout);
    assert_all_on_queue_pair_0(&scene.capture, 100);
}

#[test]
fn claim_02_smp_received_at_the_physical_port_reaches_its_logical_port_alone() {
    let scene = Scene::new();
    let pairs = scene.open_all();
    let outside = scene.open("H2");
    for (index, name) in MANAGERS.into_iter().enumerate() {
        let number = 20 + u32::try_from(index).unwrap();
        let lid = |index: usize| Destination::Lid(scene.port(MANAGERS[index]).lid);
        // Traps and responses are for SMs alone, as SMInfo is.
        outside.send(lid(index), Method::TRAP, &Notice::new_zeroed(), 0, 50 + number);
        assert_eq!(essence(pairs[index].arrival()), (Method::TRAP, Notice::ID, 50 + number, false), "{name}");
        let _: NodeDescription = pairs[index].get(Destination::Route(&[1, 1, 2]), 70 + number);
        // The next packet at each other queue pair is a later one: none of these three arrived there.
        assert_arrives_at(&pairs, index, number, |index, number| outside.ask_sm(lid(index), number));
        assert_eq!(scene.on_cable(number)[0], (GET, 0x20), "it came by the cable");
    }
}

#[test]
fn claim_03_smp_of_an_aliased_queue_pair_for_a_logical_port_is_looped_back_to_the_physical_one() {
    let scene = Scene::new();
    let [first, second, _] = scene.open_all();
    let target = scene.port("sm-2");
    let (info, moved) = scene.counted(|| first.get::<NodeInfo>(Destination::Lid(target.lid), 30));
    assert_eq!(info.port_guid.get(), target.guid);
    assert_eq!(moved, Qp0 { looped_back: 1, answered: 1, delivered: 1, ..Qp0::ZERO }, "the agent answered");
    assert_eq!(scene.on_cable(30), [], "and nothing of it was on the cable");
    // The target's own queue pair 0 has received nothing: its next packet is this one.
    scene.ask_sm_from_outside(target, 31);
    assert_eq!(second.arrival().number, 31);
}

#[test]
fn claim_04_smp_of_an_aliased_queue_pair_for_an_external_port_is_routed_to_the_physical_port() {
    let scene = Scene::new();
    let [first, second, _] = scene.open_all();
    let (name, moved) = scene.counted(|| first.get::<NodeDescription>(Destination::Route(&[1, 1, 2]), 40));
    assert_eq!(name, NodeDescription::new("H2"), "the response returned to the queue pair that asked");
    assert_eq!(moved, Qp0 { routed_out: 1, received: 1, delivered: 1, ..Qp0::ZERO });
    assert_eq!(scene.on_cable(40), [(GET, 0x10), (GET_RESP, 0x10)]);
    scene.ask_sm_from_outside(scene.port("sm-2"), 41);
    assert_eq!(second.arrival().number, 41, "no other queue pair received it");
}

#[test]
fn claim_05_logical_switch_of_the_physical_port_forwards_as_the_sm_has_written() {
    let scene = Scene::new();
    let outside = scene.open("H2");
    let switch = scene.route_from_outside(&[]);
    let info: NodeInfo = outside.get(Destination::Route(&switch), 50);
    assert_eq!((info.node_type, info.num_ports), (NodeType::SWITCH, 6), "uplink, four LHCAs, a spare port");
    assert_eq!(info.local_port, PortNum::new(1), "the physical port is port 1");
    let switch_info: SwitchInfo = outside.get(Destination::Route(&switch), 51);
    assert!(switch_info.linear_fdb_cap.get() >= 0xbfff);
    assert_forwards_as_written(&outside, &switch, [scene.port("sm-1"), scene.port("sm-2")], 52);
}

/// Asserts that the forwarding table of the logical switch at the end of the route `switch` decides, and nothing else:
/// with the second port's number for the first port's LID, the first port is out of reach of `outside`.
fn assert_forwards_as_written(outside: &QueuePair0, switch: &[u8], [first, second]: [LogicalPort; 2], nth: u32) {
    let table: LinearForwardingBlock = outside.get(Destination::Route(switch), nth);
    let entry = usize::from(first.lid);
    assert_eq!(table.ports[entry], PortNum::new(first.place), "the SM's entry for LID {}", first.lid);
    let mut wrong = table;
    wrong.ports[entry] = PortNum::new(second.place);
    for (table, is_reached) in [(wrong, false), (table, true)] {
        outside.send(Destination::Route(switch), Method::SET, &table, 0, nth + 1);
        assert_eq!(essence(outside.arrival()), response(nth + 1, LinearForwardingBlock::ID));
        outside.send(Destination::Lid(first.lid), Method::GET, &NodeInfo::default(), 0, nth + 2);
        assert_eq!(outside.arrival().is_timed_out, !is_reached, "LID {} by the table", first.lid);
    }
}

/// The partition `name`, and no other, uses its aliased queue pair 0; it goes and returns with the partition.
fn assert_queue_pair_0_is_the_partitions(scene: &Scene) {
    let outside = scene.open("H2");
    let port = scene.port("sm-1");
    {
        let [first, second, _] = scene.open_all();
        // The source of what it sends is its own port, whatever else the machine has.
        let (_, moved) = scene.counted(|| first.ask_sm(Destination::Lid(scene.port("sm-2").lid), 60));
        let arrival = second.arrival();
        assert_eq!((arrival.number, arrival.from.get()), (60, port.lid), "{moved:?}");
    }
    assert_eq!(scene.machine.ctl(&["stop", "sm-1"]).ok(), "");
    let (_, moved) = scene.counted(|| {
        outside.send(
            Destination::Route(&scene.route_from_outside(&[port.place])),
            Method::GET,
            &NodeInfo::default(),
            0,
            61,
        );
        assert!(outside.arrival().is_timed_out, "the port went with its partition");
    });
    assert_eq!((moved.delivered, moved.answered), (0, 0), "{moved:?}");
    let attached = scene.site("sm-1").tool("smpquery", &["-D", "nodedesc", "0"]).run();
    assert_ne!(attached.code, Some(0), "no program can use it: {attached:?}");
    assert_eq!(scene.machine.ctl(&["start", "sm-1"]).ok(), "");
    scene.wait_for_bridge("sm-1");
    let first = scene.open("sm-1");
    outside.ask_sm(Destination::Route(&scene.route_from_outside(&[port.place])), 62);
    assert_eq!(first.arrival().number, 62, "it returned with its partition");
}

#[test]
fn claim_06_aliased_queue_pair_belongs_to_its_logical_partition() {
    assert_queue_pair_0_is_the_partitions(&Scene::new());
}

#[test]
fn claim_07_agent_routes_the_traffic_of_the_logical_ports_both_ways() {
    let scene = Scene::new();
    let outside = scene.open("H2");
    let first = scene.open("sm-1");
    let (web, own) = (scene.port("web"), scene.port("sm-1"));
    let (_, inward) = scene.counted(|| {
        let _: NodeInfo = outside.get(Destination::Lid(web.lid), 70);
        outside.ask_sm(Destination::Lid(own.lid), 71);
        assert_eq!(first.arrival().number, 71);
    });
    assert_eq!(inward, Qp0 { received: 2, answered: 1, delivered: 1, ..Qp0::ZERO }, "inward");
    let (_, outward) = scene.counted(|| {
        let _: NodeInfo = first.get(Destination::Lid(web.lid), 72);
        let _: NodeDescription = first.get(Destination::Route(&[1, 1, 2]), 73);
    });
    let expected = Qp0 { looped_back: 1, routed_out: 1, received: 1, answered: 1, delivered: 2 };
    assert_eq!(outward, expected, "outward");
    let on_cable = [70, 71, 72, 73].map(|number| scene.on_cable(number).len());
    assert_eq!(on_cable, [2, 1, 0, 2]);
}

/// Starts a partition that loops with interrupts off, and returns its logical port.
fn spinning(scene: &Scene) -> LogicalPort {
    let added = ["add", "name=spin", "image=hostile", "arguments=attempt=spin", "memory=2M", "qp0=none"];
    assert_eq!(scene.machine.ctl(&added).ok(), "");
    scene.machine.console("portico-0").wait_for(|line| line.contains("spin: tries "));
    logical_ports(&scene.machine).into_iter().find(|port| port.place == 6).unwrap()
}

/// Asserts that Get and Set of the port at the end of `route` are answered, and that the agent counts both.
fn assert_answered_on_behalf(scene: &Scene, route: &[u8], guid: u64) {
    let outside = scene.open("H2");
    let (_, moved) = scene.counted(|| {
        let info: NodeInfo = outside.get(Destination::Route(route), 80);
        assert_eq!(info.port_guid.get(), guid, "as that port itself would answer");
        let mut port: PortInfo = outside.get(Destination::Route(route), 81);
        port.set_port_state(iba::attr::PortState::NO_CHANGE);
        port.set_physical_state(iba::attr::PortPhysicalState::NO_CHANGE);
        outside.send(Destination::Route(route), Method::SET, &port, 0, 82);
        assert_eq!(essence(outside.arrival()), response(82, PortInfo::ID));
    });
    assert_eq!(moved, Qp0 { received: 3, answered: 3, ..Qp0::ZERO });
}

#[test]
fn claim_08_agent_answers_on_behalf_of_a_port_whose_partition_loops() {
    let scene = Scene::new();
    let port = spinning(&scene);
    assert_answered_on_behalf(&scene, &scene.route_from_outside(&[port.place]), port.guid);
}

#[test]
fn claim_09_each_subnet_management_queue_pair_is_queue_pair_0() {
    let scene = Scene::new();
    let pairs = scene.open_all();
    let outside = scene.open("H2");
    for (pair, (name, nth)) in pairs.iter().zip(MANAGERS.into_iter().zip(90..)) {
        // To the aliased one from outside, and from the aliased one to the outside: `arrival` checks both numbers.
        outside.ask_sm(Destination::Lid(scene.port(name).lid), nth);
        assert_eq!(pair.arrival().number, nth);
        let _: NodeDescription = pair.get(Destination::Route(&[1, 1, 2]), 10 + nth);
        assert_eq!(scene.on_cable(10 + nth).len(), 2);
    }
    assert_all_on_queue_pair_0(&scene.capture, 100);
}

#[test]
fn claim_10_apparatus_lists_the_logical_ports_that_the_sm_sees() {
    let scene = Scene::new();
    let listed: BTreeSet<_> = scene.ports.iter().map(|port| port.guid).collect();
    assert_eq!(listed.len(), MANAGERS.len() + 1);
    let seen = guids_in_subnet(&scene.machine);
    let hosts = seen.difference(&listed).count();
    assert!(seen.is_superset(&listed) && hosts == 2, "H1 and H2 besides: {seen:x?} {listed:x?}");
    // Each has an aliased queue pair 0 at the same time, and one physical port has the others.
    let pairs = scene.open_all();
    let guids = pairs.each_ref().map(|pair| pair.get::<NodeInfo>(Destination::Route(&[]), 100).port_guid.get());
    assert_eq!(guids, MANAGERS.map(|name| scene.port(name).guid));
    let status = scene.machine.ctl(&["status"]);
    assert_eq!(status.ok().matches("QP0 of uplink").count(), 1, "{}", status.stdout);
}

#[test]
fn claim_11_apparatus_counts_the_traffic_that_its_agent_routes() {
    let scene = Scene::new();
    let before = scene.qp0(1);
    let outside = scene.open("H2");
    for nth in 0..5 {
        let _: NodeInfo = outside.get(Destination::Lid(scene.port("web").lid), 110 + nth);
    }
    let shown = scene.machine.ctl(&["status"]);
    let line = shown.ok().lines().find(|line| line.starts_with("QP0 of uplink 1: ")).unwrap().to_owned();
    let (received, answered) = (before.received + 5, before.answered + 5);
    assert!(line.contains(&format!(": {received} SMPs received")), "{line}");
    assert!(line.contains(&format!(" {answered} answered")), "{line}");
    let from_cable: usize = (110..115).map(|number| scene.on_cable(number).len()).sum();
    assert_eq!(from_cable, 10, "as many as the cable carried, and their responses");
}

#[test]
fn claim_12_agent_loops_an_smp_of_the_physical_port_to_the_given_logical_port() {
    let scene = Scene::new();
    let pairs = scene.open_all();
    let outside = scene.open("H2");
    for (index, name) in MANAGERS.into_iter().enumerate() {
        let number = 120 + u32::try_from(index).unwrap();
        let send = |index: usize, number| {
            let route = scene.route_from_outside(&[scene.port(MANAGERS[index]).place]);
            outside.ask_sm(Destination::Route(&route), number);
        };
        let ((), moved) = scene.counted(|| {
            send(index, number);
            assert_eq!(essence(pairs[index].arrival()), (Method::GET, SmInfo::ID, number, false));
        });
        assert_eq!(
            moved,
            Qp0 { received: 1, delivered: 1, ..Qp0::ZERO },
            "{name}: the agent received and delivered it once"
        );
        assert_arrives_at(&pairs, index, number + 10, send);
    }
    // A port without a subnet manager gets nothing: the agent answers that nothing is there.
    let (arrival, moved) = scene.counted(|| {
        outside.ask_sm(Destination::Lid(scene.port("web").lid), 125);
        outside.arrival()
    });
    assert_eq!(essence(arrival), response(125, SmInfo::ID));
    assert_eq!(moved, Qp0 { received: 1, answered: 1, ..Qp0::ZERO });
}

#[test]
fn claim_13_apparatus_answers_by_lid_and_route_while_the_partition_loops() {
    let scene = Scene::new();
    let port = spinning(&scene);
    // The subnet manager manages it, too: after a sweep the port has a LID and is Active.
    let mut sm = scene.machine.opensm(&[]);
    sm.wait_for_subnet_up();
    drop(sm);
    let lid = logical_ports(&scene.machine).into_iter().find(|found| found.guid == port.guid).unwrap().lid;
    let outside = scene.open("H2");
    for (to, nth) in [(Destination::Lid(lid), 130), (Destination::Route(&scene.route_from_outside(&[port.place])), 131)]
    {
        let (info, moved) = scene.counted(|| outside.get::<NodeInfo>(to, nth));
        assert_eq!(info.port_guid.get(), port.guid);
        assert_eq!(moved, Qp0 { received: 1, answered: 1, ..Qp0::ZERO });
    }
}

#[test]
fn claim_14_logical_switch_is_associated_with_the_physical_port() {
    let scene = Scene::with_two_ports();
    let outside = scene.open("H2");
    // From H2 by S2's port 3 to the second physical port, and by S2's port 2 and S1's port 3 to the first.
    let guid_at = |route: &[u8], nth| outside.get::<NodeInfo>(Destination::Route(route), nth).node_guid;
    let (second, first) = (guid_at(&[1, 3], 140), guid_at(&[1, 2, 3], 141));
    assert_ne!(first, second, "a logical switch for each physical port");
    let status = scene.machine.ctl(&["status", "--json"]);
    let state: serde_json::Value = serde_json::from_str(status.ok()).unwrap();
    let shown = [0, 1].map(|index| Guid::new(number(state[0]["uplinks"][index]["guid"].as_str().unwrap())));
    assert_eq!(shown, [first, second], "and `ctl` says which");
    // Behind each are its own logical ports, and port 1 leads back to the switch outside.
    for (route, uplink) in [(&[1, 2, 3][..], 1), (&[1, 3], 2)] {
        for port in scene.ports.iter().filter(|port| port.uplink == uplink) {
            let info: NodeInfo = outside.get(Destination::Route(&[route, &[port.place]].concat()), 142);
            assert_eq!(info.port_guid.get(), port.guid);
        }
        let back: NodeDescription = outside.get(Destination::Route(&[route, &[1]].concat()), 143);
        assert_eq!(back, NodeDescription::new(if uplink == 1 { "S1" } else { "S2" }));
        // It is a switch, and forwards to its own logical ports as the SM has written.
        let info: NodeInfo = outside.get(Destination::Route(route), 144);
        assert_eq!((info.node_type, info.local_port), (NodeType::SWITCH, PortNum::new(1)));
        let switch_info: SwitchInfo = outside.get(Destination::Route(route), 145);
        assert!(switch_info.linear_fdb_cap.get() >= 0xbfff);
        let mut ports = scene.ports.iter().filter(|port| port.uplink == uplink).copied();
        let ports = [ports.next().unwrap(), ports.next().unwrap()];
        assert_forwards_as_written(&outside, route, ports, 146);
    }
}

/// Asserts that SMPs of `pair`, which leave by its port `uplink`, are looped back there for logical ports: by directed
/// route and by LID.
fn assert_looped_back(scene: &Scene, pair: &QueuePair0, uplink: u8, target: LogicalPort) {
    let other = if scene.ports.iter().any(|port| port.uplink == 2) { Some(3 - uplink) } else { None };
    let ways = [Destination::Lid(target.lid), Destination::Route(&[uplink, target.place])];
    for (to, nth) in ways.into_iter().zip(150 + u32::from(uplink) * 10..) {
        let counters = || (scene.qp0(uplink.into()), other.map(|other| scene.qp0(other.into())));
        let (before, before_other) = counters();
        let info: NodeInfo = pair.get(to, nth);
        let (after, after_other) = counters();
        assert_eq!(info.port_guid.get(), target.guid);
        assert_eq!(after.since(before), Qp0 { looped_back: 1, answered: 1, delivered: 1, ..Qp0::ZERO }, "{to:?}");
        assert_eq!(after_other, before_other, "nothing of it at the other physical port");
        assert_eq!(scene.on_cable(nth), [], "{to:?}");
    }
}

#[test]
fn claim_15_logical_switch_loops_back_by_directed_route_and_by_lid() {
    let scene = Scene::new();
    let first = scene.open("sm-1");
    assert_looped_back(&scene, &first, 1, scene.port("sm-2"));

    // The logical switch itself is no external port either.
    let (info, moved) = scene.counted(|| first.get::<NodeInfo>(Destination::Route(&[1]), 159));
    assert_eq!(info.node_type, NodeType::SWITCH);
    assert_eq!(moved, Qp0 { looped_back: 1, answered: 1, delivered: 1, ..Qp0::ZERO });
    assert_eq!(scene.on_cable(159), []);
}

#[test]
fn claim_16_logical_switch_routes_out_by_directed_route_and_by_lid() {
    let scene = Scene::new();
    let first = scene.open("sm-1");
    let outside: PortInfo = first.get(Destination::Route(&[1, 1, 2]), 165);
    for (to, nth) in [(Destination::Lid(outside.lid.get()), 166), (Destination::Route(&[1, 1, 2]), 167)] {
        let (name, moved) = scene.counted(|| first.get::<NodeDescription>(to, nth));
        assert_eq!(name, NodeDescription::new("H2"));
        assert_eq!(moved, Qp0 { routed_out: 1, received: 1, delivered: 1, ..Qp0::ZERO }, "{to:?}");
        assert_eq!(scene.on_cable(nth), [(GET, 0x10), (GET_RESP, 0x10)]);
    }
}

#[test]
fn claim_17_apparatus_gives_each_partition_the_queue_pair_0_that_its_row_grants() {
    let scene = Scene::new();
    let list = scene.machine.ctl(&["list"]);
    let granted = |name: &str| {
        let line = list.ok().lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(MANAGERS.map(granted), ["manager"; 3]);
    assert_eq!(granted("web"), "none");
    assert_queue_pair_0_is_the_partitions(&scene);
}

#[test]
fn claim_18_aliased_queue_pairs_of_the_apparatus_are_queue_pair_0() {
    let scene = Scene::new();
    let [first, second, _] = scene.open_all();
    // Between two aliased ones, without the cable: `arrival` checks that source and destination are queue pair 0.
    first.ask_sm(Destination::Lid(scene.port("sm-2").lid), 180);
    let arrival = second.arrival();
    assert_eq!((arrival.number, arrival.from.get()), (180, scene.port("sm-1").lid));
    assert_eq!(scene.on_cable(180), []);
    // And with it, in both directions.
    first.ask_sm(Destination::Lid(scene.lid_of_h1()), 181);
    assert_eq!(scene.on_cable(181)[0], (GET, 0x20));
    assert_all_on_queue_pair_0(&scene.capture, 100);
}

#[test]
fn claim_19_adapter_with_two_physical_ports_has_a_queue_pair_0_at_each() {
    let scene = Scene::with_two_ports();
    let outside = scene.open("H2");
    for (uplink, route) in [(1, &[1, 2, 3][..]), (2, &[1, 3])] {
        let other = 3 - uplink;
        let pairs = MANAGERS.map(|name| QueuePair0::open_at(&scene.site(name), uplink));
        let ports: Vec<_> = scene.ports.iter().filter(|port| port.uplink == uplink).collect();
        let route_to = |index: usize| [route, &[ports[index].place]].concat();
        for (index, port) in ports.iter().enumerate() {
            let number = 190 + 20 * u32::from(uplink) + u32::try_from(index).unwrap();
            let (before, before_other) = (scene.qp0(uplink.into()), scene.qp0(other.into()));
            let info: NodeInfo = outside.get(Destination::Route(&route_to(index)), number);
            assert_eq!(info.port_guid.get(), port.guid, "answered on behalf of this port");
            assert_eq!(scene.qp0(uplink.into()).since(before), Qp0 { received: 1, answered: 1, ..Qp0::ZERO });
            if index < pairs.len() {
                assert_arrives_at(&pairs, index, number + 10, |index, number| {
                    outside.ask_sm(Destination::Route(&route_to(index)), number);
                });
            }
            assert_eq!(scene.qp0(other.into()), before_other, "nothing of it at the other physical port");
        }
    }
}

#[test]
fn claim_20_logical_switch_of_each_physical_port_loops_back_to_its_queue_pair_0() {
    let scene = Scene::with_two_ports();
    for uplink in [1, 2] {
        let first = QueuePair0::open_at(&scene.site("sm-1"), uplink);
        let on_uplink: Vec<_> = scene.ports.iter().filter(|port| port.uplink == uplink).copied().collect();
        let target = on_uplink[1];
        assert_looped_back(&scene, &first, uplink, target);
    }
}
