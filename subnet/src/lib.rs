//! Subnet nodes: the agents, the logical switch and the hypervisor's subnet management agent (HSMA).
//!
//! A node takes packets, link states and the time, and says what is to happen through an [`Outlet`]. It touches no
//! hardware, reads no clock and starts nothing of itself: the caller calls [`Node::poll`] (or its like) when the moment
//! has come that the last call named. So the same nodes run in a hypervisor, in a simulated fabric and in a test.
//!
//! A packet is `&mut [u8]`, from the local route header (LRH) through the payload, without checksums. What a node
//! answers or hands on it changes in place, and an answer is as long as its request. Memory is allocated only where
//! nodes are made. No packet, from wherever it is, makes a node panic.
//!
//! - [`Switch`], [`ChannelAdapter`]: a node each. [`Node`] is either.
//! - [`Hsma`]: logical switches with logical adapters behind them, between which packets walk without a copy.
//!
//! Clauses ("14.2.5.6") are those of the InfiniBand Architecture Specification (IBA), volume 1.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adapter;
mod attributes;
mod body;
mod config;
mod counters;
mod data;
mod directed;
mod dispatch;
mod gsi;
mod hsma;
mod life;
mod node;
mod outlet;
mod pma;
mod port;
mod port_set;
mod quick;
mod relay;
mod sampler;
mod sma;
mod switch;
#[cfg(test)]
mod tests;
mod time;
mod trap;

pub use adapter::{AdapterConfig, ChannelAdapter};
pub use config::{ConfigError, NodeConfig};
pub use counters::{Counters, PortError, Traffic};
pub use directed::NodeKind;
pub use dispatch::{Action, PerformanceAttribute, SubnetAttribute, classify};
pub use gsi::Key;
pub use hsma::{
    AddError, DeferredId, Hsma, HsmaOutlet, LhcaId, LogicalPort, Path, Qp0Counters, RoutingEpoch, UPLINK, UplinkId,
};
pub use node::Node;
pub use outlet::{Event, Link, LinkRequest, Outlet, Speed};
pub use relay::{PortMask, Route};
pub use switch::{Switch, SwitchConfig};
pub use time::Time;
