//! Attributes of performance management (16.1), of a node's performance management agent (PMA).

mod class_port_info;
mod counters;
mod samples;

pub use class_port_info::{ClassPortInfo, PmaCapabilities};
pub use counters::{CounterSelect, PortCounters, PortCountersExtended};
pub use samples::{PortSamplesControl, PortSamplesResult, SampleStatus};

use crate::mad::{Attribute, AttributeId, MadHeader};
use crate::wire;

wire! {
    /// MAD of performance management (16.1.1).
    pub struct PerfMad[256] {
        /// Common header.
        pub header: MadHeader,
        reserved: [u8; 40],
        /// The attribute.
        pub data: [u8; PERF_DATA],
    }
}

/// Bytes of attribute in a [`PerfMad`].
pub const PERF_DATA: usize = 192;

/// Attributes of performance management (16.1.3, 16.1.4).
impl AttributeId {
    /// PortSamplesControl: selection of counters to sample (16.1.3.2).
    pub const PORT_SAMPLES_CONTROL: Self = Self::new(0x0010);
    /// PortSamplesResult: samples (16.1.3.4).
    pub const PORT_SAMPLES_RESULT: Self = Self::new(0x0011);
    /// Counters of a port (16.1.3.5).
    pub const PORT_COUNTERS: Self = Self::new(0x0012);
    /// Counters of a port with 64 bits (16.1.4.11).
    pub const PORT_COUNTERS_EXTENDED: Self = Self::new(0x001d);
}

impl PerfMad {
    /// The only class version of performance management.
    pub const CLASS_VERSION: u8 = 1;

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

impl Default for PerfMad {
    /// All zeros.
    fn default() -> Self {
        zerocopy::FromZeros::new_zeroed()
    }
}
