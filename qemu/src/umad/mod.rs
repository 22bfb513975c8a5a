//! The server at which unmodified umad programs attach: OpenSM, the diagnostics, osmtest.
//!
//! It speaks the client protocol of ibsim, the InfiniBand fabric simulator, so a program reaches the fabric through a
//! preload library, ours or ibsim's own. What it needs of the fabric is [`Fabric`].

pub mod fabric;

pub use fabric::{Fabric, NodePort};
