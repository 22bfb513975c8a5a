//! The performance management agent: what is counted can be read, reset and sampled, over queue pair 1 (16.1).

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests may; their numbers are small

mod common;

use common::{Notes, Told, adapter, between, bytes, from_neighbour, lrh, over_global_route, smp, switch};
use iba::attr::{LinearForwardingBlock, PortInfo, PortPhysicalState, PortState};
use iba::bth::Opcode;
use iba::mad::{Attribute, AttributeId, Class, MadHeader, Method, Status};
use iba::packet::{MadPacket, Packet, parse};
use iba::pma::{
    ClassPortInfo, CounterSelect, PerfMad, PmaCapabilities, PortCounters, PortCountersExtended, PortSamplesControl,
    PortSamplesResult, SampleStatus,
};
use iba::{Gid, Lid, PKey, PortNum, QKey, Qpn, Sl, TransactionId, Vl};
use subnet::{Link, Node, PortError, Time};
use zerocopy::{FromBytes, IntoBytes};

const NOW: Time = Time(1_000_000);
const OWN: u16 = 5;
const ASKS: u16 = 0x10;

fn set_port(node: &mut Node, port: u8, change: impl FnOnce(&mut PortInfo)) {
    let mut info = *node.port_info(PortNum::new(port)).unwrap();
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(OWN), Lid::new(ASKS));
    change(&mut info);
    let mut packet = from_neighbour(Method::SET, PortInfo::ID, port.into());
    packet.smp.set_attribute(&info);
    let mut notes = Notes::default();
    node.receive(NOW, PortNum::new(1), &mut bytes(&packet), &mut notes);
    assert_eq!(smp(notes.transmitted().unwrap().1).status(), Status::OK);
}

/// A switch and an adapter, Active at port 1, both with LID 5; the requester is beyond port 1.
fn nodes() -> [Node; 2] {
    let mut nodes = [Node::Switch(switch(3)), Node::ChannelAdapter(adapter(2))];
    for node in &mut nodes {
        node.link_up(NOW, PortNum::new(1), Link::EDR_4X, &mut Notes::default());
        if node.switch_info().is_some() {
            set_port(node, 0, |_| {});
            let mut table = LinearForwardingBlock::default();
            table.ports[usize::from(ASKS)] = PortNum::new(1);
            let mut packet = from_neighbour(Method::SET, LinearForwardingBlock::ID, 0);
            packet.smp.set_attribute(&table);
            node.receive(NOW, PortNum::new(1), &mut bytes(&packet), &mut Notes::default());
            let mut packet = from_neighbour(Method::SET, AttributeId::SWITCH_INFO, 0);
            packet.smp.set_attribute(node.switch_info().unwrap());
            packet.smp.data[7] = 0x3f;
            node.receive(NOW, PortNum::new(1), &mut bytes(&packet), &mut Notes::default());
        }
        set_port(node, 1, |info| info.set_port_state(PortState::ARMED));
        set_port(node, 1, |info| info.set_port_state(PortState::ACTIVE));
    }
    nodes
}

fn request<A: Attribute>(method: Method, value: &A) -> MadPacket {
    let mut mad = PerfMad::default();
    mad.header.base_version = MadHeader::BASE_VERSION;
    mad.header.class = Class::PERF;
    mad.header.class_version = PerfMad::CLASS_VERSION;
    mad.header.method = method;
    mad.header.attribute_id = A::ID;
    mad.header.transaction_id = TransactionId::new(9);
    mad.set_attribute(value);
    let mut packet = MadPacket::new(Lid::new(ASKS), Lid::new(OWN), Sl::default(), zerocopy::transmute!(mad));
    packet.header.deth.src_qp = Qpn::new(0x123);
    packet
}

