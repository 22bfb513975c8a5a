//! Programs of this host.

use std::env;
use std::path::PathBuf;

/// Returns the path of the program `name`: on the search path, or in the `sbin` beside a `bin` of it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = |dir: &PathBuf| dir.ends_with("bin").then(|| dir.with_file_name("sbin"));
    env::split_paths(&path)
        .flat_map(|dir| [sbin(&dir), Some(dir)])
        .flatten()
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
