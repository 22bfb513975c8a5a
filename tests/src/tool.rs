//! Programs such as infiniband-diags, run as a user runs them on a fabric.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::lines::PATIENCE;
use crate::site::Site;

/// Time after which a program is killed and its test fails, in seconds.
const TIME_LIMIT: &str = "120";

/// Preload library through which a program reaches the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// Portico's, as the line `ready:` names it.
    Portico,
    /// ibsim's, from Debian's package ibsim-utils.
    Stock,
}

/// A program with its arguments and environment, to run on a fabric.
#[derive(Debug)]
pub struct Tool {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    library: PathBuf,
    folder: PathBuf,
}

/// Output and exit code of a program.
#[derive(Debug)]
pub struct Output {
    /// Program and arguments.
    pub what: String,
    /// Exit code; `None` after a signal, 124 after the time limit.
    pub code: Option<i32>,
    /// Text of standard output.
    pub stdout: String,
    /// Text of standard error.
    pub stderr: String,
}

impl Site {
    /// Prepares `program` with `arguments` to run at this site, through Portico's library.
    #[must_use]
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Tool {
        Tool::new(self, program, arguments)
    }
}

impl Tool {
    fn new(site: &Site, program: &str, arguments: &[&str]) -> Self {
        let words = [&[program], arguments].concat().into_iter().map(str::to_owned).collect();
        let (library, folder) = (site.library.clone(), site.folder.clone());
        let tool = Self { words, variables: Vec::new(), library, folder };
        tool.with("IBSIM_SOCKNAME", &site.socket).at(&site.host)
    }

    /// Attaches to `host` instead: a node's id or description.
    #[must_use]
    pub fn at(self, host: &str) -> Self {
        self.with("SIM_HOST", host)
    }

    /// Selects the preload library.
    ///
    /// # Panics
    /// ibsim-utils, which has the stock library, is not installed.
    #[must_use]
    pub fn through(mut self, library: Preload) -> Self {
        if library == Preload::Stock {
            self.library = stock_library();
        }
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.push((variable.to_owned(), value.into()));
        self
    }

    /// Sets the working directory, in place of the machine's folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// The program cannot be started.
    #[must_use]
    pub fn run(&self) -> Output {
        let mut limited = Command::new("timeout");
        // The library is for the program alone: `timeout` must not attach.
        limited.args(["--kill-after=5", TIME_LIMIT, "env", &self.preload()]).args(&self.words);
        Output::of(self.words.join(" "), self.surround(&mut limited))
    }

    /// Starts the program as a server, and waits until `client` succeeds.
    ///
    /// # Panics
    /// The program cannot be started, or `client` does not succeed within [`PATIENCE`].
    #[must_use]
    pub fn serve(&self, client: &Self) -> Server {
        let server = Server(self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = client.run();
            if output.code == Some(0) {
                return server;
            }
            assert!(Instant::now() < deadline, "{} does not serve: {output:?}", self.words.join(" "));
        }
    }

    /// Returns the command, for a program that the test itself starts and ends.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("env");
        command.arg(self.preload()).args(&self.words);
        self.surround(&mut command);
        command
    }

    fn preload(&self) -> String {
        format!("LD_PRELOAD={}", self.library.display())
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        command
            .current_dir(&self.folder)
            .env("PATH", path)
            .envs(self.variables.iter().map(|(variable, value)| (variable, value)))
            .stdin(Stdio::null())
    }
}

/// A running server, killed on drop.
#[derive(Debug)]
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Output {
    /// Runs `command` to its end.
    pub(crate) fn of(what: String, command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            what,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the standard output of a program that succeeded.
    ///
    /// # Panics
    /// The program failed; the message has its output.
    #[must_use]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.what, self.stdout, self.stderr);
        &self.stdout
    }
}

fn stock_library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let library = folders.map(|folder| folder.path().join("umad2sim/libumad2sim.so")).find(|file| file.is_file());
    library.expect("ibsim-utils brings /usr/lib/*/umad2sim/libumad2sim.so")
}
