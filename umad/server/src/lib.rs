//! The server at which unmodified umad programs attach: OpenSM, the diagnostics, osmtest.
//!
//! It speaks the client protocol of ibsim, the InfiniBand fabric simulator, so a program reaches the fabric through a
//! preload library, ours or ibsim's own. What it needs of the fabric is [`Fabric`]. It answers control messages, makes
//! packets of MADs and MADs of packets, and gives a request back that nobody answers, because ibsim's library waits for
//! ever. It reads always and never waits: what a client has no room for is kept.

mod clients;
mod core;
mod endpoint;
mod fabric;
mod pending;
mod server;
mod slot;
#[cfg(test)]
mod tests;

pub use endpoint::{BindError, Endpoint};
pub use fabric::{Fabric, NodePort};
pub use server::Server;
