//! Datagrams that ibsim 0.10 answered to smpquery (infiniband-diags, Debian 12), and what smpquery made of them.

use iba::attr::*;
use iba::mad::{Attribute, AttributeId, Class, Method, Status};
use iba::smp::Smp;
use iba::{GidPrefix, Guid, Lid, MKey, PortNum, TransactionId, VendorId};
use zerocopy::FromBytes;

/// An SMP from its first bytes, the first ones of its data, and as many of each of its paths.
fn smp(head: &str, data: &str, paths: &str) -> Smp {
    let bytes = |hex: &str| -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hexadecimal digits"))
            .collect()
    };
    let mut all = bytes(head);
    all.resize(64, 0);
    all.extend(bytes(data));
    all.resize(128, 0);
    let paths = bytes(paths);
    let (initial, back) = paths.split_at(paths.len() / 2);
    all.extend(initial);
    all.resize(192, 0);
    all.extend(back);
    all.resize(256, 0);
    Smp::read_from_bytes(&all).expect("256 bytes")
}

/// `smpquery -D nodeinfo 0`
#[test]
fn node_info() {
    let smp = smp(
        "0181 0181 8000 0000 0000 0001 190f 81a7 0011 0000 0000 0000 0000 0000 0000 0000 ffff ffff",
        "0101 0102 0000 0000 0010 0000 0000 0000 0010 0000 0000 0000 0010 0001 0040 5a44 0000 00a1 0100 02c9",
        "",
    );
    assert_eq!(smp.header.base_version, 1);
    assert_eq!(smp.header.class, Class::SUBN_DIRECTED_ROUTE);
    assert_eq!(smp.header.class_version, Smp::CLASS_VERSION);
    assert_eq!(smp.header.method, Method::GET_RESP);
    assert!(smp.header.method.is_response() && smp.is_returning());
    assert_eq!(smp.status(), Status::OK);
    assert_eq!((smp.hop_pointer(), smp.hop_count()), (0, 0));
    assert_eq!(smp.header.transaction_id, TransactionId::new(0x1_190f_81a7));
    assert_eq!(smp.header.attribute_id, <NodeInfo as Attribute>::ID);
    assert_eq!((smp.dr_slid, smp.dr_dlid), (Lid::PERMISSIVE, Lid::PERMISSIVE));

    let info: &NodeInfo = smp.attribute();
    assert_eq!((info.base_version, info.class_version), (1, 1));
    assert_eq!(info.node_type, NodeType::CHANNEL_ADAPTER);
    assert_eq!(info.num_ports, 2);
    assert_eq!(info.system_image_guid, Guid::new(0x10_0000));
    assert_eq!(info.node_guid, Guid::new(0x10_0000));
    assert_eq!(info.port_guid, Guid::new(0x10_0001));
    assert_eq!(info.partition_cap.get(), 64);
    assert_eq!(info.device_id.get(), 0x5a44);
    assert_eq!(info.revision.get(), 0xa1);
    assert_eq!(info.local_port, PortNum::new(1));
    assert_eq!(info.vendor_id, VendorId::new(0x2c9));
}

