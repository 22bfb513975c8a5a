//! A port's life: its states, what takes it down, and what a manager's Sets do to it (7.2.7, 14.2.5.6).

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::{Notes, Told, adapter, bytes, directed, from_neighbour, routed, smp, switch};
use iba::attr::{
    CapabilityMask, GuidInfo, LinkSpeed, LinkSpeedExt, LinkWidth, PKeyTable, PortInfo, PortPhysicalState, PortState,
    SwitchInfo,
};
use iba::mad::{Attribute, Method, Status};
use iba::{GidPrefix, Guid, Lid, PKey, PortNum};
use subnet::{
    AdapterConfig, ChannelAdapter, Event, Link, LinkRequest, Node, NodeConfig, PortError, Speed, Switch, SwitchConfig,
    Time,
};

const PORT: PortNum = PortNum::new(1);
const NOW: Time = Time(1);

/// An adapter, and a switch whose port 1 goes through the same.
fn nodes() -> [Node; 2] {
    [Node::ChannelAdapter(adapter(2)), Node::Switch(switch(4))]
}

fn info(node: &Node) -> PortInfo {
    *node.port_info(PORT).unwrap()
}

/// Sets PortInfo of port 1; `None` where there is no answer by a link.
fn try_set(node: &mut Node, change: impl FnOnce(&mut PortInfo)) -> (Notes, Option<(Status, PortInfo)>) {
    let mut asked = info(node);
    asked.set_port_state(PortState::NO_CHANGE);
    asked.set_physical_state(PortPhysicalState::NO_CHANGE);
    (asked.lid, asked.master_sm_lid) = (Lid::new(8), Lid::new(1));
    change(&mut asked);
    let mut packet = from_neighbour(Method::SET, PortInfo::ID, 1);
    packet.smp.set_attribute(&asked);
    let mut notes = Notes::default();
    node.receive(NOW, PORT, &mut bytes(&packet), &mut notes);
    let answer = notes.transmitted().map(|(port, packet)| {
        assert_eq!(port, 1);
        (smp(packet).status(), *smp(packet).attribute())
    });
    (notes, answer)
}

fn set(node: &mut Node, change: impl FnOnce(&mut PortInfo)) -> (Notes, PortInfo) {
    let (notes, answer) = try_set(node, change);
    let (status, info) = answer.unwrap();
    assert_eq!(status, Status::OK);
    (notes, info)
}

fn up(node: &mut Node) -> Notes {
    let mut notes = Notes::default();
    node.link_up(NOW, PORT, Link::EDR_4X, &mut notes);
    notes
}

/// Brings port 1 from wherever it is to this state.
fn bring_to(node: &mut Node, state: PortState) {
    node.link_down(NOW, PORT, &mut Notes::default());
    if state >= PortState::INIT {
        up(node);
    }
    for next in [PortState::ARMED, PortState::ACTIVE].into_iter().filter(|next| *next <= state) {
        set(node, |info| info.set_port_state(next));
    }
    assert_eq!(info(node).port_state(), state);
}

#[test]
fn a_port_begins_down_with_no_lid() {
    for mut node in nodes() {
        let info = info(&node);
        assert_eq!(info.port_state(), PortState::DOWN);
        assert_eq!(info.physical_state(), PortPhysicalState::POLLING);
        assert_eq!((info.lid, info.master_sm_lid, info.lmc()), (Lid::UNASSIGNED, Lid::UNASSIGNED, 0));
        assert_eq!(node.p_keys(PORT).unwrap().p_keys[0], PKey::DEFAULT);
        assert_eq!((info.local_port, info.link_width_active), (PORT, LinkWidth::X4));
        assert_eq!((info.link_speed_active(), info.link_speed_ext_active()), (LinkSpeed::QDR, LinkSpeedExt::EDR));
        assert_eq!(info.link_down_default_state(), PortPhysicalState::POLLING);
        // Where a manager finds anything less on a link of like ports, it takes the link down once more.
        assert_eq!((info.neighbor_mtu(), info.operational_vls()), (info.mtu_cap(), info.vl_cap()));
        assert!(info.vl_arbitration_low_cap >= 8 && info.vl_arbitration_high_cap >= 8, "one for each lane");
        // A LID without a port is not its own.
        up(&mut node);
        let mut notes = Notes::default();
        node.receive(NOW, PORT, &mut bytes(&routed(Method::GET, PortInfo::ID, 0, 8, 0)), &mut notes);
        assert!(notes.0.is_empty());
    }
}

