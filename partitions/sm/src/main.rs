//! An image for partitions: the subnet manager, at port 1 of its LHCA.
//!
//! Arguments: `priority=`, 0 to 15, which decides who is master where there are several managers.
#![cfg_attr(target_os = "none", no_std, no_main)]

platform::image!(shell::run);

#[cfg(target_os = "none")]
mod shell;
