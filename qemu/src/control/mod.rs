//! The kernels' control lines, for any number of clients.
//!
//! The kernel speaks on its second serial port with one partner, a line and its answer at a time (`kernel/src/control`).
//! [`Server`] is that partner, and lets clients take turns. They connect to an abstract socket, which ends with the run
//! however it ends, and is found by its name alone:
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

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between the name of the run's socket and the hypervisor's.
const INFIX: &str = ":control:";

/// What the last line of an answer is, or begins with.
const DONE: &str = "ok";
const REFUSED: &str = "error: ";

/// Whether `line` is the last of an answer.
fn is_last(line: &str) -> bool {
    line == DONE || line.starts_with(REFUSED)
}
