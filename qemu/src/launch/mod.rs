//! Builds the kernel, and starts, supervises and ends the processes of a run.

mod adapter;
pub mod folder;
pub mod leash;
pub mod machine;
pub mod opensm;
mod qemu;
pub mod table;

use std::env;
use std::path::PathBuf;

/// Where `name` is: on the search path, or where the administrator's programs are kept, in the `sbin` beside a `bin`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = |dir: &PathBuf| dir.ends_with("bin").then(|| dir.with_file_name("sbin"));
    env::split_paths(&path)
        .flat_map(|dir| [sbin(&dir), Some(dir)])
        .flatten()
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
