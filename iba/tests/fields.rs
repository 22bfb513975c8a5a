//! Every field where others have it: bit offsets and widths from libibmad's table of fields (rdma-core,
//! `libibmad/fields.c`), from `ib_types.h` of OpenSM, and from Wireshark's dissector where those have none.
//!
//! An offset counts from the format's first bit on the wire. For any bytes and any value, a getter must give the bits
//! at that place, and a setter must change them and no other.

use iba::attr::*;
use iba::bth::{Bth, Opcode};
use iba::deth::Deth;
use iba::grh::Grh;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::*;
use iba::pma::*;
use iba::smp::Smp;
use iba::*;
use proptest::prelude::*;
use zerocopy::big_endian::{U16, U32, U64};

/// A value of a field as a number.
trait Number {
    fn of(bits: u64) -> Self;
    fn number(self) -> u64;
}

macro_rules! number {
    ($($name:ty, $bits:ident => $of:expr, $value:ident => $number:expr;)*) => { $(
        impl Number for $name {
            #[allow(clippy::cast_possible_truncation)]
            fn of($bits: u64) -> Self { $of }
            fn number(self) -> u64 { let $value = self; $number }
        }
    )* };
}

macro_rules! numbers {
    (native: $($native:ty)*; wrapped: $($wrapped:ty)*; flags: $($flags:ty)*;) => {
        number! {
            $($native, bits => bits as $native, value => u64::from(value);)*
            $($wrapped, bits => <$wrapped>::new(bits as _), value => value.get().into();)*
            $($flags, bits => <$flags>::from_bits_retain(bits as _), value => value.bits().into();)*
        }
    };
}

numbers! {
    native: u8 u16 u32;
    wrapped: U16 U32 U64 Lid Guid GidPrefix PKey QKey MKey SmKey Qpn Psn VendorId ProducerType TransactionId PortNum Sl Vl
        PortState PortPhysicalState Mtu VlCap NodeType SmState NoticeType TrapNumber SampleStatus
        Opcode AttributeId Class Method Status;
    flags: LinkWidth LinkSpeed LinkSpeedExt CapabilityMask CapabilityMask2 Changes CounterSelect;
}

number! {
    bool, bits => bits & 1 != 0, value => value.into();
    NextHeader,
        bits => [Self::RawEthertype, Self::RawIpv6, Self::Bth, Self::Grh][(bits & 3) as usize],
        value => value as u64;
}

/// The bits at `offset` of `bytes`.
fn bits(bytes: &[u8], offset: usize, width: usize) -> u64 {
    (offset..offset + width).fold(0, |value, at| value << 1 | u64::from(bytes[at / 8] >> (7 - at % 8) & 1))
}

/// `bytes` with the bits at `offset` changed.
fn with_bits(bytes: &[u8], offset: usize, width: usize, value: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in offset..offset + width {
        let bit = (value >> (offset + width - 1 - at) & 1) as u8;
        bytes[at / 8] = bytes[at / 8] & !(0x80 >> (at % 8)) | bit << (7 - at % 8);
    }
    bytes
}

/// Tests of formats: `name: Format { offset width field; offset width getter setter; }`.
macro_rules! fields {
    ($($test:ident: $format:ty { $($offset:literal $width:literal $get:ident $($set:ident)?;)* })*) => {
        proptest! { $(
            #[test]
            fn $test(bytes: [u8; size_of::<$format>()], value: u64) {
                $(
                    let mut format: $format = zerocopy::transmute!(bytes);
                    prop_assert_eq!(fields!(@get format $get $($set)?).number(), bits(&bytes, $offset, $width), "{}", stringify!($get));
                    let value_in_field = value & (u64::MAX >> (64 - $width));
                    fields!(@set format value value_in_field $get $($set)?);
                    let expected = with_bits(&bytes, $offset, $width, value_in_field);
                    prop_assert_eq!(zerocopy::IntoBytes::as_bytes(&format), &expected[..], "{}", stringify!($get));
                )*
            }
        )* }
    };
    (@get $format:ident $field:ident) => { $format.$field };
    (@get $format:ident $get:ident $set:ident) => { $format.$get() };
    (@set $format:ident $any:ident $value:ident $field:ident) => { $format.$field = Number::of($value) };
    // A setter is to cut what does not fit; numbers as wide as a field cannot.
    (@set $format:ident $any:ident $value:ident $get:ident $set:ident) => { $format.$set(Number::of($any)) };
}

