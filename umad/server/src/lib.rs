//! The server at which unmodified umad programs attach: OpenSM, infiniband-diags, osmtest.
//!
//! The server speaks the client protocol of ibsim, the InfiniBand fabric simulator, so a program reaches the fabric
//! through a preload library: Portico's or ibsim's own. The fabric implements [`Fabric`]. The server answers control
//! messages, makes packets of MADs and MADs of packets, and returns a request that gets no response, because ibsim's
//! library waits for ever. It never blocks: it keeps MADs for which a client has no room.

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
