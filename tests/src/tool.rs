//! Programs of others that attach to a machine's fabric, as a user would run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::lines::PATIENCE;
use crate::site::Site;

/// How long a program may take, in seconds, before it is killed and its test fails.
const TIME_LIMIT: &str = "120";

/// The library through which a program reaches the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// Portico's own, as the line `ready:` names it.
    Portico,
    /// The one that Debian packages with ibsim.
    Stock,
}

/// A program that is to run on a fabric.
#[derive(Debug)]
pub struct Tool {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    library: PathBuf,
    folder: PathBuf,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The program and its arguments.
    pub what: String,
    /// Its exit code; `None` if a signal ended it. 124 means that it took too long.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Tool {
    /// `program` with `arguments`, at the site's own host, through Portico's library.
    pub(crate) fn new(site: &Site, program: &str, arguments: &[&str]) -> Self {
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

    /// Reaches the fabric through `library`.
    ///
    /// # Panics
    /// The stock library is asked for and not installed.
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

    /// Runs in `folder`, where it may leave files, rather than in the machine's.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// It cannot be run.
    #[must_use]
    pub fn run(&self) -> Output {
        let mut limited = Command::new("timeout");
        // The library is for the program alone: `timeout` itself must not attach.
        limited.args(["--kill-after=5", TIME_LIMIT, "env", &self.preload()]).args(&self.words);
        Output::of(self.words.join(" "), self.surround(&mut limited))
    }

    /// Starts the program, which stays, and waits until `client` finds that it serves.
    ///
    /// # Panics
    /// It cannot be started, or does not serve in time.
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

    /// The command, to be started and ended by the test itself, such as a subnet manager that stays.
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

/// A program that stays. Dropped, it is killed.
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

    /// Standard output of a program that succeeded.
    ///
    /// # Panics
    /// It failed: then with all it said.
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
