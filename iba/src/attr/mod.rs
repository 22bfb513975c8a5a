//! Attributes of subnet management (14.2.5), one file for each.

mod forwarding;
mod guid_info;
mod led_info;
mod node_description;
mod node_info;
mod p_key_table;
mod port_info;
mod port_values;
mod sl_to_vl;
mod sm_info;
mod switch_info;
mod vendor_diag;
mod vl_arbitration;

pub use forwarding::{LinearForwardingBlock, MulticastForwardingBlock, RandomForwardingBlock, RandomForwardingEntry};
pub use guid_info::GuidInfo;
pub use led_info::LedInfo;
pub use node_description::NodeDescription;
pub use node_info::{NodeInfo, NodeType};
pub use p_key_table::PKeyTable;
pub use port_info::PortInfo;
pub use port_values::{
    CapabilityMask, CapabilityMask2, LinkSpeed, LinkSpeedExt, LinkWidth, Mtu, PortPhysicalState, PortState, VlCap,
};
pub use sl_to_vl::SlToVlMapping;
pub use sm_info::{SmControl, SmInfo, SmState};
pub use switch_info::SwitchInfo;
pub use vendor_diag::VendorDiag;
pub use vl_arbitration::{VlArbitration, VlArbitrationEntry};
