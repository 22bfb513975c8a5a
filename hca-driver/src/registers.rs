//! BAR2's registers as types. The access that the driver has to a word is part of its type: it cannot read back the
//! words that it writes. The two generations that an earlier driver may have left are the exception.

use core::mem::{offset_of, size_of};

use hca_contract::{control, device, driver, port};
use volatile::VolatileFieldAccess;
use volatile::access::{ReadOnly, ReadWrite, WriteOnly};

/// Identity, generation and heartbeat of the device.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct DevicePage {
    #[access(ReadOnly)]
    pub(crate) magic: u32,
    #[access(ReadOnly)]
    pub(crate) version: u32,
    #[access(ReadOnly)]
    pub(crate) generation: u32,
    #[access(ReadOnly)]
    pub(crate) heartbeat: u32,
    #[access(ReadOnly)]
    pub(crate) ports: u32,
    #[access(ReadOnly)]
    pub(crate) doorbell_target: u32,
    #[access(ReadOnly)]
    pub(crate) node_guid: u64,
    #[access(ReadOnly)]
    pub(crate) system_image_guid: u64,
    #[access(ReadOnly)]
    pub(crate) vendor_id: u32,
    #[access(ReadOnly)]
    pub(crate) device_id: u32,
}

/// Generations that the driver took up and released.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct DriverPage {
    #[access(ReadWrite)]
    pub(crate) generation: u32,
    #[access(ReadWrite)]
    pub(crate) released: u32,
}

/// A port's link and counters; the device writes.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct PortPage {
    #[access(ReadOnly)]
    pub(crate) link: u64,
    #[access(ReadOnly)]
    pub(crate) link_request_done: u32,
    reserved: [u8; port::COUNTERS - 0xc],
    #[access(ReadOnly)]
    pub(crate) xmit_packets: u64,
    #[access(ReadOnly)]
    pub(crate) xmit_bytes: u64,
    #[access(ReadOnly)]
    pub(crate) rcv_packets: u64,
    #[access(ReadOnly)]
    pub(crate) rcv_bytes: u64,
    #[access(ReadOnly)]
    pub(crate) rcv_errors: u64,
    #[access(ReadOnly)]
    pub(crate) vl15_dropped: u64,
    #[access(ReadOnly)]
    pub(crate) xmit_discards: u64,
    #[access(ReadOnly)]
    pub(crate) link_downed: u64,
}

/// A port's link request; the driver writes.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct RequestPage {
    #[access(WriteOnly)]
    pub(crate) link_request: u64,
}

/// Control words of a ring that the driver fills.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct SendControl {
    #[access(WriteOnly)]
    pub(crate) produced: u32,
    #[access(WriteOnly)]
    pub(crate) space_event: u32,
    reserved: [u8; control::CONSUMED - 8],
    #[access(ReadOnly)]
    pub(crate) consumed: u32,
    #[access(ReadOnly)]
    pub(crate) data_event: u32,
}

/// Control words of a ring that the driver empties.
#[repr(C)]
#[derive(VolatileFieldAccess)]
pub(crate) struct ReceiveControl {
    #[access(ReadOnly)]
    pub(crate) produced: u32,
    #[access(ReadOnly)]
    pub(crate) space_event: u32,
    reserved: [u8; control::CONSUMED - 8],
    #[access(WriteOnly)]
    pub(crate) consumed: u32,
    #[access(WriteOnly)]
    pub(crate) data_event: u32,
}

const _: () = {
    assert!(offset_of!(DevicePage, magic) == device::MAGIC);
    assert!(offset_of!(DevicePage, version) == device::VERSION);
    assert!(offset_of!(DevicePage, generation) == device::GENERATION);
    assert!(offset_of!(DevicePage, heartbeat) == device::HEARTBEAT);
    assert!(offset_of!(DevicePage, ports) == device::PORTS);
    assert!(offset_of!(DevicePage, doorbell_target) == device::DOORBELL_TARGET);
    assert!(offset_of!(DevicePage, node_guid) == device::NODE_GUID);
    assert!(offset_of!(DevicePage, system_image_guid) == device::SYSTEM_IMAGE_GUID);
    assert!(offset_of!(DevicePage, vendor_id) == device::VENDOR_ID);
    assert!(offset_of!(DevicePage, device_id) == device::DEVICE_ID);
    assert!(size_of::<DevicePage>() <= driver::GENERATION);
    assert!(offset_of!(DriverPage, generation) == 0);
    assert!(driver::GENERATION + offset_of!(DriverPage, released) == driver::RELEASED);
    assert!(offset_of!(PortPage, link) == port::LINK);
    assert!(offset_of!(PortPage, link_request_done) == port::LINK_REQUEST_DONE);
    assert!(offset_of!(PortPage, xmit_packets) == port::COUNTERS);
    assert!(size_of::<PortPage>() == port::COUNTERS + 8 * hca_contract::COUNTERS);
    assert!(offset_of!(SendControl, produced) == control::PRODUCED);
    assert!(offset_of!(SendControl, space_event) == control::SPACE_EVENT);
    assert!(offset_of!(SendControl, consumed) == control::CONSUMED);
    assert!(offset_of!(SendControl, data_event) == control::DATA_EVENT);
    assert!(offset_of!(ReceiveControl, consumed) == control::CONSUMED);
    assert!(offset_of!(ReceiveControl, data_event) == control::DATA_EVENT);
    assert!(size_of::<SendControl>() <= port::RING_STRIDE);
};