/// Sends a datagram by port 1 and returns the answer, judged as such.
fn ask_at(node: &mut Node, now: Time, packet: &MadPacket) -> Option<PerfMad> {
    let mut notes = Notes::default();
    node.receive(now, PortNum::new(1), &mut packet.as_bytes().to_vec(), &mut notes);
    let (port, answer) = notes.transmitted()?;
    assert_eq!(port, 1);
    if lrh(answer).vl() == Vl::MANAGEMENT {
        return None; // a trap
    }
    let answer = MadPacket::read_from_bytes(answer).unwrap();
    assert_eq!((answer.header.lrh.slid, answer.header.lrh.dlid), (Lid::new(OWN), Lid::new(ASKS)));
    assert_eq!((answer.header.deth.src_qp, answer.header.bth.dest_qp), (Qpn::GSI, Qpn::new(0x123)));
    assert_eq!(answer.header.deth.q_key, QKey::GSI);
    assert_eq!(answer.mad.header.method, Method::GET_RESP);
    assert_eq!(answer.mad.header.transaction_id, TransactionId::new(9));
    Some(zerocopy::transmute!(answer.mad))
}

fn ask<A: Attribute + Copy>(node: &mut Node, method: Method, value: &A) -> Result<A, Status> {
    let answer = ask_at(node, NOW, &request(method, value)).expect("an answer");
    if answer.header.status == Status::OK { Ok(*answer.attribute()) } else { Err(answer.header.status) }
}

fn counters_of(port: u8) -> PortCounters {
    let mut counters = PortCounters::default();
    counters.port_select = PortNum::new(port);
    counters
}

fn extended_of(port: u8) -> PortCountersExtended {
    let mut counters = PortCountersExtended::default();
    counters.port_select = PortNum::new(port);
    counters
}

#[test]
fn it_says_what_it_can() {
    for mut node in nodes() {
        let info = ask(&mut node, Method::GET, &ClassPortInfo::default()).unwrap();
        assert_eq!((info.base_version, info.class_version), (1, 1));
        let can = PmaCapabilities::from_bits_retain(info.capability_mask.get());
        assert_eq!(can, PmaCapabilities::ALL_PORT_SELECT | PmaCapabilities::EXTENDED_WIDTH);
        assert_eq!(info.redirect_lid, Lid::UNASSIGNED, "it answers itself");
        assert_eq!(info.response_time_value(), 16);
        assert_eq!(ask(&mut node, Method::SET, &info), Err(Status::BAD_METHOD_ATTRIBUTE));
    }
}

#[test]
fn each_port_is_selected_by_its_number() {
    for (mut node, ports) in nodes().into_iter().zip([0..=3, 1..=2]) {
        for port in 0..=255 {
            let expected = if ports.contains(&port) || port == 255 { None } else { Some(Status::INVALID_FIELD) };
            assert_eq!(ask(&mut node, Method::GET, &counters_of(port)).err(), expected, "port {port}");
            assert_eq!(ask(&mut node, Method::GET, &extended_of(port)).err(), expected, "port {port}");
            let mut control = PortSamplesControl::default();
            control.port_select = PortNum::new(port);
            let expected = if ports.contains(&port) { Ok(PortNum::new(port)) } else { Err(Status::INVALID_FIELD) };
            assert_eq!(ask(&mut node, Method::GET, &control).map(|control| control.port_select), expected);
        }
    }
}

#[test]
fn answers_say_which_counters_they_are_about() {
    for mut node in nodes() {
        let (mut short, mut extended) = (counters_of(1), extended_of(1));
        short.set_counter_select(CounterSelect::LINK_DOWNED);
        extended.counter_select = 0x5a.into();
        let short = ask(&mut node, Method::GET, &short).unwrap();
        assert_eq!((short.port_select, short.counter_select()), (PortNum::new(1), CounterSelect::LINK_DOWNED));
        let extended = ask(&mut node, Method::GET, &extended).unwrap();
        assert_eq!((extended.port_select, extended.counter_select.get()), (PortNum::new(1), 0x5a));
    }
}

#[test]
fn a_set_that_is_refused_resets_nothing() {
    for mut node in nodes() {
        node.count(PortNum::new(1), PortError::Symbol, 3);
        let mut set = counters_of(1);
        set.set_counter_select(CounterSelect::all());
        let mut packet = request(Method::SET, &set);
        packet.mad.header.attribute_modifier = 1.into();
        assert_eq!(ask_at(&mut node, NOW, &packet).unwrap().header.status, Status::INVALID_FIELD);
        assert_eq!(node.counters(PortNum::new(1)).unwrap().error(PortError::Symbol), 3);
    }
}

