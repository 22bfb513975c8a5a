//! Programs under valgrind's callgrind.

use std::fs;
use std::io::Read;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Number of requests in the shorter one of the two runs.
pub const ROUNDS: u32 = 2_000;

/// A program that runs under callgrind. Dropping it kills it.
pub(crate) struct Run {
    child: Child,
    folder: TempDir,
}

impl Run {
    /// Starts what `complete` makes of a command that lacks the program: valgrind, in `folder`, with a pipe for
    /// standard input.
    pub(crate) fn start(folder: TempDir, complete: impl FnOnce(&mut Command) -> &mut Command) -> Result<Self> {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=callgrind.out"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("errors"))?);
        let child =
            complete(&mut command).spawn().context("cannot run valgrind: install it (apt-get install valgrind)")?;
        Ok(Self { child, folder })
    }

    /// The program's standard input, once.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the end of the program, and says how many instructions it took.
    pub(crate) fn instructions(mut self) -> Result<u64> {
        drop(self.stdin());
        let status = self.child.wait()?;
        if !status.success() {
            let mut errors = String::new();
            fs::File::open(self.folder.path().join("errors"))?.read_to_string(&mut errors)?;
            bail!("the measured program failed ({status}):\n{errors}");
        }
        let profile = fs::read_to_string(self.folder.path().join("callgrind.out"))
            .context("callgrind wrote no profile: is the disk full?")?;
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.context("callgrind's profile has no total: is this another version of valgrind?")?;
        total.trim().parse().with_context(|| format!("callgrind counted {total:?}, not a number"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the instructions of one round, from those of runs of several rounds.
pub(crate) fn per_round(mut instructions: impl FnMut(u32) -> Result<u64>) -> Result<f64> {
    let (short, long) = (instructions(ROUNDS)?, instructions(2 * ROUNDS)?);
    ensure!(long > short, "{long} instructions for twice as many requests as {short} were spent on");
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
    let difference = (long - short) as f64;
    Ok(difference / f64::from(ROUNDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_and_end_do_not_count() {
        assert_eq!(per_round(|rounds| Ok(1_000 + 7 * u64::from(rounds))).unwrap(), 7.0);
        assert!(per_round(|_| Ok(1_000)).is_err());
    }
}
