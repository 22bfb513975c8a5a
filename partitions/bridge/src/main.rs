//! An image for partitions that lends the ports of its LHCA to programs on the host: what they send and receive goes by
//! an HCA of the partition's own, whose cable ends at them.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::cast_possible_truncation)] // usize has 64 bits

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod hca;
#[cfg(target_os = "none")]
mod line;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod port;
#[cfg(target_os = "none")]
mod shell;