#[test]
fn it_counts_what_passes() {
    for mut node in nodes() {
        let packet = request(Method::GET, &counters_of(1));
        let words = u32::from(lrh(packet.as_bytes()).packet_length());
        let before = ask(&mut node, Method::GET, &counters_of(1)).unwrap();
        let after = ask(&mut node, Method::GET, &counters_of(1)).unwrap();
        assert_eq!(after.port_rcv_packets.get() - before.port_rcv_packets.get(), 1);
        assert_eq!(after.port_xmit_packets.get() - before.port_xmit_packets.get(), 1);
        assert_eq!(after.port_rcv_data.get() - before.port_rcv_data.get(), words);
        assert_eq!(after.port_xmit_data.get() - before.port_xmit_data.get(), words);
        let extended = ask(&mut node, Method::GET, &extended_of(1)).unwrap();
        assert_eq!(extended.port_rcv_packets.get(), u64::from(after.port_rcv_packets.get()) + 1);
        assert_eq!(extended.port_unicast_rcv_packets, extended.port_rcv_packets);
        assert_eq!(extended.port_multicast_rcv_packets.get(), 0);
    }
}

/// The errors, with their flag and the width of their counter.
const ERRORS: [(PortError, CounterSelect, u32); 12] = [
    (PortError::Symbol, CounterSelect::SYMBOL_ERROR, 16),
    (PortError::LinkErrorRecovery, CounterSelect::LINK_ERROR_RECOVERY, 8),
    (PortError::LinkDowned, CounterSelect::LINK_DOWNED, 8),
    (PortError::Rcv, CounterSelect::RCV_ERRORS, 16),
    (PortError::RcvRemotePhysical, CounterSelect::RCV_REMOTE_PHYSICAL_ERRORS, 16),
    (PortError::RcvSwitchRelay, CounterSelect::RCV_SWITCH_RELAY_ERRORS, 16),
    (PortError::XmitDiscard, CounterSelect::XMIT_DISCARDS, 16),
    (PortError::XmitConstraint, CounterSelect::XMIT_CONSTRAINT_ERRORS, 8),
    (PortError::RcvConstraint, CounterSelect::RCV_CONSTRAINT_ERRORS, 8),
    (PortError::LocalLinkIntegrity, CounterSelect::LOCAL_LINK_INTEGRITY_ERRORS, 4),
    (PortError::ExcessiveBufferOverrun, CounterSelect::EXCESSIVE_BUFFER_OVERRUN_ERRORS, 4),
    (PortError::Vl15Dropped, CounterSelect::VL15_DROPPED, 16),
];

fn errors(counters: &PortCounters) -> [u32; 12] {
    [
        counters.symbol_error_counter.get().into(),
        counters.link_error_recovery_counter.into(),
        counters.link_downed_counter.into(),
        counters.port_rcv_errors.get().into(),
        counters.port_rcv_remote_physical_errors.get().into(),
        counters.port_rcv_switch_relay_errors.get().into(),
        counters.port_xmit_discards.get().into(),
        counters.port_xmit_constraint_errors.into(),
        counters.port_rcv_constraint_errors.into(),
        counters.local_link_integrity_errors().into(),
        counters.excessive_buffer_overrun_errors().into(),
        counters.vl15_dropped.get().into(),
    ]
}

#[test]
fn errors_stop_at_their_greatest_value_and_are_reset_one_by_one() {
    for mut node in nodes() {
        for (times, expected) in [(3, 3), (u32::MAX, u32::MAX)] {
            for (error, _, _) in ERRORS {
                node.count(PortNum::new(1), error, times);
            }
            let counters = ask(&mut node, Method::GET, &counters_of(1)).unwrap();
            assert_eq!(errors(&counters), ERRORS.map(|(_, _, width)| expected.min((1u64 << width) as u32 - 1)));
        }
        for (index, (_, flag, _)) in ERRORS.into_iter().enumerate() {
            let mut set = counters_of(1);
            set.set_counter_select(flag);
            let counters = ask(&mut node, Method::SET, &set).unwrap();
            for (other, value) in errors(&counters).into_iter().enumerate() {
                assert_eq!(value == 0, other <= index, "{flag:?} resets one, and leaves the rest");
            }
        }
    }
}

