//! ibsim, the simulator of others: Portico's preload library must work with its server as well.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::site::Site;

/// A running ibsim, killed on drop.
#[derive(Debug)]
pub struct Ibsim {
    process: Child,
    site: Site,
    _folder: TempDir,
}

impl Ibsim {
    /// Starts ibsim with one switch and `hosts` hosts, `H1` and so on. A program that attaches waits for its server.
    ///
    /// # Panics
    /// ibsim cannot be started.
    #[must_use]
    pub fn start(hosts: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("netlist");
        fs::write(&file, netlist(hosts)).unwrap();
        Self::of_file(&file)
    }

    /// Starts ibsim with the fabric that `file` describes.
    ///
    /// # Panics
    /// ibsim cannot be started.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("portico-ibsim-").tempdir().unwrap();
        let netlist = folder.path().join("netlist");
        fs::copy(file, &netlist).unwrap();
        let socket = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        let log = fs::File::create(folder.path().join("ibsim.log")).unwrap();
        let process = Command::new("ibsim")
            .arg("-s") // start at once
            .arg("-n") // without a console
            .arg(&netlist)
            .env("IBSIM_SOCKNAME", &socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let library = crate::library().to_owned();
        let site = Site { socket, host: "H1".into(), library, folder: folder.path().to_owned() };
        Self { process, site, _folder: folder }
    }

    /// Returns the place at which programs attach to ibsim.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }
}

impl Drop for Ibsim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn netlist(hosts: u8) -> String {
    let switch_ports: String = (1..=hosts).map(|host| format!("[{host}] \"H{host}\"[1]\n")).collect();
    let adapters: String = (1..=hosts).map(|host| format!("\nHca 1 \"H{host}\"\n[1] \"S1\"[{host}]\n")).collect();
    format!("Switch {hosts} \"S1\"\n{switch_ports}{adapters}")
}