fields! {
    lrh: Lrh {
        0 4 vl set_vl; 4 4 link_version set_link_version; 8 4 sl set_sl; 14 2 next_header set_next_header;
        16 16 dlid; 37 11 packet_length set_packet_length; 48 16 slid;
    }
    grh: Grh {
        0 4 ip_version set_ip_version; 4 8 traffic_class set_traffic_class; 12 20 flow_label set_flow_label;
        32 16 payload_length; 48 8 next_header; 56 8 hop_limit;
    }
    bth: Bth {
        0 8 opcode; 8 1 solicited_event set_solicited_event; 9 1 migration set_migration; 10 2 pad_count set_pad_count;
        12 4 transport_version set_transport_version; 16 16 p_key; 40 24 dest_qp; 64 1 acknowledge set_acknowledge;
        72 24 psn;
    }
    deth: Deth { 0 32 q_key; 40 24 src_qp; }
    mad_header: MadHeader {
        0 8 base_version; 8 8 class; 16 8 class_version; 24 8 method; 32 16 status; 64 64 transaction_id;
        128 16 attribute_id; 160 32 attribute_modifier;
    }
    smp: Smp {
        48 8 hop_pointer set_hop_pointer; 56 8 hop_count set_hop_count; 32 1 is_returning set_returning;
        33 15 status set_status; 192 64 m_key; 256 16 dr_slid; 272 16 dr_dlid;
    }
    node_info: NodeInfo {
        0 8 base_version; 8 8 class_version; 16 8 node_type; 24 8 num_ports; 32 64 system_image_guid; 96 64 node_guid;
        160 64 port_guid; 224 16 partition_cap; 240 16 device_id; 256 32 revision; 288 8 local_port; 296 24 vendor_id;
    }
    switch_info: SwitchInfo {
        0 16 linear_fdb_cap; 16 16 random_fdb_cap; 32 16 multicast_fdb_cap; 48 16 linear_fdb_top; 64 8 default_port;
        72 8 default_multicast_primary_port; 80 8 default_multicast_not_primary_port;
        88 5 life_time_value set_life_time_value; 93 1 port_state_change set_port_state_change;
        94 2 optimized_sl_to_vl set_optimized_sl_to_vl; 96 16 lids_per_port; 112 16 partition_enforcement_cap;
        128 1 inbound_enforcement_cap set_inbound_enforcement_cap;
        129 1 outbound_enforcement_cap set_outbound_enforcement_cap;
        130 1 filter_raw_inbound_cap set_filter_raw_inbound_cap; 131 1 filter_raw_outbound_cap set_filter_raw_outbound_cap;
        132 1 enhanced_port0 set_enhanced_port0; 144 16 multicast_fdb_top;
    }
    port_info: PortInfo {
        0 64 m_key; 64 64 gid_prefix; 128 16 lid; 144 16 master_sm_lid; 160 32 capability_mask set_capability_mask;
        192 16 diag_code; 208 16 m_key_lease_period; 224 8 local_port; 232 8 link_width_enabled;
        240 8 link_width_supported; 248 8 link_width_active; 256 4 link_speed_supported set_link_speed_supported;
        260 4 port_state set_port_state; 264 4 physical_state set_physical_state;
        268 4 link_down_default_state set_link_down_default_state; 272 2 m_key_protect_bits set_m_key_protect_bits;
        277 3 lmc set_lmc; 280 4 link_speed_active set_link_speed_active;
        284 4 link_speed_enabled set_link_speed_enabled; 288 4 neighbor_mtu set_neighbor_mtu;
        292 4 master_sm_sl set_master_sm_sl; 296 4 vl_cap set_vl_cap; 300 4 init_type set_init_type;
        304 8 vl_high_limit; 312 8 vl_arbitration_high_cap; 320 8 vl_arbitration_low_cap;
        328 4 init_type_reply set_init_type_reply; 332 4 mtu_cap set_mtu_cap; 336 3 vl_stall_count set_vl_stall_count;
        339 5 hoq_life set_hoq_life; 344 4 operational_vls set_operational_vls;
        348 1 partition_enforcement_inbound set_partition_enforcement_inbound;
        349 1 partition_enforcement_outbound set_partition_enforcement_outbound;
        350 1 filter_raw_inbound set_filter_raw_inbound; 351 1 filter_raw_outbound set_filter_raw_outbound;
        352 16 m_key_violations; 368 16 p_key_violations; 384 16 q_key_violations; 400 8 guid_cap;
        408 1 client_reregister set_client_reregister;
        409 2 multicast_p_key_trap_suppression set_multicast_p_key_trap_suppression;
        411 5 subnet_timeout set_subnet_timeout; 419 5 response_time_value set_response_time_value;
        424 4 local_physical_errors set_local_physical_errors; 428 4 overrun_errors set_overrun_errors;
        432 16 max_credit_hint; 456 24 link_round_trip_latency set_link_round_trip_latency;
        480 16 capability_mask2 set_capability_mask2; 496 4 link_speed_ext_active set_link_speed_ext_active;
        500 4 link_speed_ext_supported set_link_speed_ext_supported;
        507 5 link_speed_ext_enabled set_link_speed_ext_enabled;
    }
    random_forwarding_entry: RandomForwardingEntry { 0 16 lid; 16 1 is_valid set_valid; 17 3 lmc set_lmc; 24 8 port; }
    sm_info: SmInfo {
        0 64 guid; 64 64 sm_key; 128 32 act_count; 160 4 priority set_priority; 164 4 state set_state;
    }
    led_info: LedInfo { 0 1 is_on set_on; }
    vendor_diag: VendorDiag { 0 16 next_index; }
    vl_arbitration_entry: VlArbitrationEntry { 4 4 vl set_vl; 8 8 weight; }
    notice: Notice {
        0 1 is_generic set_generic; 1 7 notice_type set_notice_type; 8 24 producer; 32 16 trap_number; 48 16 issuer_lid;
        64 1 toggle set_toggle; 65 15 count set_count;
    }
    link_state_change: LinkStateChange { 0 16 lid; }
    port_threshold: PortThreshold { 16 16 lid; 32 8 port; }
    local_change: LocalChange {
        16 16 lid; 47 1 other_local_changes set_other_local_changes; 48 32 capability_mask set_capability_mask;
        80 16 changes set_changes; 96 16 capability_mask2 set_capability_mask2;
    }
    system_image_guid_change: SystemImageGuidChange { 16 16 lid; 48 64 system_image_guid; }
    bad_m_key: BadMKey {
        16 16 lid; 32 16 dr_slid; 48 8 method; 64 16 attribute_id; 80 32 attribute_modifier; 112 64 m_key;
        184 1 is_directed_route set_directed_route; 185 1 is_path_truncated set_path_truncated;
        186 6 hop_count set_hop_count;
    }
    bad_key: BadKey {
        16 16 lid1; 32 16 lid2; 48 32 key; 80 4 sl set_sl; 88 24 qp1; 120 24 qp2;
    }
    bad_p_key_switch: BadPKeySwitch {
        0 16 data_valid; 16 16 lid1; 32 16 lid2; 48 16 p_key; 64 4 sl set_sl; 72 24 qp1; 104 24 qp2; 384 16 switch_lid;
        400 8 port;
    }
    class_port_info: ClassPortInfo {
        0 8 base_version; 8 8 class_version; 16 16 capability_mask; 32 27 capability_mask2 set_capability_mask2;
        59 5 response_time_value set_response_time_value; 192 8 redirect_traffic_class set_redirect_traffic_class;
        200 4 redirect_sl set_redirect_sl; 204 20 redirect_flow_label set_redirect_flow_label; 224 16 redirect_lid;
        240 16 redirect_p_key; 264 24 redirect_qp; 288 32 redirect_q_key;
        448 8 trap_traffic_class set_trap_traffic_class; 456 4 trap_sl set_trap_sl;
        460 20 trap_flow_label set_trap_flow_label; 480 16 trap_lid; 496 16 trap_p_key; 512 8 trap_hop_limit;
        520 24 trap_qp; 544 32 trap_q_key;
    }
    port_counters: PortCounters {
        8 8 port_select; 16 16 counter_select set_counter_select; 32 16 symbol_error_counter;
        48 8 link_error_recovery_counter; 56 8 link_downed_counter; 64 16 port_rcv_errors;
        80 16 port_rcv_remote_physical_errors; 96 16 port_rcv_switch_relay_errors; 112 16 port_xmit_discards;
        128 8 port_xmit_constraint_errors; 136 8 port_rcv_constraint_errors;
        151 1 selects_port_xmit_wait set_selects_port_xmit_wait;
        152 4 local_link_integrity_errors set_local_link_integrity_errors;
        156 4 excessive_buffer_overrun_errors set_excessive_buffer_overrun_errors; 160 16 qp1_dropped;
        176 16 vl15_dropped; 192 32 port_xmit_data; 224 32 port_rcv_data; 256 32 port_xmit_packets;
        288 32 port_rcv_packets; 320 32 port_xmit_wait;
    }
    port_counters_extended: PortCountersExtended {
        8 8 port_select; 16 16 counter_select; 64 64 port_xmit_data; 128 64 port_rcv_data; 192 64 port_xmit_packets;
        256 64 port_rcv_packets; 320 64 port_unicast_xmit_packets; 384 64 port_unicast_rcv_packets;
        448 64 port_multicast_xmit_packets; 512 64 port_multicast_rcv_packets;
    }
    port_samples_control: PortSamplesControl {
        0 8 op_code; 8 8 port_select; 16 8 tick; 29 3 counter_width set_counter_width;
        34 3 counter_mask0 set_counter_mask0; 37 27 counter_masks1_to_9 set_counter_masks1_to_9;
        65 15 counter_masks10_to_14 set_counter_masks10_to_14; 80 8 sample_mechanisms;
        94 2 sample_status set_sample_status; 96 64 option_mask; 160 64 vendor_mask; 224 32 sample_start;
        256 32 sample_interval; 288 16 tag;
    }
    port_samples_result: PortSamplesResult { 0 16 tag; 30 2 sample_status set_sample_status; }
}

proptest! {
    /// Service level 0 is the upper half of the first byte (14.2.5.8, and libibmad's dump of the table).
    #[test]
    fn sl_to_vl(bytes: [u8; 8], sl in 0u8..16, vl: u8) {
        let mut mapping: SlToVlMapping = zerocopy::transmute!(bytes);
        let offset = usize::from(sl) * 4;
        prop_assert_eq!(mapping.vl(Sl::new(sl)).number(), bits(&bytes, offset, 4));
        mapping.set_vl(Sl::new(sl), Vl::new(vl));
        let expected = with_bits(&bytes, offset, 4, u64::from(vl & 15));
        prop_assert_eq!(zerocopy::IntoBytes::as_bytes(&mapping), &expected[..]);
    }
}