#[test]
fn both_kinds_of_counters_are_reset_apart() {
    for mut node in nodes() {
        let mut set = counters_of(1);
        set.set_counter_select(CounterSelect::XMIT_DATA | CounterSelect::RCV_PACKETS);
        set.port_rcv_packets = 1000.into();
        let before = ask(&mut node, Method::GET, &extended_of(1)).unwrap();
        let short = ask(&mut node, Method::SET, &set).unwrap();
        assert_eq!(short.port_xmit_data.get(), 0);
        assert_eq!(short.port_rcv_packets.get(), 1000, "a counter takes the value that is written");
        assert!(short.port_xmit_packets.get() > 0 && short.port_rcv_data.get() > 0);
        let after = ask(&mut node, Method::GET, &extended_of(1)).unwrap();
        assert_eq!(after.port_rcv_packets.get(), before.port_rcv_packets.get() + 2, "these were not reset");
        // Some of it came from groups, and an adapter's goes to them.
        let mut to_group = request(Method::GET, &counters_of(1));
        to_group.header.lrh.dlid = Lid::new(0xc001);
        node.receive(NOW, PortNum::new(1), &mut to_group.as_bytes().to_vec(), &mut Notes::default());
        node.send(NOW, PortNum::new(1), to_group.as_mut_bytes(), &mut Notes::default());
        let after = ask(&mut node, Method::GET, &extended_of(1)).unwrap();
        assert_eq!(after.port_multicast_rcv_packets.get(), 1);
        assert_eq!(after.port_multicast_xmit_packets.get(), u64::from(node.switch_info().is_none()));
        let mut set = extended_of(1);
        set.counter_select = 0xff.into();
        let reset = ask(&mut node, Method::SET, &set).unwrap();
        assert_eq!(reset.as_bytes()[8..], [0; 64]);
        assert_eq!(ask(&mut node, Method::GET, &counters_of(1)).unwrap().port_rcv_packets.get(), 1005);
    }
}

#[test]
fn short_counters_stop_where_long_ones_go_on() {
    let [mut node, _] = nodes();
    let mut set = counters_of(1);
    set.set_counter_select(CounterSelect::RCV_PACKETS);
    set.port_rcv_packets = (u32::MAX - 1).into();
    ask(&mut node, Method::SET, &set).unwrap();
    for expected in [u32::MAX, u32::MAX, u32::MAX] {
        assert_eq!(ask(&mut node, Method::GET, &counters_of(1)).unwrap().port_rcv_packets.get(), expected);
    }
}

#[test]
fn all_ports_together_are_the_sum() {
    let [mut node, _] = nodes();
    for port in 0..=3 {
        node.count(PortNum::new(port), PortError::Symbol, 10);
        node.count(PortNum::new(port), PortError::LinkDowned, 100);
    }
    let sum = ask(&mut node, Method::GET, &counters_of(255)).unwrap();
    assert_eq!((sum.symbol_error_counter.get(), sum.link_downed_counter), (40, 255));
    for port in 0..=3 {
        node.count(PortNum::new(port), PortError::Rcv, 1 << 30);
    }
    assert_eq!(ask(&mut node, Method::GET, &counters_of(255)).unwrap().port_rcv_errors.get(), 0xffff);
    let mut set = counters_of(255);
    set.set_counter_select(CounterSelect::all());
    let sum = ask(&mut node, Method::SET, &set).unwrap();
    assert_eq!(sum.symbol_error_counter.get(), 0);
    for port in 0..=3 {
        let counters = node.counters(PortNum::new(port)).unwrap();
        assert_eq!((counters.error(PortError::Symbol), counters.short().rcv_packets), (0, 0));
        assert!(port != 1 || counters.total().rcv_packets > 0, "what a node counts for itself is not reset");
    }
}

