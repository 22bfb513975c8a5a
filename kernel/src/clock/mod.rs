//! Clock: nanoseconds since boot, monotonic, the same on every processor.

mod scale;
#[cfg(target_os = "none")]
mod tsc;

pub use scale::Scale;
#[cfg(target_os = "none")]
pub(crate) use tsc::HPET;
#[cfg(target_os = "none")]
pub use tsc::{calibrate, now, ticks, ticks_per_second};
