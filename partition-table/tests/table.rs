//! Round trips of partition tables, and refusals.

use iba::Guid;
use partition_table::{
    AssignedHca, ImageName, ImageNameError, Lhca, MAX_ARGUMENTS, MAX_LHCAS, Name, NameError, Policy, Program,
    Qp0Policy, RefusalPolicy, Start, Table, TableError, Uplinks, encode, stable_guid,
};
use proptest::prelude::*;

const HEADER: usize = 96;
const RECORD: usize = 384;

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn lhcas(count: u16, uplinks: Uplinks) -> Vec<Lhca> {
    (0..count).map(|i| Lhca::new(name(&format!("lhca-{i}")), stable_guid("a", 2 + i), uplinks)).collect()
}

fn switches() -> [Guid; 2] {
    [stable_guid("a", 0), stable_guid("a", 1)]
}

#[test]
fn table_after_encode_parses_to_the_same_rows() {
    for count in [0, 1, 4, 253] {
        let lhcas = lhcas(count, Uplinks::FIRST);
        let bytes = encode(name("portico-0"), [switches()[0], Guid::default()], 0, &lhcas).unwrap();
        assert_eq!(bytes.len(), HEADER + RECORD * usize::from(count));
        let table = Table::parse(&bytes).unwrap();
        assert_eq!(table.name().text(), "portico-0");
        assert_eq!(
            (table.switch_guid(0), table.switch_guid(1), table.switch_guid(2)),
            (Some(switches()[0]), None, None)
        );
        assert_eq!(table.lhcas(), lhcas);
    }
}

#[test]
fn packed_form_has_the_documented_offsets() {
    let lhca = Lhca::new(name("l"), Guid::new(0x0200_0000_0000_0300), Uplinks::BOTH);
    let program = Program { image: &ImageName::new("echo").unwrap(), memory: 0x0102, arguments: "a=1" };
    let policy = Policy { refused: RefusalPolicy::Answer, ..Policy::new(Qp0Policy::Query) };
    let lhca = lhca.with_partition(&program).with_policy(policy);
    let lhca = lhca.with_start(Start::OnDemand).with_hca(AssignedHca::Present);
    let switches = [Guid::new(0x0200_0000_0000_0100), Guid::new(0x0200_0000_0000_0200)];
    let bytes = encode(name("h"), switches, 3, &[lhca]).unwrap();
    let mut expected = b"Portico\0\x05\0\x01\0\x03\0\0\0h".to_vec();
    expected.resize(80, 0);
    expected.extend([2, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0, b'l']);
    expected.resize(96 + 64, 0);
    expected.extend([2, 0, 0, 0, 0, 0, 3, 0, 3, 1, 1, 1, 2, 1, 0, 0, 0xd0, 7, 0, 0, 4, 0, 0, 0]);
    expected.extend(b"echo");
    expected.resize(96 + 120, 0);
    expected.extend(b"a=1");
    expected.resize(96 + 376, 0);
    expected.push(1);
    expected.resize(96 + RECORD, 0);
    assert_eq!(bytes, expected);
    let table = Table::parse(&bytes).unwrap();
    assert_eq!(table.spare_ports(), 3);
    assert_eq!(table.lhcas()[0].uplinks().iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(table.lhcas()[0].partition(), Some(program));
    assert_eq!(program.bytes(), 0x102 << 20);
    assert_eq!(Lhca::parse(&bytes[HEADER..]), Ok(lhca), "a row alone");
    assert_eq!(Lhca::parse(&bytes[HEADER + 1..]), Err(TableError::Length { bytes: RECORD - 1 }));
}

#[test]
fn table_with_a_damaged_byte_is_refused() {
    let good = encode(name("h"), switches(), 0, &lhcas(2, Uplinks::FIRST)).unwrap();
    let length = |bytes| TableError::Length { bytes };
    let choice = |choice, value| TableError::Choice { name: name("lhca-0"), choice, value };
    let table: [(usize, u8, TableError); 18] = [
        (0, b'p', TableError::Magic),
        (8, 1, TableError::Version(1)),
        (10, 3, length(HEADER + 2 * RECORD)),
        (12, 252, TableError::TooMany { uplink: 0, ports: 254 }),
        (13, 1, TableError::Reserved),
        (16, 0, TableError::Name(NameError::Empty)),
        (HEADER + 1, 0xff, TableError::Name(NameError::NotText)),
        (HEADER + 72, 4, TableError::Uplinks(name("lhca-0"), 4)),
        (HEADER + 73, 3, choice("the policy of queue pair 0", 3)),
        (HEADER + 74, 2, choice("the reaction to refused packets", 2)),
        (HEADER + 75, 9, choice("the start of the partition", 9)),
        (HEADER + 88, b'a', TableError::Memory(name("lhca-0"))),
        (HEADER + 119, b'a', TableError::Image(ImageNameError)),
        (HEADER + 120, 0xff, TableError::Arguments(name("lhca-0"))),
        (HEADER + 375, b'a', TableError::Arguments(name("lhca-0"))),
        (HEADER + 376, 1, TableError::Hca(name("lhca-0"))),
        (HEADER + 376, 2, choice("the assigned HCA", 2)),
        (HEADER + RECORD - 1, 1, TableError::Reserved),
    ];
    for (offset, value, error) in table {
        let mut bad = good.clone();
        bad[offset] = value;
        assert_eq!(Table::parse(&bad).unwrap_err(), error);
    }
    for cut in 0..good.len() {
        assert_eq!(Table::parse(&good[..cut]).unwrap_err(), length(cut));
    }
}

#[test]
fn table_with_conflicting_rows_is_not_packed() {
    let refused = |switches, lhcas: &[Lhca]| encode(name("h"), switches, 0, lhcas).unwrap_err();
    let [first, second] = switches();
    let pair = lhcas(2, Uplinks::BOTH);
    let near = Guid::new(pair[0].node_guid().get() + 2);
    assert_eq!(refused(switches(), &[pair[0], pair[0]]), TableError::SameName(*pair[0].name()));
    let twin = Lhca::new(name("twin"), near, Uplinks::FIRST);
    assert_eq!(refused(switches(), &[pair[0], twin]), TableError::SameGuid(pair[0].node_guid(), near));
    let switch = Lhca::new(name("switch"), second, Uplinks::FIRST);
    assert_eq!(refused(switches(), &[switch]), TableError::SameGuid(second, second));
    assert_eq!(refused([first, Guid::default()], &pair), TableError::NoSwitch { uplink: 1 });
    let without_guid = Lhca::new(name("a"), Guid::default(), Uplinks::FIRST);
    assert_eq!(refused(switches(), &[without_guid]), TableError::Guid(Guid::default()));
    let crowd = lhcas(254, Uplinks::SECOND);
    assert_eq!(refused(switches(), &crowd), TableError::TooMany { uplink: 1, ports: usize::from(MAX_LHCAS) + 1 });
    // Each switch may be full.
    let mut both = lhcas(253, Uplinks::FIRST);
    both.extend((0..253).map(|i| Lhca::new(name(&format!("b{i}")), stable_guid("a", 1000 + i), Uplinks::SECOND)));
    assert!(encode(name("h"), switches(), 0, &both).is_ok());
    assert_eq!(
        encode(name("h"), switches(), 1, &both),
        Err(TableError::TooMany { uplink: 0, ports: usize::from(MAX_LHCAS) + 1 }),
        "253 LHCAs leave no spare port"
    );
}

#[test]
fn name_with_control_characters_is_refused() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new(&"x".repeat(65)), Err(NameError::TooLong(65)));
    assert_eq!(Name::new(&"x".repeat(64)).unwrap().text().len(), 64);
    for bad in ["a\nb", "a\0b", "\u{7f}"] {
        assert_eq!(Name::new(bad), Err(NameError::NotText));
    }
    assert_eq!(name("Zürich 1").to_string(), "Zürich 1");
}

