//! Builds the kernel, and starts, supervises and ends the processes of a run.

pub(crate) mod folder;
pub(crate) mod leash;
pub(crate) mod opensm;
pub(crate) mod qemu;
pub(crate) mod workspace;
