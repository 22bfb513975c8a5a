//! Cables: what lies between two ports, whether these are in one process or in two.
//!
//! [`LinkMachine`] says when a link is up. [`End`] adds messages, credits and CRCs: what one end of a cable to another
//! process needs. [`Cable`] is an end on a socket, and [`Capture`] writes down what passes there. The first two are
//! pure.

mod capture;
mod end;
mod frame;
mod link;
mod message;
mod socket;

pub use capture::Capture;
pub use end::{Blocked, Counters, End, Event};
pub use link::{Abilities, Announcement, Link, LinkChange, LinkMachine, LinkState};
pub use message::{Control, Hello, MAX_MESSAGE, Message, MessageError};
pub use socket::{BUFFER, Cable, Listener, Received, dial, pair, path};
