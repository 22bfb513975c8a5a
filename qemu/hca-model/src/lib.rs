//! The emulated HCA: the device's side of the contract `hca_contract`, on memory that it shares with the driver.
//!
//! A [`Device`] is BAR2, seen through a [`Bar`], and for each port the end of a cable. It does nothing by itself: whoever
//! drives it says that the driver rang, that a cable has something, or that time has passed, and hands in how to
//! interrupt the driver.
//!
//! What the driver wrote is read once, checked, and never trusted to stay. A driver can spoil its own packets only.

mod bar;
mod device;
mod port;
mod ring;
#[cfg(test)]
mod tests;

pub use bar::Bar;
pub use device::{Device, Identity};
