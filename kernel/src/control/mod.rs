//! The control channel: lines of text to and from the host, on the second serial port.
//!
//! The host says one line and takes the answer's lines before it says another. The last line of an answer is `ok`, or
//! `error: ` and why. `NAME` is an LHCA's name, to the end of the line, for it may have spaces.
//!
//! | line | what it asks for |
//! |---|---|
//! | `list` | the LHCAs and their ports, as below |
//! | `status` | the HCA, the logical switches, what came to nothing, and what is free |
//! | `status NAME` | what `list` says of one LHCA, and if its partition runs what came to nothing there, what it holds, and how often it was left, by reason |
//! | `digest NAME` | whether a running partition's memory is what it was: a CRC-64 of all of it, taken while it runs |
//! | `port [UPLINK/]PORT down`, or `up` | a port of the logical switch pulled or plugged; port 1 is the uplink's own link |
//! | `start NAME` | the partition begins, or without one its ports are plugged |
//! | `stop NAME` | the partition ends, its memory is wiped, and its ports are pulled |
//! | `restart NAME` | the partition ends, if it runs, and begins again |
//! | `add ROW` | an LHCA more, on the lowest free ports of the logical switches, and its partition begins if it is to at boot; `ROW` is a row of the partition table, as it is packed, in hexadecimal digits |
//! | `remove NAME` | the partition ends, and its LHCA leaves the logical switches |
//!
//! What is answered with `ok` has been done: after `stop` the memory is free again. A partition that is added uses an
//! image that the machine was given at boot. Nobody can start what runs, or stop what does not; `restart` and `remove` take
//! both.
//!
//! `list` answers with these lines for each LHCA, in the table's order:
//!
//! ```text
//! partition running starts 1 memory 2 image echo qp0 none name portico-0-lhca1
//! port 1 at 1/2 guid 0x026fb8f2d5000101 lid 4 state Active cable in
//! ```
//!
//! A partition is `running`, `stopped` (at boot, or by the host), `ended` (by itself, or by what it did), or `none`, and then
//! without the words from `starts` to the image's name. Memory is in MiB. A line `because TEXT` follows it where the
//! partition does not run and there is a reason to tell. The ports follow, by the LHCA's own numbers; `at` are uplink and
//! port of the logical switch. A line `because TEXT` follows a port that is not Active.
//!
//! `status` answers with lines of a name and pairs of a word and a value, among them the free slots of the HCA's rings, what
//! partitions hold, and what memory is free, in bytes, so that whoever compares before and after sees a leak. A free slot for
//! what is received is credit for the cable's other end; one for what is sent is taken until that gave credit for it:
//!
//! ```text
//! hca generation 1 ports 1
//! uplink 1 link up Active switch 0x026fb8f2d5ffff00 lid 3
//! drops slots 0 undelivered 0 unsent 0
//! credits uplink 1 qp0-send 256 qp0-receive 256 packet-send 256 packet-receive 256
//! held lhcas 4 queue-pairs 4 completion-queues 4 event-queues 0 memory-regions 0 attachments 0
//! free memory 218103808
//! ```

mod line;
#[cfg(target_os = "none")]
mod port;

pub use line::{Line, LineBuffer, MAX_LINE};
#[cfg(target_os = "none")]
pub use port::Control;
