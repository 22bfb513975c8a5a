//! Cables between two ports, in one process or in two.
//!
//! [`LinkMachine`] decides when a link is up. [`CableEnd`] adds messages, credits and CRCs: one end of a cable to
//! another process. [`Cable`] is an end on a socket, and [`Capture`] records the packets that pass there. The first two
//! do no I/O.

mod capture;
mod end;
mod frame;
mod link;
mod message;
mod socket;

pub use capture::Capture;
pub use end::{CableEnd, CableEvent, Counters, TransmitError};
pub use link::{Abilities, Announcement, Link, LinkChange, LinkMachine, LinkState};
pub use message::{Control, Hello, MAX_MESSAGE, Message, MessageError};
pub use socket::{BUFFER, Cable, Listener, Reception, dial, pair, path};
