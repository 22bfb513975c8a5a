//! The steps of a long piece of work: a spinner on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, pipe, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How many of a failed program's last lines are shown.
const TAIL: usize = 30;

/// A step under way. Dropped before [`Step::done`], it is shown as failed.
pub(crate) struct Step {
    what: String,
    start: Instant,
    spinner: Option<ProgressBar>,
    open: bool,
}

impl Step {
    /// Begins a step, such as "build the kernel".
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let spinner = stderr().is_terminal().then(|| spinner(&what));
        if spinner.is_none() {
            eprintln!("  {what} ...");
        }
        Self { what, start: Instant::now(), spinner, open: true }
    }

    /// Says how far the step is. Seen on a terminal only.
    pub(crate) fn note(&self, note: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(note.to_owned());
        }
    }

    /// Ends the step well.
    pub(crate) fn done(mut self) {
        self.end("✓");
    }

    /// Runs `command` to its end, its last line of output shown as the note.
    ///
    /// # Errors
    /// The command cannot be run, or fails: then with the end of its output.
    pub(crate) fn watch(&self, mut command: Command) -> Result<()> {
        let name = command.get_program().to_string_lossy().into_owned();
        let (output, input) = pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        drop(command); // and with it our ends of the pipe, or it would never end
        let mut tail = VecDeque::with_capacity(TAIL);
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line.context("cannot read a program's output")?).into_owned();
            self.note(line.trim());
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("{name} failed ({status}), saying:\n{}", Vec::from(tail).join("\n"));
        }
        Ok(())
    }

    fn end(&mut self, mark: &str) {
        self.open = false;
        let line = format!("{mark} {} ({:.1} s)", self.what, self.start.elapsed().as_secs_f64());
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        eprintln!("{line}");
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open {
            self.end("✗");
        }
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(what.to_owned());
    // A template of constant text: it is right, or every run fails.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
