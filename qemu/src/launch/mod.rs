//! The launcher: starts, supervises and ends the processes of a run.

mod emulated_machine;
mod event;
mod hca;
pub mod opensm;
mod plan;
mod program;
mod qemu;
mod run_folder;
pub mod supervise;
pub mod table;

pub use self::emulated_machine::EmulatedMachine;
pub use self::event::{Event, Process};
pub use self::plan::{Clock, Kernel, Plan};
pub use self::program::find_program;
pub use self::run_folder::{RunFolder, remove_after_run};
