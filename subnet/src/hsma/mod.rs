//! The hypervisor's subnet management agent (HSMA): logical switches, and logical adapters (LHCAs) behind them.
//!
//! Behind each physical port, the uplink, stands a logical switch. Its port 1 is the uplink; from port 2 on are logical
//! ports, each with one port of an LHCA. A subnet manager sees an ordinary switch with ordinary adapters. An LHCA may
//! have a port at more than one of the switches.
//!
//! A packet walks from node to node in its sender's buffer. Nothing is queued: a packet that comes in by the uplink, or
//! from a consumer, has gone out by an uplink, or to its consumers, or nowhere, when the call returns.

mod agent;
mod deferred_counters;
mod due;
mod member;
mod path;
mod qp0;
mod types;
mod walk;

pub use self::agent::{AddError, Hsma};
pub use self::deferred_counters::DeferredId;
pub use self::path::{Path, RoutingEpoch};
pub use self::qp0::Qp0Counters;
pub use self::types::{HsmaOutlet, LhcaId, LogicalPort, UPLINK, UplinkId};
