//! The hypervisor: boots on the bare machine, owns the host channel adapter (HCA), and lends it to logical partitions.
//!
//! Code that works on bytes alone (page-table arithmetic, memory maps, directory formats, clock arithmetic) builds and
//! is tested everywhere. Code that touches the machine builds for the machine alone, `x86_64-target.json`.
//! Memory is mapped at its own addresses, so a pointer is a physical address.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(target_os = "none"), allow(dead_code))] // what only the machine uses is tested on the host
#![allow(clippy::cast_possible_truncation)] // registers are cut into halves everywhere, and usize has 64 bits

extern crate alloc;

pub mod clock;
pub mod command_line;
pub mod control;
pub mod exit;
pub mod fabric;
pub mod fw_cfg;
pub mod manager;
pub mod memory;
pub mod partition;
pub mod pci;
pub mod svm;

#[cfg(target_os = "none")]
pub mod assignable_hca;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod carrier;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod partition_factory;
#[cfg(target_os = "none")]
pub mod testing;
