//! The folder of a run: sockets, and what programs write beside them. It goes when the last process of the run goes.
//!
//! A janitor process reads from a pipe whose other end this process and all its children hold and never write to. The
//! pipe ends with the last of them, be it by Ctrl-C, by a kill, or in good order; then the janitor removes the folder.

use std::fs;
use std::io::{ErrorKind, Read, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{env, io};

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};

/// A folder that lasts as long as this value, and longer only while a child of this process lives.
pub struct Folder {
    path: PathBuf,
    janitor: Child,
    hold: Option<ChildStdin>,
}

impl Folder {
    /// Makes the folder. Every process that is started from here on keeps it alive.
    ///
    /// # Errors
    /// The folder cannot be made, or its janitor not be started.
    pub fn new() -> Result<Self> {
        let path = tempfile::Builder::new().prefix("portico-").tempdir().context("cannot make a folder for the run")?;
        let mut janitor = Command::new(env::current_exe()?)
            .arg("janitor")
            .arg(path.path())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the janitor")?;
        let hold = janitor.stdin.take();
        if let Some(hold) = &hold {
            fcntl_setfd(hold, FdFlags::empty()).context("cannot hand the janitor's pipe on to children")?;
        }
        Ok(Self { path: path.keep(), janitor, hold })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.hold.take();
        let _ = self.janitor.wait();
    }
}

/// The janitor's life: waits for the end of standard input, then removes `dir`.
///
/// # Errors
/// The folder cannot be removed.
pub fn clean(dir: &Path) -> Result<()> {
    // Whatever comes is of no interest, and a pipe that fails has ended too.
    let _ = io::copy(&mut stdin().lock().take(u64::MAX), &mut io::sink());
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
