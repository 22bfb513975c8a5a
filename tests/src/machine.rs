//! A `portico run` under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use control_protocol::{AnswerLine, Ending, Record, SOCKET_INFIX};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::console::Console;
use crate::leftovers::{self, MARK};
use crate::lines::{Lines, Missing, PATIENCE};
use crate::opensm::OpenSm;
use crate::portico;
use crate::site::Site;
use crate::tool::{Output, Tool};

/// A `portico run` with a socket name and a folder of its own, killed on drop.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    output: Lines,
    ready: Option<String>,
    socket: String,
    folder: TempDir,
}

impl Machine {
    /// Starts `portico run` with `arguments` and returns at once.
    ///
    /// # Panics
    /// The command cannot be started.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("portico-test-").tempdir().unwrap();
        // The folder's name is unique on this machine, so it names the socket and marks the processes as well.
        let socket = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let mut process = Command::new(portico())
            .args(["run", "--socket", &socket, "--log-dir"])
            .arg(folder.path().join("log"))
            .args(arguments)
            .current_dir(folder.path())
            .env("TMPDIR", folder.path().join("tmp"))
            .env(MARK, &socket)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let output = Lines::of(process.stdout.take().unwrap());
        Self { process, output, ready: None, socket, folder }
    }

    /// Starts `portico run` and waits until programs can attach.
    ///
    /// # Panics
    /// The run ends before, or [`PATIENCE`] passes.
    #[must_use]
    pub fn ready_for_tools(arguments: &[&str]) -> Self {
        let mut machine = Self::start(arguments);
        machine.ready = Some(machine.wait_for("ready:"));
        machine
    }

    /// Starts `portico run` and waits until the SM has the subnet up.
    ///
    /// # Panics
    /// The run ends before, or [`PATIENCE`] passes.
    #[must_use]
    pub fn up(arguments: &[&str]) -> Self {
        let mut machine = Self::ready_for_tools(arguments);
        machine.wait_for("subnet up:");
        machine
    }

    /// Starts `portico run` as [`Self::up`] does, with `config` as its portico.toml.
    ///
    /// # Panics
    /// As [`Self::up`].
    #[must_use]
    pub fn up_with(config: &str, arguments: &[&str]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), config).unwrap();
        Self::up(&[&["--config", file.path().to_str().unwrap()], arguments].concat())
    }

    /// Waits for a line of output that begins with `start`, and returns it.
    ///
    /// # Panics
    /// No such line arrives within [`PATIENCE`], or the output ends.
    pub fn wait_for(&mut self, start: &str) -> String {
        match self.output.find(|line| line.starts_with(start)) {
            Ok(line) => line,
            Err(missing) => panic!("the line `{start}`: {missing:?}\n{}", self.report()),
        }
    }

    /// Waits until the run ends, and returns its status and its standard output.
    ///
    /// # Panics
    /// The run does not end within [`PATIENCE`], or leaves something behind.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        // The output ends with the last process of the run.
        assert_eq!(self.output.find(|_| false), Err(Missing::Ended), "the run does not end\n{}", self.report());
        let status = self.process.wait().unwrap();
        let left = leftovers::of(&self.socket, &self.socket, &self.folder.path().join("tmp"));
        assert!(left.is_empty(), "left behind:\n{}\n{}", left.join("\n"), self.report());
        (status, self.output.taken.join("\n"))
    }

    /// Sends `signal` to the run, waits until it ends, and returns its status.
    ///
    /// # Panics
    /// As [`Self::wait`].
    pub fn end_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.wait().0
    }

    /// Returns the place at which programs attach to this machine's fabric.
    ///
    /// # Panics
    /// The test has not waited for the machine with [`Self::ready_for_tools`] or [`Self::up`].
    #[must_use]
    pub fn site(&self) -> Site {
        Site {
            socket: self.socket.clone(),
            host: self.ready("SIM_HOST").to_owned(),
            library: self.ready("LD_PRELOAD").into(),
            folder: self.folder().to_owned(),
        }
    }

    /// Prepares `program` with `arguments` to run on this machine's fabric.
    ///
    /// # Panics
    /// As [`Self::site`].
    #[must_use]
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Tool {
        self.site().tool(program, arguments)
    }

    /// Starts an OpenSM of the test's own, with `arguments`.
    ///
    /// # Panics
    /// OpenSM cannot be started, or as [`Self::site`].
    #[must_use]
    pub fn opensm(&self, arguments: &[&str]) -> OpenSm {
        self.site().opensm(arguments)
    }

    /// Returns the LHCAs whose logical ports iblinkinfo finds Active: name and LID.
    ///
    /// # Panics
    /// iblinkinfo fails, or its output cannot be parsed.
    #[must_use]
    pub fn active_lhcas(&self) -> BTreeMap<String, u16> {
        self.active_ports().into_iter().collect()
    }

    /// Returns the logical ports that iblinkinfo finds Active: the LHCA's name and the port's LID.
    ///
    /// # Panics
    /// As [`Self::active_lhcas`].
    #[must_use]
    pub fn active_ports(&self) -> Vec<(String, u16)> {
        let links = self.tool("iblinkinfo", &["--line", "--switches-only"]).run();
        // GUID "name" LID port[ ] ==( 4X 25.78125 Gbps Active/ LinkUp)==> GUID LID port[ ] "name" ( )
        let active =
            links.ok().lines().filter_map(|line| line.split_once("==>")).filter(|(of, _)| of.contains("Active/"));
        let lhcas = active.filter_map(|(_, peer)| Some((peer, peer.split('"').nth(1)?)));
        let lhcas = lhcas.filter(|(_, name)| name.contains("-lhca"));
        lhcas.map(|(peer, name)| (name.to_owned(), peer.split_whitespace().nth(1).unwrap().parse().unwrap())).collect()
    }

    /// Waits for sweeps of `opensm` until exactly `lhcas` LHCAs are Active, and returns them as
    /// [`Self::active_lhcas`] does.
    ///
    /// # Panics
    /// `opensm` makes no further sweep within [`PATIENCE`].
    pub fn wait_for_active(&self, opensm: &mut OpenSm, lhcas: usize) -> BTreeMap<String, u16> {
        loop {
            opensm.wait_for_subnet_up();
            let active = self.active_lhcas();
            if active.len() == lhcas {
                return active;
            }
        }
    }

    /// Runs `portico ctl` with `arguments` on this machine.
    ///
    /// # Panics
    /// The command cannot be started.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        self.ctl_within(Duration::from_secs(120), arguments)
    }

    /// Runs `portico ctl` as [`Self::ctl`] does, for `limit` at most.
    ///
    /// # Panics
    /// As [`Self::ctl`].
    #[must_use]
    pub fn ctl_within(&self, limit: Duration, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &limit.as_secs().to_string()])
            .arg(portico())
            .args(["ctl", "--socket", &self.socket])
            .args(arguments);
        Output::of(format!("ctl {}", arguments.join(" ")), command.stdin(Stdio::null()))
    }

    /// Returns the control line's `status` of a hypervisor at a moment without packets on their way: all credits are
    /// returned. The counters of the physical queue pairs 0 are left out: every sweep moves them.
    ///
    /// # Panics
    /// No such moment occurs within [`PATIENCE`].
    #[must_use]
    pub fn status_at_rest(&self, hypervisor: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.control(hypervisor, "status");
            let credits = status.iter().filter_map(|line| match AnswerLine::parse(line) {
                Ok(AnswerLine::Record(Record::Credits(credits))) => Some(credits),
                _ => None,
            });
            let free: BTreeSet<_> = credits
                .flat_map(|ring| [ring.qp0_send, ring.qp0_receive, ring.packet_send, ring.packet_receive])
                .collect();
            if free.len() == 1 {
                let moves = |line: &String| matches!(AnswerLine::parse(line), Ok(AnswerLine::Record(Record::Qp0(_))));
                return status.into_iter().filter(|line| !moves(line)).collect();
            }
            assert!(Instant::now() < deadline, "credits are not returned: {status:?}");
        }
    }

    /// Sends `line` to the control line of `hypervisor`, and returns the response's lines without the last one, `ok`.
    ///
    /// # Panics
    /// The hypervisor refuses, or does not respond within [`PATIENCE`].
    #[must_use]
    pub fn control(&self, hypervisor: &str, line: &str) -> Vec<String> {
        let address = SocketAddr::from_abstract_name(format!("{}{SOCKET_INFIX}{hypervisor}", self.socket)).unwrap();
        let mut stream = UnixStream::connect_addr(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = Vec::new();
        for said in BufReader::new(stream).lines() {
            let said = said.unwrap();
            match Ending::parse(&said) {
                None => answer.push(said),
                Some(Ending::Done) => return answer,
                Some(Ending::Refused(reason)) => panic!("{line}: {reason}"),
            }
        }
        panic!("{hypervisor} hung up on `{line}` after {answer:?}");
    }

    /// Returns `true` if the run has ended.
    ///
    /// # Panics
    /// The process cannot be waited for.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Kills the machine's process whose command line contains `words`.
    ///
    /// # Panics
    /// No process or several match.
    pub fn kill(&self, words: &str) {
        self.signal(words, Signal::KILL);
    }

    /// Makes the machine's OpenSM sweep the subnet again.
    ///
    /// # Panics
    /// The machine runs no OpenSM.
    pub fn sweep(&self) {
        self.signal("/opensm.conf", Signal::HUP);
    }

    fn signal(&self, words: &str, signal: Signal) {
        let found = leftovers::find(&self.socket, words);
        let [process] = found[..] else { panic!("`{words}` matches {} processes", found.len()) };
        kill_process(process, signal).unwrap();
    }

    /// Returns the value of `variable` in the line `ready:`.
    ///
    /// # Panics
    /// The test has not waited for that line, or it lacks the variable.
    #[must_use]
    pub fn ready(&self, variable: &str) -> &str {
        let line = self.ready.as_deref().expect("a machine that is ready for tools");
        let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
        words.find(|&(name, _)| name == variable).unwrap_or_else(|| panic!("no {variable} in: {line}")).1
    }

    /// Returns the machine's socket name.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Returns a folder for the test's files, removed with the machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of the run's log `name`.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }

    /// Follows the console of `hypervisor` from its beginning.
    ///
    /// # Panics
    /// `tail` cannot be started.
    #[must_use]
    pub fn console(&self, hypervisor: &str) -> Console {
        Console::follow(&self.log(&format!("{hypervisor}.console.log")))
    }

    /// Follows the log of the machine's OpenSM from its beginning.
    ///
    /// # Panics
    /// `tail` cannot be started.
    #[must_use]
    pub fn opensm_log(&self) -> Console {
        Console::follow(&self.log("opensm.log"))
    }

    /// Returns the run's standard error so far.
    ///
    /// # Panics
    /// The file cannot be read.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Describes the run for a failed test: its output and the ends of its logs.
    fn report(&self) -> String {
        let mut report = format!("-- stdout\n{}\n", self.output.taken.join("\n"));
        let logs = fs::read_dir(self.folder.path().join("log")).into_iter().flatten().flatten().map(|file| file.path());
        for file in [self.folder.path().join("stderr")].into_iter().chain(logs) {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into_owned();
            let tail: Vec<_> = text.lines().rev().take(40).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            report += &format!("-- {}\n{}\n", file.display(), tail.join("\n"));
        }
        report
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The last of the run's processes closes the output: only then no process uses the folder.
        let _ = self.output.find(|_| false);
    }
}
