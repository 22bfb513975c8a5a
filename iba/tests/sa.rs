//! Subnet administration's formats, by the offsets at which the specification's tables have their components.

use iba::sa::{McMemberRecord, SaMad};
use iba::{Gid, GidPrefix, Guid, Lid, PKey, QKey, Sl};
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn a_membership_stands_where_it_belongs() {
    let mut record = McMemberRecord::default();
    record.mgid = Gid { prefix: GidPrefix::new(0xff12_0000_0000_0001), guid: Guid::new(2) };
    record.port_gid = Gid { prefix: GidPrefix::new(0xfe80_0000_0000_0000), guid: Guid::new(3) };
    (record.q_key, record.mlid, record.p_key) = (QKey::new(0x1122_3344), Lid::new(0xc005), PKey::new(0xffff));
    record.traffic_class = 0x77;
    record.set_mtu_code(5);
    record.set_sl(Sl::new(0xa));
    record.set_flow_label(0x1_2345);
    record.set_hop_limit(0x99);
    record.set_join_state(McMemberRecord::FULL_MEMBER);
    let mut mad = SaMad::new_zeroed();
    mad.component_mask = McMemberRecord::TO_CREATE.into();
    mad.set_record(&record);
    let bytes = mad.as_bytes();
    // The record (15.2.5.17) begins behind 56 bytes of headers.
    let expected: [(usize, &[u8]); 10] = [
        (48, &[0, 0, 0, 0, 0, 1, 0x30, 0xc7]),
        (56, &[0xff, 0x12, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]),
        (72, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]),
        (88, &[0x11, 0x22, 0x33, 0x44]),
        (92, &[0xc0, 0x05]),
        (94, &[5, 0x77]),
        (96, &[0xff, 0xff]),
        (98, &[0, 0]),
        (100, &[0xa1, 0x23, 0x45, 0x99]),
        (104, &[0x01, 0, 0, 0]),
    ];
    for (at, value) in expected {
        assert_eq!(&bytes[at..at + value.len()], value, "at {at}");
    }
    assert_eq!(*mad.record::<McMemberRecord>(), record);
}
