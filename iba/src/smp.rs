//! Subnet management packets (SMPs) (14.2.1).

use zerocopy::FromZeros;

use crate::mad::{Attribute, MadHeader, Status};
use crate::{Lid, MKey, PortNum, wire};

wire! {
    /// Subnet management packet, of either form: by directed route (14.2.1.2), or routed by LIDs (14.2.1.1), where the
    /// fields of the directed route are reserved.
    pub struct Smp[256] {
        /// Common header.
        pub header: MadHeader,
        /// The sender's claim to manage the port (14.2.4).
        pub m_key: MKey,
        /// Directed route: where the route starts, or [`Lid::PERMISSIVE`] for the requester itself.
        pub dr_slid: Lid,
        /// Directed route: where the route's end hands on to, or [`Lid::PERMISSIVE`] for the end itself.
        pub dr_dlid: Lid,
        reserved: [u8; 28],
        /// The attribute.
        pub data: [u8; SMP_DATA],
        /// Directed route: port to leave by at each hop, from entry 1 on.
        pub initial_path: [PortNum; 64],
        /// Directed route: port that the request came in by at each hop, from entry 1 on.
        pub return_path: [PortNum; 64],
    }
}

/// Bytes of attribute in an SMP.
pub const SMP_DATA: usize = 64;

/// The longest directed route is one hop shorter than this (14.2.2, C14-6).
pub const HOP_LIMIT: u8 = 64;

/// D, the direction bit of a directed route, in the status.
const DIRECTION: u16 = 0x8000;

impl Smp {
    /// The only class version of subnet management (14.2.1).
    pub const CLASS_VERSION: u8 = 1;

    /// The hop pointer of a directed route: how far it is.
    #[inline]
    pub fn hop_pointer(&self) -> u8 {
        self.header.class_specific[0]
    }

    /// Sets [`Self::hop_pointer`].
    #[inline]
    pub fn set_hop_pointer(&mut self, hop: u8) {
        self.header.class_specific[0] = hop;
    }

    /// The hop count of a directed route: how long it is.
    #[inline]
    pub fn hop_count(&self) -> u8 {
        self.header.class_specific[1]
    }

    /// Sets [`Self::hop_count`].
    #[inline]
    pub fn set_hop_count(&mut self, hops: u8) {
        self.header.class_specific[1] = hops;
    }

    /// D, the direction of a directed route: whether this is on its way back.
    #[inline]
    pub fn is_returning(&self) -> bool {
        self.header.status.get() & DIRECTION != 0
    }

    /// Sets [`Self::is_returning`].
    #[inline]
    pub fn set_returning(&mut self, returning: bool) {
        let direction = if returning { DIRECTION } else { 0 };
        self.header.status = Status::new(self.status().get() | direction);
    }

    /// The status, without the direction bit.
    #[inline]
    pub fn status(&self) -> Status {
        Status::new(self.header.status.get() & !DIRECTION)
    }

    /// Sets [`Self::status`], and leaves the direction bit as it is.
    #[inline]
    pub fn set_status(&mut self, status: Status) {
        let direction = self.header.status.get() & DIRECTION;
        self.header.status = Status::new(status.get() & !DIRECTION | direction);
    }

    /// The data as an attribute, whatever [`MadHeader::attribute_id`] says.
    #[inline]
    pub fn attribute<A: Attribute>(&self) -> &A {
        wire::front(&self.data)
    }

    /// Like [`Self::attribute`], to be changed in place.
    #[inline]
    pub fn attribute_mut<A: Attribute>(&mut self) -> &mut A {
        wire::front_mut(&mut self.data)
    }

    /// Makes `attribute` the data, with zeros after it. The header stays as it is.
    #[inline]
    pub fn set_attribute<A: Attribute>(&mut self, attribute: &A) {
        wire::fill(&mut self.data, attribute);
    }
}

impl Default for Smp {
    /// All zeros.
    fn default() -> Self {
        Self::new_zeroed()
    }
}
