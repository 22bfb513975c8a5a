//! An image for partitions: tries what a partition must not get away with, and says what came of it.
//!
//! Arguments: `attempt=` one of [`hostile_image::Attempt::ALL`]'s names, `count=` how often, `seed=` for what is
//! random, and `victim=`, `guard=` and `target=` the LIDs of ports that are sent to. The exit code is 0 where nothing
//! went wrong; an attempt that a partition does not survive ends it.
#![cfg_attr(target_os = "none", no_std, no_main)]

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod shell;