/// Which fields of PortInfo a port has depends on what kind it is (14.2.5.6).
#[test]
fn a_port_that_packets_end_at_says_what_it_can() {
    let [adapter, switch] = nodes();
    let can = CapabilityMask::TRAP
        | CapabilityMask::SL_MAPPING
        | CapabilityMask::EXTENDED_SPEEDS
        | CapabilityMask::SYSTEM_IMAGE_GUID
        | CapabilityMask::CAPABILITY_MASK_NOTICE
        | CapabilityMask::CLIENT_REREGISTRATION
        | CapabilityMask::OTHER_LOCAL_CHANGES_NOTICE;
    let enforcing = can | CapabilityMask::P_KEY_SWITCH_EXTERNAL_PORT_TRAP;
    for (info, can, guids, response_time, prefix) in [
        (info(&adapter), can, 8, 16, GidPrefix::DEFAULT),
        (*switch.port_info(PortNum::MANAGEMENT).unwrap(), enforcing, 8, 16, GidPrefix::DEFAULT),
        (info(&switch), CapabilityMask::empty(), 0, 0, GidPrefix::default()),
    ] {
        assert_eq!(info.capability_mask(), can);
        assert_eq!((info.guid_cap, info.response_time_value(), info.gid_prefix), (guids, response_time, prefix));
    }
    let info = switch.port_info(PortNum::MANAGEMENT).unwrap();
    assert_eq!((info.port_state(), info.physical_state()), (PortState::ACTIVE, PortPhysicalState::LINK_UP));
    let guids = adapter.guids(PORT).unwrap().guids;
    assert_eq!((guids[0], &guids[1..]), (adapter.port_guid(PORT).unwrap(), &[Guid::default(); 7][..]));
}

#[test]
fn a_link_that_comes_up_again_changes_nothing() {
    for mut node in nodes() {
        bring_to(&mut node, PortState::ACTIVE);
        for state in [PortPhysicalState::LINK_UP, PortPhysicalState::DISABLED] {
            if state == PortPhysicalState::DISABLED {
                set(&mut node, |info| info.set_physical_state(state));
            }
            let mut cleared = from_neighbour(Method::SET, SwitchInfo::ID, 0);
            cleared.smp.data[11] = 4; // PortStateChange
            node.receive(NOW, PortNum::new(1), &mut bytes(&cleared), &mut Notes::default());
            let before = node.clone();
            assert!(up(&mut node).0.is_empty());
            assert!(node == before, "{state:?}");
        }
    }
}

#[test]
fn a_port_that_was_not_active_has_not_become_inactive() {
    let mut node = nodes()[0].clone();
    bring_to(&mut node, PortState::ARMED);
    let mut notes = Notes::default();
    node.link_down(NOW, PORT, &mut notes);
    assert!(notes.events().is_empty());
}

#[test]
fn a_link_that_comes_up_and_goes_down_takes_the_port_along() {
    for mut node in nodes() {
        assert!(up(&mut node).0.is_empty());
        let is = info(&node);
        assert_eq!((is.port_state(), is.physical_state()), (PortState::INIT, PortPhysicalState::LINK_UP));
        assert_eq!((is.link_width_active, is.link_speed_active()), (LinkWidth::X4, LinkSpeed::QDR));
        assert_eq!(is.link_speed_ext_active(), LinkSpeedExt::EDR);
        node.link_down(NOW, PORT, &mut Notes::default());
        let is = info(&node);
        assert_eq!((is.port_state(), is.physical_state()), (PortState::DOWN, PortPhysicalState::POLLING));
        node.link_up(NOW, PORT, Link { width: LinkWidth::X1, speed: Speed::Ddr }, &mut Notes::default());
        let is = info(&node);
        assert_eq!((is.link_width_active, is.link_speed_active()), (LinkWidth::X1, LinkSpeed::DDR));
        assert_eq!(is.link_speed_ext_active(), LinkSpeedExt::empty());
    }
}

