//! Records of subnet administration: their components are where `ib_types.h` of OpenSM has them, and match one by one.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use iba::sa::*;
use zerocopy::FromZeros;

/// Bits of each component of a record, found by changes of single bits.
fn check<R: Record + FromZeros>(bits: usize) {
    assert_eq!(
        R::COMPONENTS.iter().map(|&bits| usize::from(bits)).sum::<usize>(),
        bits,
        "all of the record but reserved"
    );
    let zero = R::new_zeroed();
    let mut end = 0;
    let ends: Vec<usize> = R::COMPONENTS
        .iter()
        .map(|&bits| {
            end += usize::from(bits);
            end
        })
        .collect();
    for bit in 0..bits {
        let mut bytes = zero.as_bytes().to_vec();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        let other = R::read_from_bytes(&bytes).unwrap();
        let component = ends.iter().position(|&end| bit < end).unwrap();
        for mask in 0..R::COMPONENTS.len() {
            assert_eq!(other.matches(&zero, 1 << mask), mask != component, "bit {bit}, component {mask}");
        }
    }
}

#[test]
fn each_component_matches_its_own_bits() {
    check::<NodeRecord>(8 * 108);
    check::<PortInfoRecord>(8 * 68);
    check::<SwitchInfoRecord>(8 * 21);
    check::<LinearForwardingRecord>(8 * 72);
    check::<MulticastForwardingRecord>(8 * 72);
    check::<GuidInfoRecord>(8 * 72);
    check::<PKeyTableRecord>(8 * 72);
    check::<SmInfoRecord>(8 * 25);
    check::<LinkRecord>(8 * 6);
    check::<PathRecord>(8 * 64);
    check::<McMemberRecord>(8 * 49 + 1);
    check::<InformInfo>(8 * 36);
    check::<InformInfoRecord>(8 * 60);
}

#[test]
fn components_have_the_numbers_of_others() {
    // (IB_PIR_COMPMASK_CAPMASK and so on: the bits before a component are those of all before it.)
    let start = |components: &[u16], component: u32| -> u32 {
        components[..component as usize].iter().map(|&bits| u32::from(bits)).sum()
    };
    assert_eq!(start(PortInfoRecord::COMPONENTS, PortInfoRecord::CAPABILITY_MASK), 8 * 24);
    assert_eq!(start(PortInfoRecord::COMPONENTS, 15), 8 * 36 + 4); // PORTSTATE
    assert_eq!(start(PortInfoRecord::COMPONENTS, 42), 8 * 54); // GUIDCAP
    assert_eq!(start(PortInfoRecord::COMPONENTS, 57), 8 * 67 + 3); // LINKSPDEXTENAB
    assert_eq!(start(PathRecord::COMPONENTS, PathRecord::DGID), 8 * 8);
    assert_eq!(start(PathRecord::COMPONENTS, PathRecord::PATHS), 8 * 49 + 1);
    assert_eq!(start(PathRecord::COMPONENTS, PathRecord::RATE), 8 * 55 + 2);
    assert_eq!(start(NodeRecord::COMPONENTS, 8), 8 * (4 + 20)); // PORTGUID
    assert_eq!(start(McMemberRecord::COMPONENTS, McMemberRecord::JOIN_STATE), 8 * 48 + 4);
}