/// `smpquery -D portinfo 0 1`
#[test]
fn port_info() {
    let smp = smp(
        "0181 0181 8000 0000 0000 0001 02e0 c30a 0015 0000 0000 0001 0000 0000 0000 0000 ffff ffff",
        "0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0050 c048 0000 0ff9 0102 1f02
         7252 0011 4040 0008 0804 e040 0000 0000 0000 201f 0000 0000 0000 0000 0030 0000",
        "",
    );
    assert_eq!(smp.header.attribute_id, AttributeId::PORT_INFO);
    assert_eq!(smp.header.attribute_modifier.get(), 1);

    let info: &PortInfo = smp.attribute();
    assert_eq!((info.m_key, info.gid_prefix), (MKey::new(0), GidPrefix::new(0)));
    assert_eq!((info.lid, info.master_sm_lid), (Lid::UNASSIGNED, Lid::UNASSIGNED));
    assert_eq!(
        info.capability_mask(),
        CapabilityMask::TRAP
            | CapabilityMask::SL_MAPPING
            | CapabilityMask::EXTENDED_SPEEDS
            | CapabilityMask::CAPABILITY_MASK2
            | CapabilityMask::VENDOR_CLASS
            | CapabilityMask::CAPABILITY_MASK_NOTICE
    );
    assert_eq!(info.m_key_lease_period.get(), 4089);
    assert_eq!(info.local_port, PortNum::new(1));
    assert_eq!((info.link_width_enabled, info.link_width_active), (LinkWidth::X4, LinkWidth::X4));
    assert_eq!(
        info.link_width_supported,
        LinkWidth::X1 | LinkWidth::X2 | LinkWidth::X4 | LinkWidth::X8 | LinkWidth::X12
    );
    assert_eq!(info.link_speed_supported(), LinkSpeed::SDR | LinkSpeed::DDR | LinkSpeed::QDR);
    assert_eq!((info.link_speed_active(), info.link_speed_enabled()), (LinkSpeed::SDR, LinkSpeed::SDR));
    assert_eq!(info.port_state(), PortState::INIT);
    assert_eq!(info.physical_state(), PortPhysicalState::LINK_UP);
    assert_eq!(info.link_down_default_state(), PortPhysicalState::POLLING);
    assert_eq!((info.neighbor_mtu(), info.mtu_cap()), (Mtu::B2048, Mtu::B2048));
    assert_eq!((info.vl_cap(), info.operational_vls()), (VlCap::VL0_7, VlCap::VL0_7));
    assert_eq!((info.vl_high_limit, info.vl_arbitration_high_cap, info.vl_arbitration_low_cap), (0, 8, 8));
    assert_eq!((info.vl_stall_count(), info.hoq_life()), (7, 0));
    assert_eq!(info.guid_cap, 32);
    assert_eq!((info.client_reregister(), info.subnet_timeout()), (false, 31));
    assert_eq!(info.capability_mask2(), CapabilityMask2::LINK_WIDTH_2X | CapabilityMask2::LINK_SPEED_HDR);
}

/// `smpquery -D switchinfo 0,1`
#[test]
fn switch_info() {
    let smp = smp(
        "0181 0181 8000 0001 0000 0001 007b 3cc3 0012 0000 0000 0000 0000 0000 0000 0000 ffff ffff",
        "7800 0000 0400 0000 0000 0004 0000 0040 3000 0000",
        "0001 0101",
    );
    assert_eq!((smp.hop_pointer(), smp.hop_count()), (0, 1));
    assert_eq!((smp.initial_path[1], smp.return_path[1]), (PortNum::new(1), PortNum::new(1)));

    let info: &SwitchInfo = smp.attribute();
    assert_eq!((info.linear_fdb_cap.get(), info.random_fdb_cap.get(), info.multicast_fdb_cap.get()), (30720, 0, 1024));
    assert!(info.port_state_change());
    assert_eq!((info.life_time_value(), info.partition_enforcement_cap.get()), (0, 64));
    assert!(!info.inbound_enforcement_cap() && !info.outbound_enforcement_cap() && !info.enhanced_port0());
    assert!(info.filter_raw_inbound_cap() && info.filter_raw_outbound_cap());
}

/// `smpquery -D nodedesc 0,1`
#[test]
fn node_description() {
    let smp = smp(
        "0181 0181 8000 0001 0000 0001 679b 6326 0010 0000 0000 0000 0000 0000 0000 0000 ffff ffff",
        "5331",
        "0001 0101",
    );
    assert_eq!(smp.attribute::<NodeDescription>().to_string(), "S1");
    assert_eq!(*smp.attribute::<NodeDescription>(), NodeDescription::new("S1"));
}
