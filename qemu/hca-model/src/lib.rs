//! The emulated HCA: the device's side of the contract `hca_contract`, on memory that it shares with the driver.
//!
//! A [`Device`] is BAR2, reached through a [`Bar`], and for each port the end of a cable. The device does nothing by
//! itself: its caller reports notifications of the driver, messages of a cable and the passing of time, and passes a
//! function that interrupts the driver.
//!
//! The device reads each word of the driver's once, and checks it. A driver can spoil its own packets only.

mod bar;
mod device;
mod port;
mod ring;
#[cfg(test)]
mod tests;

pub use bar::Bar;
pub use device::{Device, Identity};
