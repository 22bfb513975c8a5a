//! Children that end when this process ends, however it ends.
//!
//! A child is started through our own hidden command `leash`, which asks the kernel to kill it when its parent dies and
//! then becomes the program. So a killed supervisor leaves nothing running, and no unsafe code runs between fork and exec.

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

/// A command that runs `program` on a leash. It is a process group of its own, so that Ctrl-C at the terminal
/// reaches this process alone, which then ends the others in order.
///
/// # Errors
/// This program's own path cannot be told.
pub fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let own = env::current_exe().context("cannot tell the path of this program")?;
    let mut command = Command::new(own);
    command.arg("leash").arg(std::process::id().to_string()).arg("--").arg(program).process_group(0);
    Ok(command)
}

/// Becomes `program`, to be killed when process `parent` ends. Returns only if that cannot be done.
pub fn exec(parent: u32, program: &[OsString]) -> Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return anyhow!(error).context("cannot ask for a signal at the parent's death");
    }
    // The parent may have died before the request was made.
    if getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
        return anyhow!("process {parent}, which was to supervise this one, is gone");
    }
    let Some((program, arguments)) = program.split_first() else {
        return anyhow!("no program to run");
    };
    let error = Command::new(program).args(arguments).exec();
    anyhow!(error).context(format!("cannot run {}", program.display()))
}

/// A running child. Dropping it kills it and waits for its end.
pub struct Child {
    process: OwnedFd,
    reaper: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts `command`, made by [`command`]; its end is sent to `events` as what `event` makes of it.
    ///
    /// Call it on the main thread only: the leash ends with the thread that started the child.
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
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot hold a process by descriptor")?;
        let reaper = thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // The receiver is gone only when the run is over, and then nobody wants to know.
                let _ = events.send(event(status));
            }
        });
        Ok((Self { process, reaper: Some(reaper) }, pipes))
    }

    /// Sends `signal` to the child; one that has ended already is left in peace.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.process, signal);
    }

    /// Asks the child to end, and kills it if it has not after `patience`.
    pub fn end(self, patience: Duration) {
        self.signal(Signal::TERM);
        // The descriptor is readable once the process has ended; if waiting fails, the drop kills it.
        if let Ok(patience) = Timespec::try_from(patience) {
            let _ = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&patience));
        }
    }
}

/// Our ends of what a command asked for as pipes.
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
