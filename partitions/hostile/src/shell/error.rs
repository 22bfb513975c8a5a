//! Outcome of an attack that should not be possible.

use lhca_contract::{Call, Status};
use lhca_driver::CallError;

/// Reason for which an attempt could not be made, or a success that should not be possible.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the argument attempt= names nothing that can be tried: {0:?}")]
    NoAttempt(&'static str),
    #[error("there was memory at {0:#x}")]
    Reached(u64),
    #[error("memory was not wiped at {0:#x}")]
    Left(u64),
    #[error("{call:?} of {arguments:x?} is answered {status:?}, and not {expected:?}")]
    Answer { call: Call, arguments: [u64; 3], status: Status, expected: Status },
    #[error("datagrams with {0} do not come to what they are to")]
    Spoofed(&'static str),
    #[error("memory beside a buffer changed, at {0:#x}")]
    Beside(u64),
    #[error("a datagram came in with a key that was the queue pair's no more")]
    Entered,
    #[error("the queue pair goes on, though its index jumped")]
    GoesOn,
    #[error("the task priority register could be written: {0:#x}")]
    Priority(u64),
    #[error("the interrupt that waited did not come")]
    Lost,
}
