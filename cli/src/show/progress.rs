//! The steps of a long piece of work: a spinner on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, pipe, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// A step under way. Dropping it before [`Step::done`] shows it as failed.
pub(crate) struct Step {
    title: String,
    start: Instant,
    spinner: Option<ProgressBar>,
    /// `true` until the step has ended.
    is_open: bool,
}

impl Step {
    /// Starts a step with a title such as "build the kernel".
    pub(crate) fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        let spinner = stderr().is_terminal().then(|| spinner(&title));
        if spinner.is_none() {
            eprintln!("  {title} ...");
        }
        Self { title, start: Instant::now(), spinner, is_open: true }
    }

    /// Shows the progress within the step, on a terminal only.
    pub(crate) fn note(&self, note: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(note.to_owned());
        }
    }

    /// Ends the step as successful.
    pub(crate) fn done(mut self) {
        self.end("✓");
    }

    /// Runs `command`, and shows its last line of output as the progress.
    ///
    /// # Errors
    /// The command cannot be run, or fails; the error has the end of its output.
    pub(crate) fn watch(&self, mut command: Command) -> Result<()> {
        let name = command.get_program().to_string_lossy().into_owned();
        let (output, input) = pipe().context("cannot create a pipe")?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        drop(command); // closes this process's ends of the pipe, so that it ends with the child
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
            bail!("cannot continue: {name} failed ({status}); its output:\n{}", Vec::from(tail).join("\n"));
        }
        Ok(())
    }

    fn end(&mut self, mark: &str) {
        self.is_open = false;
        let line = format!("{mark} {} ({:.1} s)", self.title, self.start.elapsed().as_secs_f64());
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        eprintln!("{line}");
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.is_open {
            self.end("✗");
        }
    }
}

fn spinner(title: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
    // The template is constant: an error would show in every run.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Lines of a failed program's output that are shown.
const TAIL: usize = 30;
