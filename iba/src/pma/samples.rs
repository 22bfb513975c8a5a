use crate::PortNum;
use crate::mad::{Attribute, AttributeId};
use crate::wire::{U16, U32, U64};

wire! {
    /// Selection of counters to sample, and the port's abilities (16.1.3.2).
    #[derive(Default)]
    pub struct PortSamplesControl[68] {
        /// Which ports, and lanes, are sampled.
        pub op_code: u8,
        /// The port; 255 means all of a node.
        pub port_select: PortNum,
        /// Length of a tick, in the vendor's own unit.
        pub tick: u8,
        width: u8,
        masks0_to_9: U32,
        masks10_to_14: U16,
        /// Number of ports that can be sampled at once.
        pub sample_mechanisms: u8,
        status: u8,
        /// The optional counters that there are.
        pub option_mask: U64,
        /// The vendor's counters that there are.
        pub vendor_mask: U64,
        /// Ticks to wait before.
        pub sample_start: U32,
        /// Ticks to sample.
        pub sample_interval: U32,
        /// The requester's mark.
        pub tag: U16,
        /// Selection of each counter.
        pub counter_select: [U16; 15],
    }

    /// Samples of a port (16.1.3.4).
    #[derive(Default)]
    pub struct PortSamplesResult[64] {
        /// The requester's mark, from [`PortSamplesControl::tag`].
        pub tag: U16,
        status: U16,
        /// The counters.
        pub counters: [U32; 15],
    }
}

impl Attribute for PortSamplesControl {
    const ID: AttributeId = AttributeId::PORT_SAMPLES_CONTROL;
}

impl Attribute for PortSamplesResult {
    const ID: AttributeId = AttributeId::PORT_SAMPLES_RESULT;
}

bits! { PortSamplesControl {
    /// Bits of a counter: 16 + 4 x n.
    counter_width, set_counter_width: u8 = width[2, 0];
    /// Whether, and how, counter 0 can be used.
    counter_mask0, set_counter_mask0: u8 = masks0_to_9[29, 27];
    /// Whether, and how, counters 1 to 9 can be used.
    counter_masks1_to_9, set_counter_masks1_to_9: u32 = masks0_to_9[26, 0];
    /// Whether, and how, counters 10 to 14 can be used.
    counter_masks10_to_14, set_counter_masks10_to_14: u16 = masks10_to_14[14, 0];
    /// Progress.
    sample_status, set_sample_status: SampleStatus = status[1, 0];
} }

bits! { PortSamplesResult {
    /// Progress.
    sample_status, set_sample_status: SampleStatus = status[1, 0];
} }

values! {
    /// Progress of sampling (16.1.3.2).
    SampleStatus: u8, 1;
    /// A Set may start it.
    DONE = 0 "done";
    /// Sampling starts after its delay.
    STARTED = 1 "started";
    /// Sampling is under way.
    RUNNING = 2 "running";
}

bit_field! { SampleStatus }
