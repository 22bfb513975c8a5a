//! An image for partitions, on every port of its LHCA: answers `ibping` and `ibsysstat`, and sends each datagram that
//! its queue pair for datagrams receives back to where it came from.
//!
//! Arguments: `q_key=`, that of the datagrams, and `group`, to take part in the multicast group in which images meet.
#![cfg_attr(target_os = "none", no_std, no_main)]

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod shell;
