//! Subnet administration (SA): the class by which anybody asks what a subnet manager knows (15.2).

mod inform;
mod multicast;
mod path;
mod records;

pub use inform::{InformInfo, InformInfoRecord};
pub use multicast::McMemberRecord;
pub use path::{PathRecord, Selector};
pub use records::{
    GuidInfoRecord, LinearForwardingRecord, LinkRecord, MulticastForwardingRecord, NodeRecord, PKeyTableRecord,
    PortInfoRecord, SmInfoRecord, SwitchInfoRecord,
};

use crate::SmKey;
use crate::mad::{AttributeId, MadHeader, Method, Status};
use crate::rmpp::RmppHeader;
use crate::wire::{self, Format, U16, U64};

wire! {
    /// A MAD of subnet administration (15.2.1.1).
    pub struct SaMad[256] {
        /// The common header; its class version is [`SaMad::CLASS_VERSION`].
        pub header: MadHeader,
        /// RMPP header.
        pub rmpp: RmppHeader,
        /// Key of the subnet manager, for what not everybody may see; 0 for the rest.
        pub sm_key: SmKey,
        /// Distance of records in a table, in units of 8 bytes.
        pub attribute_offset: U16,
        reserved: U16,
        /// Which components of a request's record count: bit 0 for the first.
        pub component_mask: U64,
        /// A record, or a piece of a table.
        pub data: [u8; SaMad::DATA],
    }
}

impl SaMad {
    /// The class version of subnet administration (15.2.1).
    pub const CLASS_VERSION: u8 = 2;
    /// Bytes of records in each MAD.
    pub const DATA: usize = 200;

    /// The data as a record, whatever [`MadHeader::attribute_id`] says.
    #[inline]
    pub fn record<T: Format>(&self) -> &T {
        wire::front(&self.data)
    }

    /// Makes `record` the data, with zeros after it. The headers stay as they are.
    #[inline]
    pub fn set_record<T: Format>(&mut self, record: &T) {
        wire::fill(&mut self.data, record);
    }

    /// Returns `true` if component `component` of the request's record counts.
    #[inline]
    pub fn has(&self, component: u32) -> bool {
        self.component_mask.get() >> (component & 63) & 1 != 0
    }
}

/// A record of subnet administration.
pub trait Record: Format {
    /// Its attribute's number.
    const ID: AttributeId;

    /// Width of its components in bits, in the order of the component mask, which is that of the record (15.2.5).
    const COMPONENTS: &'static [u16];

    /// Returns `true` if this record has the components of `wanted` that `mask` names.
    fn matches(&self, wanted: &Self, mask: u64) -> bool {
        let (own, wanted) = (self.as_bytes(), wanted.as_bytes());
        let mut start = 0;
        Self::COMPONENTS.iter().zip(0u32..64).all(|(&bits, component)| {
            let at = start..start + usize::from(bits);
            start = at.end;
            mask >> component & 1 == 0 || equal(own, wanted, at)
        })
    }
}

/// Returns `true` if these bits are the same; bit 0 is the uppermost of the first byte.
fn equal(one: &[u8], other: &[u8], bits: core::ops::Range<usize>) -> bool {
    let (first, last) = (bits.start / 8, bits.end.div_ceil(8));
    (first..last).all(|at| {
        let head = 0xff_u8 >> bits.start.saturating_sub(at * 8);
        let tail = 0xff_u8 << (at * 8 + 8).saturating_sub(bits.end);
        let difference = one.get(at).zip(other.get(at)).map_or(0xff, |(one, other)| one ^ other);
        difference & head & tail == 0
    })
}

/// Methods of subnet administration alone (15.2.2).
impl Method {
    /// Asks for all records that match.
    pub const GET_TABLE: Self = Self::new(0x12);
    /// Answers GetTable.
    pub const GET_TABLE_RESP: Self = Self::new(0x92);
    /// Takes a record out.
    pub const DELETE: Self = Self::new(0x15);
    /// Answers Delete.
    pub const DELETE_RESP: Self = Self::new(0x95);
}

/// Statuses of subnet administration alone (15.2.3).
impl Status {
    /// The response has no room for the records.
    pub const SA_NO_RESOURCES: Self = Self::new(0x0100);
    /// The request is not valid.
    pub const SA_INVALID_REQUEST: Self = Self::new(0x0200);
    /// No record matches.
    pub const SA_NO_RECORDS: Self = Self::new(0x0300);
    /// More than one record matches a Get.
    pub const SA_TOO_MANY_RECORDS: Self = Self::new(0x0400);
    /// A GID is none that the request may have.
    pub const SA_INVALID_GID: Self = Self::new(0x0500);
    /// Components that the request needs are not given.
    pub const SA_INSUFFICIENT_COMPONENTS: Self = Self::new(0x0600);
    /// The requester may not.
    pub const SA_DENIED: Self = Self::new(0x0700);
}