#[test]
fn the_sum_of_all_ports_stops_at_its_greatest_value() {
    for mut node in nodes() {
        let mut set = extended_of(255);
        set.counter_select = 0xff.into();
        set.as_mut_bytes()[8..].fill(0xff);
        assert_eq!(ask(&mut node, Method::SET, &set).unwrap().as_bytes()[8..], [0xff; 64]);
        let mut set = counters_of(255);
        set.set_counter_select(CounterSelect::XMIT_DATA | CounterSelect::RCV_DATA);
        (set.port_xmit_data, set.port_rcv_data) = (u32::MAX.into(), 0x8000_0000.into());
        let sum = ask(&mut node, Method::SET, &set).unwrap();
        assert_eq!((sum.port_xmit_data.get(), sum.port_rcv_data.get()), (u32::MAX, u32::MAX));
    }
}

#[test]
fn each_counter_is_set_by_its_own_bit() {
    let counters: [fn(&PortCountersExtended) -> u64; 8] = [
        |counters| counters.port_xmit_data.get(),
        |counters| counters.port_rcv_data.get(),
        |counters| counters.port_xmit_packets.get(),
        |counters| counters.port_rcv_packets.get(),
        |counters| counters.port_unicast_xmit_packets.get(),
        |counters| counters.port_unicast_rcv_packets.get(),
        |counters| counters.port_multicast_xmit_packets.get(),
        |counters| counters.port_multicast_rcv_packets.get(),
    ];
    for (bit, node) in (0..8).flat_map(|bit| nodes().map(|node| (bit, node))) {
        let mut node = node;
        let mut set = extended_of(1);
        set.counter_select = (1u16 << bit).into();
        set.as_mut_bytes()[8..].fill(0xee);
        let after = ask(&mut node, Method::SET, &set).unwrap();
        let set: Vec<_> = counters.iter().map(|counter| counter(&after) == 0xeeee_eeee_eeee_eeee).collect();
        assert_eq!(set, (0..8).map(|other| other == bit).collect::<Vec<_>>(), "bit {bit}");
    }
    // PortCounters has its traffic behind its errors.
    for (bit, node) in (12..16).flat_map(|bit| nodes().map(|node| (bit, node))) {
        let mut node = node;
        let mut set = counters_of(1);
        set.set_counter_select(CounterSelect::from_bits_retain(1 << bit));
        let values =
            [&mut set.port_xmit_data, &mut set.port_rcv_data, &mut set.port_xmit_packets, &mut set.port_rcv_packets];
        values.into_iter().for_each(|value| *value = 0xeeee_eeee.into());
        let after = ask(&mut node, Method::SET, &set).unwrap();
        let values = [after.port_xmit_data, after.port_rcv_data, after.port_xmit_packets, after.port_rcv_packets];
        assert_eq!(values.map(|value| value.get() == 0xeeee_eeee), [12, 13, 14, 15].map(|other| other == bit));
    }
}

#[test]
fn a_port_is_sampled_for_as_long_as_it_is_asked() {
    const TICK: u64 = 1_000;
    for mut node in nodes() {
        let mut control = PortSamplesControl::default();
        control.port_select = PortNum::new(1);
        control.sample_start = 100.into();
        control.sample_interval = 1000.into();
        control.tag = 0x77.into();
        for (select, counter) in control.counter_select.iter_mut().zip([4u16, 3, 2, 1, 5]) {
            *select = counter.into();
        }
        let at = |ticks: u64| Time(NOW.0 + ticks * TICK);
        let status = |node: &mut Node, ticks: u64| -> SampleStatus {
            let mut get = PortSamplesControl::default();
            get.port_select = PortNum::new(1);
            let answer = ask_at(node, at(ticks), &request(Method::GET, &get)).unwrap();
            let control: &PortSamplesControl = answer.attribute();
            assert_eq!((control.tag.get(), control.counter_width(), control.sample_mechanisms), (0x77, 4, 1));
            assert_eq!(control.counter_select.map(|select| select.get())[..5], [4, 3, 2, 1, 5]);
            assert_eq!((control.sample_start.get(), control.sample_interval.get()), (100, 1000));
            // Each of five counters is any of the mandatory ones; there are no more.
            assert_eq!((control.counter_mask0(), control.counter_masks1_to_9()), (1, 0o111_100_000));
            let result = ask_at(node, at(ticks), &request(Method::GET, &PortSamplesResult::default())).unwrap();
            assert_eq!(result.attribute::<PortSamplesResult>().sample_status(), control.sample_status());
            control.sample_status()
        };
        ask_at(&mut node, at(0), &request(Method::SET, &control)).unwrap();
        assert_eq!(status(&mut node, 99), SampleStatus::STARTED);
        assert_eq!(status(&mut node, 100), SampleStatus::RUNNING);
        // Another Set is not heard while it runs.
        let mut other = control;
        other.tag = 0x99.into();
        ask_at(&mut node, at(500), &request(Method::SET, &other)).unwrap();
        assert_eq!(status(&mut node, 1099), SampleStatus::RUNNING);
        assert_eq!(status(&mut node, 1100), SampleStatus::DONE);
        let answer = ask_at(&mut node, at(2000), &request(Method::GET, &PortSamplesResult::default())).unwrap();
        let result: &PortSamplesResult = answer.attribute();
        assert_eq!((result.tag.get(), result.sample_status()), (0x77, SampleStatus::DONE));
        // Five requests and their answers fell into the interval.
        let words = u32::from(lrh(request(Method::GET, &control).as_bytes()).packet_length());
        let counters = result.counters.map(|counter| counter.get());
        assert_eq!(counters[..5], [5, 5, 5 * words, 5 * words, 0]);
        assert_eq!(counters[5..], [0; 10]);
    }
}