#[test]
fn a_port_that_is_down_takes_nothing() {
    for mut node in nodes() {
        let mut notes = Notes::default();
        node.receive(NOW, PORT, &mut bytes(&from_neighbour(Method::GET, PortInfo::ID, 1)), &mut notes);
        assert!(notes.0.is_empty());
        assert_eq!(*node.counters(PORT).unwrap(), subnet::Counters::default());
    }
}

#[test]
fn what_is_to_leave_by_a_port_that_is_down_is_discarded_and_counted() {
    let mut node = nodes()[1].clone();
    up(&mut node);
    let mut packet = directed(Method::GET, PortInfo::ID, 0, &[1, 2]);
    packet.smp.set_hop_pointer(1);
    let mut notes = Notes::default();
    node.receive(NOW, PORT, &mut bytes(&packet), &mut notes);
    assert!(notes.0.is_empty());
    assert_eq!(node.counters(PortNum::new(2)).unwrap().error(PortError::XmitDiscard), 1);
}

/// Tables of P_Keys are read and set by blocks of 32 (14.2.5.7), and every end is in one partition at least (10.9.1.2).
#[test]
fn tables_of_p_keys_are_whole_blocks() {
    for (partitions, blocks) in [(0, 1u16), (1, 1), (32, 1), (33, 2), (100, 4)] {
        let node = NodeConfig { partitions, ..NodeConfig::new(Guid::new(1), "node") };
        let adapter = ChannelAdapter::new(&AdapterConfig { node: node.clone(), port_guids: vec![Guid::new(2)] });
        let switch = Switch::new(&SwitchConfig { node, ports: 1, enforced_partitions: 0 });
        for mut node in [Node::ChannelAdapter(adapter.unwrap()), Node::Switch(switch.unwrap())] {
            up(&mut node);
            assert_eq!(node.node_info().partition_cap.get(), 32 * blocks);
            for (block, status) in [(blocks - 1, Status::OK), (blocks, Status::INVALID_FIELD)] {
                let mut notes = Notes::default();
                let packet = from_neighbour(Method::GET, PKeyTable::ID, block.into());
                node.receive(NOW, PORT, &mut bytes(&packet), &mut notes);
                assert_eq!(smp(notes.transmitted().unwrap().1).status(), status, "{partitions}, block {block}");
            }
        }
    }
}

/// A manager makes the least table of all switches the whole subnet's, and looks for P_Keys of ports where these are
/// capped.
#[test]
fn a_switch_begins_with_whole_tables_that_lead_nowhere() {
    for (enforced, cap) in [(0, 0), (1, 32), (33, 64)] {
        let node = NodeConfig::new(Guid::new(1), "switch");
        let switch = Switch::new(&SwitchConfig { node, ports: 4, enforced_partitions: enforced }).unwrap();
        let info = switch.switch_info().unwrap();
        assert_eq!(
            (info.linear_fdb_cap.get(), info.random_fdb_cap.get(), info.multicast_fdb_cap.get()),
            (0xbfff, 0, 0x3fff)
        );
        assert_eq!(info.linear_fdb_top, Lid::UNASSIGNED);
        assert_eq!(info.default_multicast_primary_port, PortNum::DISCARD);
        assert_eq!(info.default_multicast_not_primary_port, PortNum::DISCARD);
        assert_eq!(info.partition_enforcement_cap.get(), cap);
        let told = switch.port_info(PortNum::MANAGEMENT).unwrap().capability_mask();
        assert_eq!(told.contains(CapabilityMask::P_KEY_SWITCH_EXTERNAL_PORT_TRAP), cap > 0);
        assert_eq!((info.inbound_enforcement_cap(), info.outbound_enforcement_cap()), (cap > 0, cap > 0));
    }
}