#[test]
fn arguments_beyond_the_limit_are_cut_at_a_character() {
    let image = ImageName::new("echo").unwrap();
    let long = "\u{e4}".repeat(MAX_ARGUMENTS);
    let program = Program { image: &image, memory: 2, arguments: &long };
    let lhca = lhcas(1, Uplinks::FIRST)[0].with_partition(&program);
    assert_eq!(lhca.partition().unwrap().arguments, "\u{e4}".repeat(MAX_ARGUMENTS / 2));
}

#[test]
fn image_name_with_other_characters_is_refused() {
    for good in ["echo", "a", "x-1", &"z".repeat(32)] {
        assert_eq!(ImageName::new(good).unwrap().to_string(), good);
    }
    for bad in ["", "Echo", "a b", "a/b", "\u{e4}", &"z".repeat(33)] {
        assert_eq!(ImageName::new(bad), Err(ImageNameError));
    }
}

#[test]
fn stable_guid_is_constant_and_locally_administered() {
    // Subnet managers keep GUIDs over restarts: these must never change.
    assert_eq!(stable_guid("portico-0", 0), Guid::new(0x026f_b8f2_d500_0000));
    assert_ne!(stable_guid("portico-0", 1), stable_guid("portico-1", 1));
    for node in [0, 1, 2, 255, 256, u16::MAX] {
        let guid = stable_guid("portico-0", node).get();
        assert_eq!(guid >> 56, 0x02, "locally administered, not a group");
        assert_eq!(guid & 0xff, 0, "room for the ports");
    }
}

#[test]
fn word_of_each_choice_parses_back() {
    for &qp0 in Qp0Policy::VALUES {
        assert_eq!(qp0.to_string().parse(), Ok(qp0));
    }
    for &refused in RefusalPolicy::VALUES {
        assert_eq!(refused.to_string().parse(), Ok(refused));
    }
    let error = "all".parse::<Qp0Policy>().unwrap_err().to_string();
    assert_eq!(error, r#"unknown word; use one of ["none", "query", "manager"]"#);
}

#[test]
fn policy_of_a_manager_has_a_higher_default_rate() {
    let rates = Qp0Policy::VALUES.iter().map(|&qp0| Policy::new(qp0).smps_per_second);
    assert_eq!(rates.collect::<Vec<_>>(), [2_000, 2_000, 1_000_000]);
    assert_eq!(Policy::default(), Policy::new(Qp0Policy::Closed));
}

proptest! {
    #[test]
    fn parser_of_any_bytes_does_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0..4_u8) {
        let _ = Table::parse(&bytes);
        let good = encode(name("h"), switches(), 0, &lhcas(3, Uplinks::FIRST)).unwrap();
        let head = bytes.len().min(12);
        bytes[..head].copy_from_slice(&good[..head]);
        if let Some(lhcas) = bytes.get_mut(10) {
            *lhcas = count;
        }
        let _ = Table::parse(&bytes);
    }
}
