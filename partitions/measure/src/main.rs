//! An image for partitions: counts the instructions that datagrams and hypercalls cost, in a machine where the
//! processors' time-stamp counters count instructions (QEMU's `-icount shift=0`).
//!
//! Two partitions run it: one with the argument `peer`, which receives, and one without, which finds the other and
//! sends. Each figure is a line on the console, `figure NAME LEAST MEDIAN`. With the argument `load=N` no instructions
//! are counted, but datagrams are sent as fast as they go, by a sender and a receiver that only poll. Each says how
//! often it was left for N of them, and ends.
#![cfg_attr(target_os = "none", no_std, no_main)]

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod end;
#[cfg(target_os = "none")]
mod load;
#[cfg(target_os = "none")]
mod samples;
#[cfg(target_os = "none")]
mod shell;
