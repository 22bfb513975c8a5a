//! Supervised child processes: they end when this process ends, however it ends.
//!
//! A child starts through the hidden command `supervise` of this program, which requests a kill signal at its parent's
//! death and then executes the child's program. So a killed supervisor leaves no process behind, and no unsafe code
//! runs between fork and exec.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};

/// Returns a command that runs `program` supervised, in a process group of its own: Ctrl-C at the terminal reaches this
/// process alone, which then ends the others in order.
///
/// # Errors
/// The path of this program is unknown.
pub fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let own = env::current_exe().context("cannot find the path of this program")?;
    let mut command = Command::new(own);
    command.arg(COMMAND).arg(std::process::id().to_string()).arg("--").arg(program).process_group(0);
    Ok(command)
}

/// Executes `program` in this process, which the system kills when process `parent` ends. Returns only an error.
pub fn exec(parent: u32, program: &[OsString]) -> Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return anyhow!(error).context("cannot request a signal at the parent's death");
    }
    // The parent may have died before the request was made.
    if getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
        return anyhow!("cannot start under supervision: the supervising process {parent} has ended");
    }
    let Some((program, arguments)) = program.split_first() else {
        return anyhow!("cannot start: the command lacks a program");
    };
    let error = Command::new(program).args(arguments).exec();
    anyhow!(error).context(format!("cannot run {}", program.display()))
}

/// A running child process. Dropping it kills the process and waits for its end.
pub struct Child {
    process: OwnedFd,
    reaper: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts a command of [`command`]. `events` gets the value of `event` at its end.
    ///
    /// Call it on the main thread only: the system kills the child when the thread that started it ends.
    ///
    /// # Errors
    /// The child cannot be started.
    pub fn spawn<E: Send + 'static>(
        command: &mut Command,
        events: Sender<E>,
        event: impl FnOnce(ExitStatus) -> E + Send + 'static,
    ) -> Result<(Self, Pipes)> {
        let mut child = command.spawn().context("cannot start a process")?;
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take() };
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot open a descriptor of the process")?;
        let reaper = thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Without a receiver the run is over.
                let _ = events.send(event(status));
            }
        });
        Ok((Self { process, reaper: Some(reaper) }, pipes))
    }

    /// Sends `signal` to the child, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.process, signal);
    }

    /// Terminates the child by SIGTERM, or by SIGKILL after `timeout`.
    pub fn end(self, timeout: Duration) {
        self.signal(Signal::TERM);
        // The descriptor is readable once the process has ended; if waiting fails, the drop kills it.
        if let Ok(timeout) = Timespec::try_from(timeout) {
            let _ = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&timeout));
        }
    }
}

/// This process's ends of a command's pipes.
pub struct Pipes {
    /// Standard input, if it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Standard output, if it is a pipe.
    pub stdout: Option<ChildStdout>,
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

/// Hidden command of this program that calls [`exec`].
const COMMAND: &str = "supervise";
