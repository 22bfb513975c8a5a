//! Grammar of the control line: requests to the hypervisor and its answers, as lines of text.
//!
//! The kernel parses a [`Request`] and writes [`Record`]s and an [`Ending`]; the host command and the tests do the
//! reverse. `book/src/control-line.md` describes the protocol for authors of other clients, and a test parses its
//! examples.
//!
//! The crate allocates nothing: parsed values borrow from the line, and formatting goes through [`core::fmt::Write`].
#![cfg_attr(not(test), no_std)]

mod answer;
mod error;
mod line;
mod place;
mod record;
mod request;
#[cfg(test)]
mod tests;
mod value;

pub use answer::{AnswerLine, Ending};
pub use error::UnknownLine;
pub use line::{Line, LineBuffer, MAX_LINE};
pub use place::{Place, PlaceError};
pub use record::{
    Credits, Digest, Drops, Exits, FreeMemory, Hca, HeldObjects, LhcaDrops, Partition, Port, Program, Qp0, Record,
    Uplink, Version,
};
pub use request::{Request, RequestError, Row};
pub use value::{Cable, Checksum, Guid, LinkStatus, PartitionState, PortState};

/// Version of the grammar. It changes with each change of a request or a record.
pub const VERSION: u32 = 1;

/// Separator between a run's socket name and the hypervisor's name in the name of the abstract socket.
pub const SOCKET_INFIX: &str = ":control:";
