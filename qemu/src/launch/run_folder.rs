//! The folder of a run: its sockets and temporary files. It is removed after the last process of the run.
//!
//! A janitor process reads from a pipe whose other end this process and all its children hold and never write to. The
//! pipe ends with the last of them, however they end; then the janitor removes the folder.

use std::fs;
use std::io::{ErrorKind, Read, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{env, io};

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};

/// A temporary folder. It is removed once this value is dropped and every child of this process has ended.
pub struct RunFolder {
    path: PathBuf,
    janitor: Child,
    hold: Option<ChildStdin>,
}

impl RunFolder {
    /// Creates the folder. Every process that this process starts from now on keeps it.
    ///
    /// # Errors
    /// The folder cannot be created, or its janitor cannot be started.
    pub fn new() -> Result<Self> {
        let path =
            tempfile::Builder::new().prefix("portico-").tempdir().context("cannot create a folder for the run")?;
        let mut janitor = Command::new(env::current_exe()?)
            .arg("janitor")
            .arg(path.path())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the janitor")?;
        let hold = janitor.stdin.take();
        if let Some(hold) = &hold {
            fcntl_setfd(hold, FdFlags::empty()).context("cannot pass the janitor's pipe to child processes")?;
        }
        Ok(Self { path: path.keep(), janitor, hold })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        self.hold.take();
        let _ = self.janitor.wait();
    }
}

/// Removes `dir` after the end of standard input: the janitor's main function.
///
/// # Errors
/// The folder cannot be removed.
pub fn remove_after_run(dir: &Path) -> Result<()> {
    // A pipe that fails has ended too.
    let _ = io::copy(&mut stdin().lock().take(u64::MAX), &mut io::sink());
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