#[test]
fn a_port_knows_all_speeds_up_to_its_fastest() {
    let (none, fdr, edr) = (LinkSpeedExt::empty(), LinkSpeedExt::FDR, LinkSpeedExt::EDR);
    let (sdr, ddr, qdr) = (LinkSpeed::SDR, LinkSpeed::DDR, LinkSpeed::QDR);
    let all = sdr | ddr | qdr;
    for (speed, supported, extended) in [
        (Speed::Sdr, sdr, none),
        (Speed::Ddr, sdr | ddr, none),
        (Speed::Qdr, all, none),
        (Speed::Fdr, all, fdr),
        (Speed::Edr, all, fdr | edr),
        (Speed::Hdr, all, fdr | edr | LinkSpeedExt::HDR),
    ] {
        let node = NodeConfig { speed, ..NodeConfig::new(Guid::new(1), "node") };
        let node = ChannelAdapter::new(&AdapterConfig { node, port_guids: vec![Guid::new(2)] }).unwrap();
        let info = node.port_info(PORT).unwrap();
        assert_eq!((info.link_speed_supported(), info.link_speed_enabled()), (supported, supported), "{speed:?}");
        assert_eq!((info.link_speed_ext_supported(), info.link_speed_ext_enabled()), (extended, extended), "{speed:?}");
        assert_eq!(info.capability_mask().contains(CapabilityMask::EXTENDED_SPEEDS), !extended.is_empty(), "{speed:?}");
        assert_eq!(Link::between(info, info).unwrap().speed, speed);
    }
}

#[test]
fn the_linear_tables_top_is_at_most_its_cap() {
    let mut node = nodes()[1].clone();
    up(&mut node);
    for (top, status) in [(0xbffe, Status::OK), (0xbfff, Status::OK), (0xc000, Status::INVALID_FIELD)] {
        let mut asked = *node.switch_info().unwrap();
        assert_eq!(asked.linear_fdb_cap.get(), 0xbfff);
        asked.linear_fdb_top = Lid::new(top);
        let mut notes = Notes::default();
        node.receive(NOW, PORT, &mut attribute(&asked), &mut notes);
        assert_eq!(smp(notes.transmitted().unwrap().1).status(), status, "{top:#x}");
    }
}

#[test]
fn states_are_set_one_after_the_other() {
    let states = [PortState::INIT, PortState::ARMED, PortState::ACTIVE];
    for original in nodes() {
        for is in states {
            for asked in 0..=15 {
                let mut node = original.clone();
                bring_to(&mut node, is);
                let (_, answer) = try_set(&mut node, |info| info.set_port_state(PortState::new(asked)));
                let (status, after) = answer.unwrap();
                let (expected, next) = match (is, PortState::new(asked)) {
                    (_, PortState::NO_CHANGE) => (Status::OK, is),
                    (_, PortState::DOWN) => (Status::OK, PortState::DOWN),
                    (PortState::INIT, PortState::ARMED) => (Status::OK, PortState::ARMED),
                    (PortState::ARMED, PortState::ACTIVE) => (Status::OK, PortState::ACTIVE),
                    _ => (Status::INVALID_FIELD, is),
                };
                assert_eq!(status, expected, "from {is} to {asked}");
                if status == Status::OK {
                    assert_eq!(after.port_state(), next, "from {is} to {asked}");
                }
                assert_eq!(info(&node).port_state(), next, "from {is} to {asked}");
            }
        }
    }
}

#[test]
fn down_takes_the_link_down_once_the_answer_has_left() {
    for mut node in nodes() {
        bring_to(&mut node, PortState::ACTIVE);
        let (notes, after) = set(&mut node, |info| info.set_port_state(PortState::DOWN));
        assert_eq!(after.port_state(), PortState::DOWN);
        assert!(matches!(notes.0[0], Told::Transmit(1, _)), "first the answer: {:?}", notes.0);
        assert!(notes.0.contains(&Told::Link(1, LinkRequest::Retrain)));
        assert_eq!(info(&node).port_state(), PortState::DOWN);
        if let Some(switch) = node.switch_info() {
            assert!(switch.port_state_change(), "set when the link came up, and not reset");
        } else {
            assert_eq!(notes.events(), [Event::Inactive]);
        }
        // The outlet trains the link anew.
        node.link_down(NOW, PORT, &mut Notes::default());
        up(&mut node);
        assert_eq!(info(&node).port_state(), PortState::INIT);
        assert_eq!(info(&node).lid, if node.switch_info().is_some() { Lid::UNASSIGNED } else { Lid::new(8) });
    }
}

