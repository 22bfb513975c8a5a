//! Set(PortInfo) against the table of [`super::port_rules`]: every byte with every value, every pair of states from
//! every state, and anything at random.

use iba::attr::{LinkSpeed, LinkSpeedExt, LinkWidth, PortInfo};
use proptest::prelude::*;

use super::{node, port_rules, unchanged};
use crate::NodeKind;
use crate::port::PortRole;
use crate::port_set::{Context, check};

const ROLES: [(PortRole, port_rules::Role); 3] = [
    (PortRole::Adapter, port_rules::Role::Adapter),
    (PortRole::Management, port_rules::Role::Management),
    (PortRole::External, port_rules::Role::External),
];

/// PortInfo of a port of this role that is set up and Active, that saw violations, and that has not all enabled that it
/// supports.
fn info(role: PortRole) -> PortInfo {
    let mut info = match role {
        PortRole::Adapter => node(NodeKind::ChannelAdapter).ports[0].info,
        PortRole::Management => node(NodeKind::Switch).ports[0].info,
        PortRole::External => node(NodeKind::Switch).ports[1].info,
    };
    info.link_width_enabled = LinkWidth::X4;
    info.set_link_speed_enabled(LinkSpeed::DDR);
    info.set_link_speed_ext_enabled(LinkSpeedExt::FDR);
    (info.m_key_violations, info.p_key_violations, info.q_key_violations) = (5.into(), 6.into(), 7.into());
    info
}

/// Checks one Set, and returns whether it is in order.
fn compare(roles: (PortRole, port_rules::Role), old: &[u8; 64], set: &[u8; 64], extended: bool) -> bool {
    let context = Context { role: roles.0, extended_speeds: extended, enforces: true };
    let (now, asked): (PortInfo, PortInfo) = (zerocopy::transmute!(*old), zerocopy::transmute!(*set));
    let next: Option<[u8; 64]> = check(&now, &asked, context).ok().map(|change| zerocopy::transmute!(change.next));
    let expected = port_rules::set(roles.1, old, set, extended);
    assert_eq!(next, expected, "{roles:?}, from {old:02x?}, with {set:02x?}, extended {extended}");
    next.is_some()
}

#[test]
fn every_byte_with_every_value_is_set_as_the_table_says() {
    for roles in ROLES {
        let old: [u8; 64] = zerocopy::transmute!(info(roles.0));
        let asked: [u8; 64] = zerocopy::transmute!(unchanged(&info(roles.0)));
        assert!(compare(roles, &old, &asked, true), "what a port says can be set again");
        for byte in 0..64 {
            for value in 0..=255 {
                let mut set = asked;
                set[byte] = value;
                compare(roles, &old, &set, false);
                compare(roles, &old, &set, true);
            }
        }
    }
}

#[test]
fn every_lid_with_every_lmc_is_set_as_the_table_says() {
    for roles in ROLES {
        let old: [u8; 64] = zerocopy::transmute!(info(roles.0));
        let mut set: [u8; 64] = zerocopy::transmute!(unchanged(&info(roles.0)));
        for (lmc, lid) in (0..8).flat_map(|lmc| (0..=0xffffu16).map(move |lid| (lmc, lid))) {
            set[34] = set[34] & 0xf8 | lmc;
            set[16..18].copy_from_slice(&lid.to_be_bytes());
            compare(roles, &old, &set, false);
        }
    }
}

#[test]
fn every_pair_of_states_is_set_from_every_state_as_the_table_says() {
    for roles in ROLES {
        for is in 0..=255 {
            let mut old: [u8; 64] = zerocopy::transmute!(info(roles.0));
            old[32] = old[32] & 0xf0 | is & 0x0f;
            old[33] = old[33] & 0x0f | is & 0xf0;
            for asked in 0..=255 {
                let mut set = old;
                set[32] = set[32] & 0xf0 | asked & 0x0f;
                set[33] = set[33] & 0x0f | asked & 0xf0;
                compare(roles, &old, &set, true);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn anything_is_set_as_the_table_says(
        old in any::<[u8; 64]>(),
        set in any::<[u8; 64]>(),
        keep in any::<u64>(),
        role in 0..3usize,
        extended in any::<bool>(),
    ) {
        // Most bytes as they are, so that some of these are in order.
        let mut asked = old;
        for (index, byte) in asked.iter_mut().enumerate() {
            if keep >> index & 1 == 0 {
                *byte = set[index];
            }
        }
        compare(ROLES[role], &old, &asked, extended);
    }
}
