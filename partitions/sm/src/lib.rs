//! A small subnet manager (SM), with the subnet administration (SA) that belongs to it (IBA vol. 1, chapters 14 and
//! 15).
//!
//! It finds what there is by directed routes, gives each port a LID, fills switches' forwarding tables along shortest
//! paths, and takes links to Active. It answers for what it found, and reports events to subscribers. Among other
//! managers it behaves as 14.4 asks: the one with the highest priority, then the lowest GUID, is master; the others
//! stand by, and one of them takes over when the master dies.
//!
//! Nothing here touches hardware, sockets or a clock. The caller hands [`Manager::receive`] what arrived at queue pairs
//! 0 and 1 of the manager's port, calls [`Manager::poll`] when the moment has come that the last call named, and does
//! what the [`Outlet`] receives. Moments are [`Duration`]s since a beginning that the caller chooses.
//!
//! What it does not do: M_Keys other than 0, LMCs other than 0, partitions other than the default one, service levels
//! other than 0, and routes that are free of deadlocks in rings.
//!
//! [`Duration`]: core::time::Duration
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod discover;
mod election;
mod lids;
mod manager;
mod multicast;
mod outlet;
mod ports;
mod route;
mod routing;
mod sa;
mod tables;
mod topology;
mod transactions;
mod traps;

pub use config::Config;
pub use manager::Manager;
pub use outlet::{Address, Event, Outlet, SweepReport};
