//! The emulated machine on the host: its configuration, the carriers of BAR2, the control line, and the launcher.

pub mod config;
pub mod control;
pub mod hca_process;
pub mod ivshmem;
pub mod launch;
