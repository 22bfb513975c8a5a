//! Common parts of images: the processor, the memory, the console, and queue pairs with buffers.
//!
//! An image is a package with its logic in a library that knows nothing of a machine, and a `main.rs` that is mostly
//! this:
//!
//! ```text
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//!
//! platform::image!(run);
//!
//! fn run(machine: &mut platform::Machine<lhca_driver::Vmmcall>) -> Result<u64, lhca_driver::CallError> {
//!     log::info!("hello from {}", machine.information.name());
//!     Ok(0)
//! }
//! ```
//!
//! The processor starts with interrupts off, and has them on only in `Machine::wait`: an image is one loop, which does
//! what there is to do and then sleeps. An interrupt does nothing but end that sleep, so every queue can have
//! [`VECTOR`]. An exception, a panic and an error end the partition, with an exit code ([`exit`]) and a line on the
//! console.
#![no_std]
#![allow(clippy::cast_possible_truncation)] // usize has 64 bits

#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod end;
mod endpoint;
#[cfg(target_os = "none")]
mod entry;
pub mod group;
#[cfg(all(target_os = "none", feature = "heap"))]
mod heap;
mod information;
#[cfg(target_os = "none")]
mod interrupts;
mod machine;
mod memory;
mod reply;

pub use endpoint::{Arrival, Done, Endpoint, Setup};
#[cfg(target_os = "none")]
pub use entry::report;
pub use information::Information;
pub use machine::Machine;
pub use memory::{Buffer, Memory};
pub use reply::{GRH, reply};

/// The interrupt that says that there is something to do.
pub const VECTOR: u8 = 32;

/// The codes with which an image ends that does not choose one itself.
pub mod exit {
    /// An error ended the image.
    pub const ERROR: u64 = 1;
    /// The image panicked.
    pub const PANIC: u64 = 101;
    /// The processor raised an exception.
    pub const EXCEPTION: u64 = 102;
}

/// Makes `$run`, a `fn(&mut Machine<Vmmcall>) -> Result<u64, impl Display>`, what a partition runs: its exit code, or
/// what went wrong. Built for the host, the program says that this is the wrong place.
#[macro_export]
macro_rules! image {
    ($run:path) => {
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        extern "Rust" fn platform_image(machine: &mut $crate::Machine<$crate::Vmmcall>) -> u64 {
            $crate::report($run(machine))
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            eprintln!("this runs in a partition only: say `cargo portico run --image {}`", env!("CARGO_BIN_NAME"));
            std::process::exit(2);
        }
    };
}

#[cfg(target_os = "none")]
pub use lhca_driver::Vmmcall;
