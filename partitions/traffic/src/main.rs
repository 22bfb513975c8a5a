//! An image for partitions: exchanges datagrams with all its like that it finds in a multicast group, and checks every
//! byte and what its port counted. What came of it is on the console, and the exit code is 0 if all was right.
//!
//! Arguments: `peers=` how many others send back what they get, `senders=` how many of these are images like this one
//! (as many, if it is not given), `step=` from one payload's size to the next (256), and `stay` to go on sending back
//! when all is done.
#![cfg_attr(target_os = "none", no_std, no_main)]

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod shell;
