//! The kernels' control lines, for any number of clients.
//!
//! The kernel speaks on its second serial port with one partner, a line and its answer at a time
//! ([`control_protocol`]). [`Server`] is that partner, and lets clients take turns. They connect to an abstract socket,
//! which ends with the run however it ends, and is found by its name alone:
//!
//! ```text
//! SOCKET:control:HYPERVISOR          such as portico:control:portico-0
//! ```
//!
//! A client says what it would say to the kernel, and gets the kernel's answer: [`ask`]. Only this user's clients and
//! root's are served.

mod client;
mod line;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

#[cfg(test)]
use self::client::AskError;
pub use self::client::{Place, ask, running};
pub use self::server::Server;

/// Time limit for an answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(30);
