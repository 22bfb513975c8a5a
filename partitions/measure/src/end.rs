//! One end of the measured exchange.

use lhca_driver::{CompletionQueue, Vmmcall};
use platform::{Buffer, Endpoint};

/// The partition.
pub(crate) type Machine = platform::Machine<Vmmcall>;

/// Payload by which the sender finds its peer, and of the peer's response.
pub(crate) const HELLO: &[u8] = b"hello";

/// A queue pair for datagrams, with its buffers.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) completions: CompletionQueue,
    pub(crate) free: heapless::Vec<Buffer, 8>,
}