#[test]
fn a_port_is_switched_off_and_on() {
    for mut node in nodes() {
        bring_to(&mut node, PortState::ACTIVE);
        let (notes, _) = set(&mut node, |info| info.set_physical_state(PortPhysicalState::DISABLED));
        assert!(notes.0.contains(&Told::Link(1, LinkRequest::Disable)));
        assert_eq!(info(&node).physical_state(), PortPhysicalState::DISABLED);
        node.link_down(NOW, PORT, &mut Notes::default());
        up(&mut node);
        let is = info(&node);
        assert_eq!(
            (is.port_state(), is.physical_state()),
            (PortState::DOWN, PortPhysicalState::DISABLED),
            "it stays off"
        );
        // Through another port of a switch it can be switched on; an adapter's needs an act at the adapter.
        if node.switch_info().is_some() {
            node.link_up(NOW, PortNum::new(2), Link::EDR_4X, &mut Notes::default());
            // Down alone leaves it as it is.
            for (state, physical, told) in [
                (PortState::DOWN, PortPhysicalState::NO_CHANGE, None),
                (PortState::NO_CHANGE, PortPhysicalState::POLLING, Some(Told::Link(1, LinkRequest::Enable))),
            ] {
                let mut asked = is;
                asked.set_port_state(state);
                asked.set_physical_state(physical);
                let mut packet = from_neighbour(Method::SET, PortInfo::ID, 1);
                packet.smp.set_attribute(&asked);
                let mut notes = Notes::default();
                node.receive(NOW, PortNum::new(2), &mut bytes(&packet), &mut notes);
                let links = notes.0.into_iter().find(|told| matches!(told, Told::Link(..)));
                assert_eq!(links, told, "{state:?}, {physical:?}");
            }
            up(&mut node);
            assert_eq!(info(&node).port_state(), PortState::INIT);
        }
    }
}

#[test]
fn physical_states_are_set_only_with_down_or_without_a_state() {
    for original in nodes() {
        for state in 0..=4 {
            for physical in 0..=15 {
                let mut node = original.clone();
                bring_to(&mut node, PortState::INIT);
                let (notes, answer) = try_set(&mut node, |info| {
                    info.set_port_state(PortState::new(state));
                    info.set_physical_state(PortPhysicalState::new(physical));
                });
                let expected = match (state, physical) {
                    (0 | 3, 0) => (Status::OK, None),
                    (1, 0) | (0 | 1, 1 | 2) => (Status::OK, Some(LinkRequest::Retrain)),
                    (0 | 1, 3) => (Status::OK, Some(LinkRequest::Disable)),
                    _ => (Status::INVALID_FIELD, None),
                };
                let request = notes.0.iter().find_map(|told| match told {
                    Told::Link(1, request) => Some(*request),
                    _ => None,
                });
                assert_eq!((answer.unwrap().0, request), expected, "state {state}, physical state {physical}");
            }
        }
    }
}

#[test]
fn port_state_change_is_cleared_by_writing_one() {
    let mut node = nodes()[1].clone();
    up(&mut node);
    for (written, left) in [(false, true), (true, false), (true, false), (false, false)] {
        let mut asked = *node.switch_info().unwrap();
        asked.set_port_state_change(written);
        let mut packet = from_neighbour(Method::SET, SwitchInfo::ID, 0);
        packet.smp.set_attribute(&asked);
        let mut notes = Notes::default();
        node.receive(NOW, PORT, &mut bytes(&packet), &mut notes);
        let answer: SwitchInfo = *smp(notes.transmitted().unwrap().1).attribute();
        assert_eq!(answer.port_state_change(), left, "after writing {written}");
    }
    // What a manager sets is no change of its own; what the link does is.
    set(&mut node, |info| info.set_port_state(PortState::ARMED));
    assert!(!node.switch_info().unwrap().port_state_change());
    node.link_down(NOW, PORT, &mut Notes::default());
    assert!(node.switch_info().unwrap().port_state_change());
}

#[test]
fn a_set_that_is_refused_changes_nothing() {
    let mut node = nodes()[0].clone();
    bring_to(&mut node, PortState::INIT);
    let before = info(&node);
    let (notes, answer) = try_set(&mut node, |info| {
        // All of this is in order, and the last is not.
        info.lid = Lid::new(0x100);
        info.m_key = 77.into();
        info.set_subnet_timeout(9);
        info.set_port_state(PortState::ARMED);
        info.set_link_down_default_state(PortPhysicalState::DISABLED);
    });
    assert_eq!(answer.unwrap().0, Status::INVALID_FIELD);
    assert_eq!(info(&node), before);
    assert!(notes.events().is_empty());
}

