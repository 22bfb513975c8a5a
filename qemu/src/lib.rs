//! The machine on the host: HCA model, carriers, cables, the external fabric, the umad server and the launcher.

pub mod cable;
pub mod command;
mod config;
mod control;
pub mod fabric;
pub mod hca;
pub mod ivshmem;
mod launch;
mod show;
pub mod topology;
pub mod umad;