#[test]
fn all_ports_cannot_be_sampled_at_once() {
    let [mut node, _] = nodes();
    let mut control = PortSamplesControl::default();
    control.port_select = PortNum::new(255);
    assert_eq!(ask(&mut node, Method::SET, &control), Err(Status::INVALID_FIELD));
}

#[test]
fn what_it_does_not_know_it_refuses() {
    for mut node in nodes() {
        let mut send = |change: &dyn Fn(&mut MadHeader)| {
            let mut packet = request(Method::GET, &counters_of(1));
            change(&mut packet.mad.header);
            ask_at(&mut node, NOW, &packet).map(|answer| answer.header.status)
        };
        assert_eq!(send(&|_| {}), Some(Status::OK));
        assert_eq!(send(&|header| header.class_version = 2), Some(Status::BAD_VERSION));
        assert_eq!(send(&|header| header.method = Method::SEND), Some(Status::BAD_METHOD));
        assert_eq!(send(&|header| header.attribute_id = 0x15.into()), Some(Status::BAD_METHOD_ATTRIBUTE));
        assert_eq!(send(&|header| header.attribute_modifier = 1.into()), Some(Status::INVALID_FIELD));
        assert_eq!(send(&|header| header.base_version = 2), None);
        assert_eq!(send(&|header| header.method = Method::TRAP_REPRESS), None);
        // Subnet management is not queue pair 1's.
        assert_eq!(send(&|header| header.class = Class::SUBN_LID_ROUTED), None);
        assert_eq!(send(&|header| header.class = Class::SUBN_DIRECTED_ROUTE), None);
        let end = PortNum::new(if node.switch_info().is_some() { 0 } else { 1 });
        assert_eq!(node.counters(end).unwrap().dropped(), 4, "what gets no answer");
    }
}

/// Faults of a request to which the agent does not respond.
type Change = fn(&mut MadPacket);

#[test]
fn what_is_not_its_own_is_the_consumers() {
    for mut node in nodes() {
        let end = if node.switch_info().is_some() { 0 } else { 1 };
        let cases: [(&str, Change); 4] = [
            ("a class without an agent", |packet| packet.mad.header.class = Class::SUBN_ADM),
            ("a vendor's class", |packet| packet.mad.header.class = 0x32.into()),
            ("a response", |packet| packet.mad.header.method = Method::GET_RESP),
            ("another queue pair", |packet| packet.header.bth.dest_qp = Qpn::new(5)),
        ];
        for (case, change) in cases {
            let mut packet = request(Method::GET, &counters_of(1));
            change(&mut packet);
            let mut notes = Notes::default();
            node.receive(NOW, PortNum::new(1), packet.as_mut_bytes(), &mut notes);
            assert_eq!(notes.delivered(), Some((end, packet.as_bytes())), "{case}");
        }
    }
}

