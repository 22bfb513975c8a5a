//! OpenSM under a test's control.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::lines::Lines;
use crate::site::Site;

/// An OpenSM that stays, in a folder of its own, so that it knows nothing of an earlier one. Dropped, it is killed.
#[derive(Debug)]
pub struct OpenSm {
    process: Child,
    log: Lines,
    folder: TempDir,
}

impl OpenSm {
    pub(crate) fn start(site: &Site, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("opensm-").tempdir_in(site.folder()).unwrap();
        let path = folder.path().to_str().unwrap();
        // Not the administrator's configuration, which is for a real fabric. One on standby notices soon that it is alone.
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

    /// Where it leaves its dumps; gone with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for a line of the log that contains `words`.
    ///
    /// # Panics
    /// There is none in time.
    pub fn wait_for(&mut self, words: &str) -> String {
        let found = self.log.find(|line| line.contains(words));
        found.unwrap_or_else(|missing| panic!("OpenSM's `{words}`: {missing:?}\n{}", self.log.taken.join("\n")))
    }

    /// Waits until the subnet is up, after one more sweep if it was up before.
    ///
    /// # Panics
    /// It is not in time.
    pub fn wait_for_subnet_up(&mut self) {
        self.wait_for("SUBNET UP");
    }

    /// Has the subnet swept again, and waits for the end of it.
    ///
    /// # Panics
    /// It does not come to an end in time.
    pub fn sweep(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
        self.wait_for_subnet_up();
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.taken.join("\n")
    }

    /// The lines of the log so far that tell of an error.
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
