//! The control line: requests from the host on the second serial port. [`control_protocol`] has its grammar.

#[cfg(target_os = "none")]
mod port;

#[cfg(target_os = "none")]
pub use port::{Control, Output};