#[test]
fn it_answers_over_a_global_route() {
    for mut node in nodes() {
        let packet = request(Method::GET, &counters_of(1));
        let (sgid, dgid) = (Gid { prefix: 1.into(), guid: 2.into() }, Gid { prefix: 3.into(), guid: 4.into() });
        let mut grh = between(sgid, dgid);
        grh.set_flow_label(0x12345);
        grh.set_traffic_class(0x67);
        let mut bytes = over_global_route(packet.as_bytes(), grh);
        let mut notes = Notes::default();
        node.receive(NOW, PortNum::new(1), &mut bytes, &mut notes);
        let (_, answer) = notes.transmitted().unwrap();
        let Packet::Transport(answer) = parse(answer).unwrap() else { panic!("an answer") };
        let back = answer.grh.unwrap();
        assert_eq!((back.sgid, back.dgid, back.hop_limit), (dgid, sgid, 255));
        assert_eq!((back.flow_label(), back.traffic_class()), (0x12345, 0x67));
        assert_eq!(answer.lrh.dlid, Lid::new(ASKS));
        assert_eq!(PerfMad::ref_from_bytes(answer.payload).unwrap().header.status, Status::OK);
    }
}

#[test]
fn a_consumer_asks_its_own_node_without_leaving_it() {
    for mut node in nodes() {
        let end = if node.switch_info().is_some() { 0 } else { 1 };
        let mut packet = request(Method::GET, &counters_of(1));
        packet.header.lrh.slid = Lid::new(OWN);
        let mut notes = Notes::default();
        node.send(NOW, PortNum::new(end), packet.as_mut_bytes(), &mut notes);
        let (port, answer) = notes.delivered().unwrap();
        assert_eq!(port, end);
        let answer = MadPacket::read_from_bytes(answer).unwrap();
        assert_eq!((answer.mad.header.method, answer.mad.header.status), (Method::GET_RESP, Status::OK));
        assert!(!notes.0.iter().any(|told| matches!(told, Told::Transmit(..))));
    }
}

#[test]
fn what_is_no_datagram_of_one_port_is_dropped() {
    for mut node in nodes() {
        let mut no_datagram = request(Method::GET, &counters_of(1));
        no_datagram.header.bth.opcode = Opcode::UD_SEND_ONLY_IMMEDIATE;
        let mut from_group = request(Method::GET, &counters_of(1));
        from_group.header.lrh.slid = Lid::new(0xc001);
        for packet in [no_datagram, from_group] {
            assert!(ask_at(&mut node, NOW, &packet).is_none());
        }
        let end = PortNum::new(if node.switch_info().is_some() { 0 } else { 1 });
        assert_eq!(node.counters(end).unwrap().dropped(), 2);
        // Of these headers there is none whole: that is an error of what was received.
        for length in [12, 24] {
            let mut cut = request(Method::GET, &counters_of(1)).as_bytes()[..length].to_vec();
            cut[5] = (length / 4 + 1) as u8;
            node.receive(NOW, PortNum::new(1), &mut cut, &mut Notes::default());
        }
        assert_eq!(node.counters(end).unwrap().error(PortError::Rcv), 2);
    }
}

#[test]
fn only_the_general_services_q_key_is_heard() {
    for mut node in nodes() {
        for (q_key, heard) in [(QKey::GSI, true), (QKey::new(0), false), (QKey::new(0x8001_0001), false)] {
            let mut packet = request(Method::GET, &counters_of(1));
            packet.header.deth.q_key = q_key;
            assert_eq!(ask_at(&mut node, NOW, &packet).is_some(), heard, "{q_key:?}");
        }
    }
}

#[test]
fn limited_members_are_heard() {
    for mut node in nodes() {
        for (p_key, heard) in [(0xffff, true), (0x7fff, true), (0x8001, false), (0x0000, false)] {
            let mut packet = request(Method::GET, &counters_of(1));
            packet.header.bth.p_key = PKey::new(p_key);
            assert_eq!(ask_at(&mut node, NOW, &packet).is_some(), heard, "{p_key:#x}");
        }
    }
}