#[test]
fn every_lid_of_an_lmc_is_the_port() {
    for lmc in 0..=7u8 {
        let mut node = nodes()[0].clone();
        up(&mut node);
        let base = 0x300u16;
        set(&mut node, |info| {
            info.lid = Lid::new(base);
            info.set_lmc(lmc);
        });
        for lid in base - 1..base + 130 {
            let mut notes = Notes::default();
            node.receive(NOW, PORT, &mut bytes(&routed(Method::GET, PortInfo::ID, 0, 0x20, lid)), &mut notes);
            let is_own = (base..base + (1 << lmc)).contains(&lid);
            assert_eq!(notes.transmitted().is_some(), is_own, "LMC {lmc}, LID {lid:#x}");
            if let Some((_, packet)) = notes.transmitted() {
                assert_eq!(common::lrh(packet).slid, Lid::new(lid), "it answers as whom it was asked");
            }
        }
        let (_, answer) = try_set(&mut node, |info| {
            info.lid = Lid::new(base + 1);
            info.set_lmc(lmc);
        });
        let expected = if lmc == 0 { Status::OK } else { Status::INVALID_FIELD };
        assert_eq!(answer.unwrap().0, expected, "a LID has zeros where LMC {lmc} leaves the bits to routing");
    }
}

#[test]
fn consumers_are_told_what_happens_to_their_port() {
    let mut node = nodes()[0].clone();
    up(&mut node);
    let (notes, answer) = set(&mut node, |info| {
        info.set_client_reregister(true);
        info.gid_prefix = 0x1234.into();
    });
    assert!(answer.client_reregister(), "it is echoed");
    assert!(!info(&node).client_reregister(), "and not kept");
    assert_eq!(notes.events(), [Event::LidChange, Event::GidChange, Event::SmChange, Event::ClientReregister]);
    set(&mut node, |info| info.set_port_state(PortState::ARMED));
    let (notes, _) = set(&mut node, |info| info.set_port_state(PortState::ACTIVE));
    assert_eq!(notes.events(), [Event::Active]);
    let mut keys = PKeyTable::default();
    keys.p_keys[3] = PKey::new(0x8123);
    let mut guids = GuidInfo::default();
    guids.guids[1] = Guid::new(5);
    for (packet, event) in [(attribute(&keys), Event::PKeyChange), (attribute(&guids), Event::GidChange)] {
        for expected in [&[event][..], &[]] {
            let mut notes = Notes::default();
            node.receive(NOW, PORT, &mut packet.clone(), &mut notes);
            assert_eq!(notes.events(), expected, "{event:?} once, and the same again changes nothing");
        }
    }
    let mut notes = Notes::default();
    node.link_down(NOW, PORT, &mut notes);
    assert_eq!(notes.events(), [Event::Inactive]);
}

/// A Set of an attribute without a modifier.
fn attribute<A: Attribute>(value: &A) -> Vec<u8> {
    let mut packet = from_neighbour(Method::SET, A::ID, 0);
    packet.smp.set_attribute(value);
    bytes(&packet)
}

#[test]
fn links_come_to_what_both_ends_have_enabled() {
    let of = |change: fn(&mut PortInfo)| {
        let mut info = info(&nodes()[0]);
        change(&mut info);
        info
    };
    let all = of(|_| {});
    assert_eq!(Link::between(&all, &all), Some(Link::EDR_4X));
    let slow = of(|info| {
        info.link_width_enabled = LinkWidth::X1;
        info.set_link_speed_enabled(LinkSpeed::SDR);
        info.set_link_speed_ext_enabled(LinkSpeedExt::empty());
    });
    assert_eq!(Link::between(&all, &slow), Some(Link { width: LinkWidth::X1, speed: Speed::Sdr }));
    let wide = of(|info| info.link_width_enabled = LinkWidth::X4);
    assert_eq!(Link::between(&wide, &slow), None);
}
