//! The control channel: lines of text to and from the host, on the second serial port.

mod line;
#[cfg(target_os = "none")]
mod port;

pub use line::{Line, LineBuffer, MAX_LINE};
#[cfg(target_os = "none")]
pub use port::Control;
