//! The image `traffic` without the machine: datagrams to each of its like and to the group of all, of every size in
//! steps, each of which comes back as it was.
//!
//! Everybody sends back to its sender whatever arrives. A datagram's immediate data ([`Tag`]) says whose it is, so that
//! datagrams that return differ from those to return; all of the payload is a pattern ([`Key`]) that both ends know.
//! So a byte that is wrong shows at the end where it went wrong, and who has no idea of patterns, such as a host
//! outside, can take part by sending back alone.
//!
//! How each goes about it is a [`Course`]:
//!
//! 1. It calls the group until so many have sent that back as there are to be.
//! 2. It sends to each of them every size, with and without a global route header.
//! 3. It sends every size to the group, which comes back from all.
//! 4. It tells the group that it is done, and waits for the others to say so.
#![no_std]
#![forbid(unsafe_code)]

mod course;
mod pattern;
mod tally;

pub use course::{Course, MAX_PEERS, Message, Plan, Step, To, Totals};
pub use pattern::{Key, Tag};
pub use tally::{Tally, words};
