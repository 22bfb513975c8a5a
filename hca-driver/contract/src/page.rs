//! Comparison of the tables in `book/src/bar2.md` with the constants of this crate.

use std::vec::Vec;

use crate::{
    BAR2_SIZE, COUNTERS, Counter, LinkRequest, LinkState, MAGIC, MAX_PORTS, PACKET_SLOT, QP0_SLOT, Ring, STATUS_VECTOR,
    VECTORS, VERSION, control, device, driver, port, port_offset, ring_control_offset, ring_offset, slot,
};

const PAGE: &str = include_str!("../../../book/src/bar2.md");

/// Returns the cells of each row between `heading` and the next heading whose first cell is a number. Backquotes are
/// removed, and numbers stay text.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split_once(&std::format!("\n{heading}\n")).expect("the page has the heading").1;
    let lines = section.lines().take_while(|line| !line.starts_with('#'));
    let cells = lines.filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = cells.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
    rows.filter(|row| row[0].starts_with(|first: char| first.is_ascii_digit())).collect()
}

fn number(text: &str) -> usize {
    match text.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// Returns number and name of each row of the table below `heading`, in order.
fn table(heading: &str) -> Vec<(usize, &'static str)> {
    rows(heading).iter().map(|row| (number(row[0]), row[1])).collect()
}

#[test]
fn constants_of_the_page_match() {
    let map = rows("## Map");
    let constants = map.iter().filter(|row| row[1].starts_with(|first: char| first.is_ascii_uppercase()));
    let constants: Vec<_> = constants.map(|row| (number(row[0]), row[1])).collect();
    let expected = [
        (BAR2_SIZE, "BAR2_SIZE"),
        (MAGIC as usize, "MAGIC"),
        (VERSION as usize, "VERSION"),
        (MAX_PORTS.into(), "MAX_PORTS"),
        (Ring::Qp0Send.slots() as usize, "SLOTS"),
        (QP0_SLOT, "QP0_SLOT"),
        (PACKET_SLOT, "PACKET_SLOT"),
        (STATUS_VECTOR.into(), "STATUS_VECTOR"),
        (VECTORS.into(), "VECTORS"),
        (device::HEARTBEAT_PERIOD_MS.try_into().unwrap(), "HEARTBEAT_PERIOD_MS"),
        (device::HEARTBEAT_TIMEOUT_MS.try_into().unwrap(), "HEARTBEAT_TIMEOUT_MS"),
    ];
    assert_eq!(constants, expected);
    assert!(Ring::ALL.iter().all(|ring| ring.slots() == Ring::Qp0Send.slots()), "SLOTS holds for each ring");
}

#[test]
fn offsets_of_the_page_match() {
    let device_page = [
        (device::MAGIC, "MAGIC"),
        (device::VERSION, "VERSION"),
        (device::GENERATION, "GENERATION"),
        (device::HEARTBEAT, "HEARTBEAT"),
        (device::PORTS, "PORTS"),
        (device::DOORBELL_TARGET, "DOORBELL_TARGET"),
        (device::NODE_GUID, "NODE_GUID"),
        (device::SYSTEM_IMAGE_GUID, "SYSTEM_IMAGE_GUID"),
        (device::VENDOR_ID, "VENDOR_ID"),
        (device::DEVICE_ID, "DEVICE_ID"),
    ];
    assert_eq!(table("## Device page"), device_page);
    let driver_page = [(driver::GENERATION, "GENERATION"), (driver::RELEASED, "RELEASED")];
    assert_eq!(table("## Driver page"), driver_page);
    let port_page = [
        (port::LINK, "LINK"),
        (port::LINK_REQUEST_DONE, "LINK_REQUEST_DONE"),
        (port::COUNTERS, "COUNTERS"),
        (port::LINK_REQUEST, "LINK_REQUEST"),
        (port::RINGS, "RINGS"),
    ];
    assert_eq!(table("## Port page"), port_page);
    let ring_control = [
        (control::PRODUCED, "PRODUCED"),
        (control::SPACE_EVENT, "SPACE_EVENT"),
        (control::CONSUMED, "CONSUMED"),
        (control::DATA_EVENT, "DATA_EVENT"),
    ];
    assert_eq!(table("### Ring control"), ring_control);
    let slots = rows("### Slots");
    let header: Vec<_> = slots[Ring::ALL.len()..].iter().map(|row| (number(row[0]), row[1])).collect();
    assert_eq!(header, [(slot::INDEX, "INDEX"), (slot::LENGTH, "LENGTH"), (slot::PACKET, "PACKET")]);
}

#[test]
fn formulas_of_the_page_match() {
    for number in 0..MAX_PORTS {
        assert_eq!(port_offset(number), 0x2000 + 0x2000 * usize::from(number));
        for ring in Ring::ALL {
            let control = port_offset(number) + 0x1100 + 0x80 * ring as usize;
            assert_eq!(ring_control_offset(number, ring), control);
        }
    }
    let slots = rows("### Slots");
    let first: Vec<_> = slots[..Ring::ALL.len()].iter().map(|row| (number(row[0]), number(row[1]), row[2])).collect();
    let expected = Ring::ALL.map(|ring| (ring_offset(0, ring), ring_offset(1, ring), name(ring)));
    assert_eq!(first, expected);
}

#[test]
fn rings_of_the_page_match() {
    let rings = rows("## Rings");
    assert_eq!(rings.len(), Ring::ALL.len());
    for (row, ring) in rings.iter().zip(Ring::ALL) {
        let stride = if ring.stride() == QP0_SLOT { "QP0_SLOT" } else { "PACKET_SLOT" };
        let (base, _) = row[5].split_once(" + 2 x port").unwrap();
        assert_eq!((number(row[0]), row[1], row[4]), (ring as usize, name(ring), stride));
        assert_eq!([0, 1].map(|port| number(base) + 2 * port), [0, 1].map(|port| usize::from(ring.vector(port))));
    }
}

#[test]
fn values_of_the_page_match() {
    let bits = [0, port::LINK_WIDTH_SHIFT, port::LINK_SPEED_SHIFT, port::LINK_SPEED_EXT_SHIFT, port::LINK_EPOCH_SHIFT];
    let links = rows("## Links");
    let (fields, values) = links.split_at(bits.len());
    let first_bits: Vec<_> =
        fields.iter().map(|row| row[0].split_once('-').unwrap().0.parse::<u32>().unwrap()).collect();
    assert_eq!(first_bits, bits);
    let values: Vec<_> = values.iter().map(|row| (number(row[0]), row[1])).collect();
    let expected = [
        (LinkState::Disabled as usize, "Disabled"),
        (LinkState::Polling as usize, "Polling"),
        (LinkState::Up as usize, "Up"),
        (LinkRequest::Disable as usize, "Disable"),
        (LinkRequest::Enable as usize, "Enable"),
        (LinkRequest::Retrain as usize, "Retrain"),
    ];
    assert_eq!(values, expected);
    assert_eq!(port::LINK_REQUEST_SEQ_SHIFT, 32);
    let counters = [
        (Counter::XmitPackets as usize, "XmitPackets"),
        (Counter::XmitBytes as usize, "XmitBytes"),
        (Counter::RcvPackets as usize, "RcvPackets"),
        (Counter::RcvBytes as usize, "RcvBytes"),
        (Counter::RcvErrors as usize, "RcvErrors"),
        (Counter::Vl15Dropped as usize, "Vl15Dropped"),
        (Counter::XmitDiscards as usize, "XmitDiscards"),
        (Counter::LinkDowned as usize, "LinkDowned"),
    ];
    assert_eq!(counters.len(), COUNTERS);
    assert_eq!(table("## Counters"), counters);
}

fn name(ring: Ring) -> &'static str {
    match ring {
        Ring::Qp0Send => "Qp0Send",
        Ring::Qp0Receive => "Qp0Receive",
        Ring::PacketSend => "PacketSend",
        Ring::PacketReceive => "PacketReceive",
    }
}
