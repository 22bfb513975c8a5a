//! The external fabric: switches and hosts that run `subnet`, cables between them, cables to the hypervisors, and the
//! umad server at the hosts' ports.
//!
//! One thread runs one event loop ([`Fabric`]). `net` needs neither clock nor sockets of its own: it carries packets
//! between nodes, trains cables, and knows which node is due.

mod config;
mod error;
mod event_loop;
mod fabric;
mod net;
mod order;
mod responder;
#[cfg(test)]
mod tests;
pub mod topology;

pub use config::{BridgeHca, Config};
pub use error::StartError;
pub use fabric::Fabric;
pub use net::{NodeView, PortView, Snapshot, UplinkView};
