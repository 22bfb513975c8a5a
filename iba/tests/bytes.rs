//! Any bytes are a value of any format, and the same bytes again; printing a value never fails.

use std::fmt::Debug;

use iba::attr::*;
use iba::mad::{Attribute, Mad};
use iba::notice::*;
use iba::packet::UdHeader;
use iba::pma::*;
use iba::smp::{SMP_DATA, Smp};
use iba::*;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// Reads the front of `bytes` as a format, and writes it again.
fn there_and_back<T: Format + Debug>(bytes: &[u8]) {
    let value = T::read_from_prefix(bytes).expect("more bytes than any format has").0;
    assert_eq!(value.as_bytes(), &bytes[..size_of::<T>()]);
    assert!(!format!("{value:?}").is_empty());
}

/// Reads an attribute from an SMP, changes it there, and puts it into another, where it leaves zeros after itself.
fn in_smp<A: Attribute + Debug + Copy + PartialEq>(bytes: &[u8; 256]) {
    there_and_back::<A>(bytes);
    let mut smp: Smp = zerocopy::transmute!(*bytes);
    let attribute: A = *smp.attribute();
    assert_eq!(attribute.as_bytes(), &bytes[64..64 + size_of::<A>()]);

    smp.attribute_mut::<A>().as_mut_bytes().fill(0xaa);
    let mut expected = *bytes;
    expected[64..64 + size_of::<A>()].fill(0xaa);
    assert_eq!(smp.as_bytes(), expected);

    smp.set_attribute(&attribute);
    expected[64..64 + SMP_DATA].fill(0);
    expected[64..64 + size_of::<A>()].copy_from_slice(attribute.as_bytes());
    assert_eq!(smp.as_bytes(), expected);
}

/// The same for a performance MAD.
fn in_perf_mad<A: Attribute + Debug + Copy + PartialEq>(bytes: &[u8; 256]) {
    there_and_back::<A>(bytes);
    let mut mad: PerfMad = zerocopy::transmute!(*bytes);
    let attribute: A = *mad.attribute();
    assert_eq!(attribute.as_bytes(), &bytes[64..64 + size_of::<A>()]);

    mad.attribute_mut::<A>().as_mut_bytes().fill(0xaa);
    let mut expected = *bytes;
    expected[64..64 + size_of::<A>()].fill(0xaa);
    assert_eq!(mad.as_bytes(), expected);

    mad.set_attribute(&attribute);
    expected[64..].fill(0);
    expected[64..64 + size_of::<A>()].copy_from_slice(attribute.as_bytes());
    assert_eq!(mad.as_bytes(), expected);
}

