//! Processors: their stacks, tables, interrupts and timers, and the end of the machine.

pub mod apic;
pub mod backtrace;
mod fault;
pub mod idle;
mod init;
pub mod interrupts;
pub mod ioapic;
pub mod local;
mod pic;
pub mod port;
pub mod registers;
mod smp;
pub mod stack;
mod start;
mod tables;
pub mod timer;
mod vector;

pub use init::init;
pub use local::{Cpu, MAX_CPUS};
pub use smp::{employ_others, online};
pub use start::start;
pub use vector::Vector;
