//! All 2^32 triples of class, method and attribute, against a table of rules that was written apart from the dispatch.

use std::ops::RangeInclusive;
use std::thread;

use iba::mad::{AttributeId, Class, Method, Status};
use subnet::{Action, NodeKind, PerformanceAttribute as P, SubnetAttribute as S, classify};

const BAD_METHOD: Action = Action::Refuse(Status::new(0x08));
const BAD_ATTRIBUTE: Action = Action::Refuse(Status::new(0x0c));

/// A rule for some methods and attributes of some classes; a later one goes before an earlier one.
struct Rule {
    classes: &'static [u8],
    methods: RangeInclusive<u8>,
    attributes: RangeInclusive<u16>,
    action: Action,
}

const SUBNET: &[u8] = &[0x01, 0x81];
const PERFORMANCE: &[u8] = &[0x04];
const ALL: RangeInclusive<u16> = 0..=0xffff;

const fn rule(
    classes: &'static [u8],
    methods: RangeInclusive<u8>,
    attributes: RangeInclusive<u16>,
    action: Action,
) -> Rule {
    Rule { classes, methods, attributes, action }
}

const fn one(classes: &'static [u8], method: u8, attribute: u16, action: Action) -> Rule {
    rule(classes, method..=method, attribute..=attribute, action)
}

/// Acts of every node. Classes that are not named here are delivered.
const COMMON: &[Rule] = &[
    // Subnet management: requests, and responses.
    rule(SUBNET, 0x00..=0x7f, ALL, BAD_METHOD),
    rule(SUBNET, 0x80..=0xff, ALL, Action::Discard),
    rule(SUBNET, 0x81..=0x81, ALL, Action::Deliver),
    rule(SUBNET, 0x05..=0x06, ALL, Action::TellManager),
    rule(SUBNET, 0x86..=0x86, ALL, Action::TellManager),
    rule(SUBNET, 0x07..=0x07, ALL, Action::Discard),
    one(SUBNET, 0x07, 0x0002, Action::Repress),
    rule(SUBNET, 0x01..=0x02, ALL, BAD_ATTRIBUTE),
    rule(SUBNET, 0x01..=0x02, 0x0020..=0x0020, Action::AskManager),
    one(SUBNET, 0x01, 0x0010, Action::Get(S::NodeDescription)),
    one(SUBNET, 0x01, 0x0011, Action::Get(S::NodeInfo)),
    one(SUBNET, 0x01, 0x0014, Action::Get(S::GuidInfo)),
    one(SUBNET, 0x02, 0x0014, Action::Set(S::GuidInfo)),
    one(SUBNET, 0x01, 0x0015, Action::Get(S::PortInfo)),
    one(SUBNET, 0x02, 0x0015, Action::Set(S::PortInfo)),
    one(SUBNET, 0x01, 0x0016, Action::Get(S::PKeyTable)),
    one(SUBNET, 0x02, 0x0016, Action::Set(S::PKeyTable)),
    one(SUBNET, 0x01, 0x0017, Action::Get(S::SlToVlMappingTable)),
    one(SUBNET, 0x02, 0x0017, Action::Set(S::SlToVlMappingTable)),
    one(SUBNET, 0x01, 0x0018, Action::Get(S::VlArbitrationTable)),
    one(SUBNET, 0x02, 0x0018, Action::Set(S::VlArbitrationTable)),
    // Performance management.
    rule(PERFORMANCE, 0x00..=0x7f, ALL, BAD_METHOD),
    rule(PERFORMANCE, 0x05..=0x07, ALL, Action::Discard),
    rule(PERFORMANCE, 0x80..=0xff, ALL, Action::Deliver),
    rule(PERFORMANCE, 0x01..=0x02, ALL, BAD_ATTRIBUTE),
    one(PERFORMANCE, 0x01, 0x0001, Action::Read(P::ClassPortInfo)),
    one(PERFORMANCE, 0x01, 0x0010, Action::Read(P::PortSamplesControl)),
    one(PERFORMANCE, 0x02, 0x0010, Action::Write(P::PortSamplesControl)),
    one(PERFORMANCE, 0x01, 0x0011, Action::Read(P::PortSamplesResult)),
    one(PERFORMANCE, 0x01, 0x0012, Action::Read(P::PortCounters)),
    one(PERFORMANCE, 0x02, 0x0012, Action::Write(P::PortCounters)),
    one(PERFORMANCE, 0x01, 0x001d, Action::Read(P::PortCountersExtended)),
    one(PERFORMANCE, 0x02, 0x001d, Action::Write(P::PortCountersExtended)),
];

/// Acts of switches alone.
const OF_SWITCHES: &[Rule] = &[
    one(SUBNET, 0x01, 0x0012, Action::Get(S::SwitchInfo)),
    one(SUBNET, 0x02, 0x0012, Action::Set(S::SwitchInfo)),
    one(SUBNET, 0x01, 0x0019, Action::Get(S::LinearForwardingTable)),
    one(SUBNET, 0x02, 0x0019, Action::Set(S::LinearForwardingTable)),
    one(SUBNET, 0x01, 0x001b, Action::Get(S::MulticastForwardingTable)),
    one(SUBNET, 0x02, 0x001b, Action::Set(S::MulticastForwardingTable)),
];

/// Rule for all attributes of a class and method.
fn expected(kind: NodeKind, class: u8, method: u8, row: &mut [Action]) {
    row.fill(Action::Deliver);
    let more = if kind == NodeKind::Switch { OF_SWITCHES } else { &[] };
    for rule in COMMON.iter().chain(more) {
        if rule.classes.contains(&class) && rule.methods.contains(&method) {
            row[usize::from(*rule.attributes.start())..=usize::from(*rule.attributes.end())].fill(rule.action);
        }
    }
}

/// Compares all triples of these classes; returns how many there were.
fn compare(kind: NodeKind, classes: RangeInclusive<u8>) -> u64 {
    let mut row = vec![Action::Deliver; 0x1_0000];
    let mut compared = 0;
    for class in classes {
        for method in 0..=0xff {
            expected(kind, class, method, &mut row);
            let (class, method) = (Class::new(class), Method::new(method));
            let differ = |&(attribute, expected): &(u16, &Action)| {
                classify(kind, class, method, AttributeId::new(attribute)) != *expected
            };
            let wrong = (0..=0xffff).zip(&row).find(differ);
            assert_eq!(wrong, None, "{kind:?}, {class:?}, {method:?}");
            compared += 0x1_0000;
        }
    }
    compared
}

#[test]
fn every_triple_is_dispatched_as_the_rules_say() {
    for kind in [NodeKind::Switch, NodeKind::ChannelAdapter] {
        let halves = [0x00..=0x7f, 0x80..=0xff].map(|classes| thread::spawn(move || compare(kind, classes)));
        let compared: u64 = halves.into_iter().map(|half| half.join().expect("all are as expected")).sum();
        assert_eq!(compared, 1 << 32);
    }
}