proptest! {
    #[test]
    fn formats(bytes: [u8; 256]) {
        there_and_back::<Smp>(&bytes);
        there_and_back::<Mad>(&bytes);
        there_and_back::<PerfMad>(&bytes);
        there_and_back::<UdHeader>(&bytes);
        there_and_back::<grh::Grh>(&bytes);
        there_and_back::<ReportedNotice>(&bytes);
        there_and_back::<GidChange>(&bytes);
        there_and_back::<LinkStateChange>(&bytes);
        there_and_back::<PortThreshold>(&bytes);
        there_and_back::<LocalChange>(&bytes);
        there_and_back::<SystemImageGuidChange>(&bytes);
        there_and_back::<BadMKey>(&bytes);
        there_and_back::<BadKey>(&bytes);
        there_and_back::<BadPKeySwitch>(&bytes);
    }

    #[test]
    fn attributes_of_subnet_management(bytes: [u8; 256]) {
        in_smp::<Notice>(&bytes);
        in_smp::<NodeDescription>(&bytes);
        in_smp::<NodeInfo>(&bytes);
        in_smp::<SwitchInfo>(&bytes);
        in_smp::<GuidInfo>(&bytes);
        in_smp::<PortInfo>(&bytes);
        in_smp::<PKeyTable>(&bytes);
        in_smp::<SlToVlMapping>(&bytes);
        in_smp::<VlArbitration>(&bytes);
        in_smp::<LinearForwardingBlock>(&bytes);
        in_smp::<RandomForwardingBlock>(&bytes);
        in_smp::<MulticastForwardingBlock>(&bytes);
        in_smp::<SmInfo>(&bytes);
        in_smp::<VendorDiag>(&bytes);
        in_smp::<LedInfo>(&bytes);
        // A program that prints a node's description prints the bytes that the node sent.
        let _ = NodeDescription::read_from_bytes(&bytes[..64]).unwrap().to_string();
    }

    #[test]
    fn attributes_of_performance_management(bytes: [u8; 256]) {
        in_perf_mad::<ClassPortInfo>(&bytes);
        in_perf_mad::<PortSamplesControl>(&bytes);
        in_perf_mad::<PortSamplesResult>(&bytes);
        in_perf_mad::<PortCounters>(&bytes);
        in_perf_mad::<PortCountersExtended>(&bytes);
    }

    /// A path has as many ports as a directed route can have hops, and an entry 0.
    #[test]
    fn paths_end_the_smp(bytes: [u8; 256], hop in 0usize..64) {
        let smp: Smp = zerocopy::transmute!(bytes);
        prop_assert_eq!(smp.initial_path[hop].get(), bytes[128 + hop]);
        prop_assert_eq!(smp.return_path[hop].get(), bytes[192 + hop]);
    }

    #[test]
    fn notice_holds_its_details(guid: u64) {
        let mut details = SystemImageGuidChange::default();
        (details.lid, details.system_image_guid) = (Lid::new(7), Guid::new(guid));
        let notice =
            Notice::new(TrapNumber::SYSTEM_IMAGE_GUID_CHANGE, ProducerType::CHANNEL_ADAPTER, Lid::new(7), &details);
        prop_assert_eq!(notice.details::<SystemImageGuidChange>(), &details);
        prop_assert_eq!(&notice.as_bytes()[..18], &[0x84, 0, 0, 1, 0, 145, 0, 7, 0, 0, 0, 0, 0, 7, 0, 0, guid.to_be_bytes()[0], guid.to_be_bytes()[1]]);
        prop_assert_eq!(&notice.as_bytes()[24..], &[0; 40]);
    }

    #[test]
    fn numbers_order_as_they_are(a: u64, b: u64, c: u16, d: u16) {
        prop_assert_eq!(Guid::new(a).cmp(&Guid::new(b)), a.cmp(&b));
        prop_assert_eq!(Lid::new(c).cmp(&Lid::new(d)), c.cmp(&d));
        prop_assert_eq!(Lid::UNICAST.contains(&Lid::new(c)), Lid::new(c).is_unicast());
        prop_assert_eq!(Lid::MULTICAST.contains(&Lid::new(c)), Lid::new(c).is_multicast());
    }

    #[test]
    fn description_is_cut_between_characters(text: String) {
        let kept = NodeDescription::new(&text).to_string();
        let before_zero = text.split('\0').next().unwrap();
        prop_assert!(before_zero.starts_with(&kept));
        prop_assert!(kept.len() > 60 || kept == before_zero, "{kept:?} is too short for {text:?}");
    }
}

#[test]
fn people_read_numbers_as_the_tools_write_them() {
    let printed = |value: &dyn Debug, text: &str| assert_eq!(format!("{value:?}"), text);
    assert_eq!(Lid::new(3).to_string(), "0x0003");
    assert_eq!(Guid::new(0x0200_0000_0000_0001).to_string(), "0x0200000000000001");
    assert_eq!(Qpn::new(1).to_string(), "0x000001");
    assert_eq!(PortNum::new(12).to_string(), "12");
    assert_eq!(PortState::ACTIVE.to_string(), "Active");
    assert_eq!(PortState::new(9).to_string(), "0x9");
    assert_eq!(Gid { prefix: GidPrefix::DEFAULT, guid: Guid::new(1) }.to_string(), "fe80::1");
    printed(&Lid::PERMISSIVE, "Lid(0xffff)");
    printed(&NodeType::SWITCH, "NodeType(Switch)");
    printed(&mad::Method::new(0x55), "Method(0x55)");
}

#[test]
fn members_of_a_partition_match() {
    let key = PKey::new;
    assert!(key(0x8001).matches(key(0x8001)) && key(0x8001).matches(key(0x0001)) && key(0x0001).matches(key(0x8001)));
    assert!(!key(0x0001).matches(key(0x0001)), "two limited members");
    assert!(!key(0x8001).matches(key(0x8002)), "two partitions");
    assert!(!key(0x8000).matches(key(0x8000)), "the invalid key");
}

#[test]
fn codes_are_numbers_of_bytes_and_lanes() {
    assert_eq!(
        (0..8).map(|code| Mtu::new(code).bytes()).collect::<Vec<_>>(),
        [None, Some(256), Some(512), Some(1024), Some(2048), Some(4096), None, None]
    );
    assert_eq!(
        (0..8).map(|code| VlCap::new(code).lanes()).collect::<Vec<_>>(),
        [None, Some(1), Some(2), Some(4), Some(8), Some(15), None, None]
    );
}
