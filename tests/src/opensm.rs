//! OpenSM under a test's control.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::lines::Lines;
use crate::site::Site;

/// A running OpenSM, killed on drop. Its folder is its own, so that it has no caches of an earlier one.
#[derive(Debug)]
pub struct OpenSm {
    process: Child,
    log: Lines,
    folder: TempDir,
}

impl Site {
    /// Starts OpenSM with `arguments` at this site.
    ///
    /// # Panics
    /// OpenSM cannot be started.
    #[must_use]
    pub fn opensm(&self, arguments: &[&str]) -> OpenSm {
        OpenSm::start(self, arguments)
    }
}

impl OpenSm {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("opensm-").tempdir_in(site.folder()).unwrap();
        let path = folder.path().to_str().unwrap();
        // Not the host's configuration, which is for a real fabric. An OpenSM on standby polls each second, so that it
        // soon notices the master's death.
        let config = folder.path().join("opensm.conf");
        fs::write(&config, "sminfo_polling_timeout 1000\npolling_retry_number 2\n").unwrap();
        let all = [&["-d2", "-f", "stdout", "-F", config.to_str().unwrap()], arguments].concat();
        let mut process = site
            .tool("opensm", &all)
            .with("OSM_CACHE_DIR", path)
            .with("OSM_TMP_DIR", path)
            .in_folder(folder.path())
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let log = Lines::of(process.stdout.take().unwrap());
        Self { process, log, folder }
    }

    /// Returns the folder of OpenSM's dumps, removed on drop.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for a line of the log that contains `words`, and returns it.
    ///
    /// # Panics
    /// No such line arrives within [`PATIENCE`](crate::PATIENCE).
    pub fn wait_for(&mut self, words: &str) -> String {
        let found = self.log.find(|line| line.contains(words));
        found.unwrap_or_else(|missing| panic!("OpenSM's `{words}`: {missing:?}\n{}", self.log.taken.join("\n")))
    }

    /// Waits until the next sweep ends with the subnet up.
    ///
    /// # Panics
    /// As [`Self::wait_for`].
    pub fn wait_for_subnet_up(&mut self) {
        self.wait_for("SUBNET UP");
    }

    /// Makes OpenSM sweep the subnet again, and waits for the sweep's end.
    ///
    /// # Panics
    /// As [`Self::wait_for`].
    pub fn sweep(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
        self.wait_for_subnet_up();
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.taken.join("\n")
    }

    /// Returns the errors in the log so far.
    #[must_use]
    pub fn errors(&self) -> Vec<&str> {
        self.log.taken.iter().map(String::as_str).filter(|line| line.contains(" ERR ")).collect()
    }
}

impl Drop for OpenSm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
