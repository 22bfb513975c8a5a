//! The commands of the book's chapters for users: each runs on a machine, and its output is that of the page.
//!
//! In a page's ```` ```console ```` blocks `$ cargo portico run ARGUMENTS` starts a machine, `$ export ...` names the
//! settings of the programs, and every other `$ COMMAND` runs in a shell. `...` in a line stands for any text, and a
//! line `...` for any lines.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use portico_tests::{Machine, library, portico};
use tempfile::TempDir;

/// A command of a page, with the output that the page shows.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    command: &'a str,
    output: Vec<&'a str>,
}

/// Returns the commands of the console blocks of `page`, in their order.
fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_console = line == "```console",
            _ if !is_console => {}
            Some(command) => steps.push(Step { command, output: Vec::new() }),
            None => steps.last_mut().expect("a command before its output").output.push(line),
        }
    }
    steps
}

/// Returns `true` if `line` is `shown`, in which `...` stands for any text.
fn line_matches(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once("...") else { return shown == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| line_matches(rest, &line[at..]))
}

/// Returns `true` if `lines` are `shown`, in which a line `...` stands for any lines.
fn output_matches(shown: &[&str], lines: &[&str]) -> bool {
    match shown {
        [] => lines.is_empty(),
        ["...", rest @ ..] => (0..=lines.len()).any(|from| output_matches(rest, &lines[from..])),
        [first, rest @ ..] => {
            lines.first().is_some_and(|line| line_matches(first, line)) && output_matches(rest, &lines[1..])
        }
    }
}

/// Settings that a page may export.
const SETTINGS: [&str; 5] = ["IBSIM_SOCKNAME", "SIM_HOST", "UMAD", "OSM_TMP_DIR", "OSM_CACHE_DIR"];

/// Asserts that `settings`, the words after `export`, set only [`SETTINGS`].
fn assert_settings(settings: &str) {
    for setting in settings.split_whitespace() {
        let (name, _) = setting.split_once('=').unwrap();
        assert!(SETTINGS.contains(&name), "the page exports {name}");
    }
}

/// Runs the commands of `page` on the machine that it starts, and asserts that each has the output of the page.
fn assert_page(page: &str) {
    let folder = tempfile::tempdir().unwrap();
    write_cargo(folder.path());
    let mut machine: Option<Machine> = None;
    for Step { command, output } in steps(page) {
        if let Some(arguments) = command.strip_prefix("cargo portico run") {
            let arguments: Vec<_> = arguments.split_whitespace().collect();
            let mut started = Machine::ready_for_tools(&arguments);
            let last = output.last().expect("the page shows the last line of a run that is ready");
            if !last.starts_with("ready:") {
                assert_eq!(started.wait_for(last.split("...").next().unwrap()), *last, "{command}");
            }
            machine = Some(started);
        } else if let Some(settings) = command.strip_prefix("export ") {
            assert_settings(settings);
        } else {
            let machine = machine.as_ref().expect("a page that starts a machine first");
            let said = run(command, machine, &folder);
            let lines: Vec<_> = said.lines().collect();
            assert!(output_matches(&output, &lines), "{command}\n-- page\n{}\n-- run\n{said}", output.join("\n"));
        }
    }
    assert!(machine.is_some(), "the page starts a machine");
}

/// Writes a command `cargo` into `folder` that runs `portico` on the machine of the test.
fn write_cargo(folder: &Path) {
    let script = "#!/bin/sh\n# cargo portico SUBCOMMAND WORDS...\nsubcommand=$2; shift 2\n\
        exec \"$PORTICO\" \"$subcommand\" --socket \"$IBSIM_SOCKNAME\" \"$@\"\n";
    let cargo = folder.join("cargo");
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs `command` in a shell with the settings of `machine`, and returns what it prints.
fn run(command: &str, machine: &Machine, folder: &TempDir) -> String {
    let own = folder.path().to_str().unwrap();
    let path = format!("{own}:{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "sh", "-c", &command.replace("/tmp/", &format!("{own}/"))])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("PORTICO", portico())
        .env("IBSIM_SOCKNAME", machine.socket())
        .env("SIM_HOST", machine.ready("SIM_HOST"))
        .env("UMAD", library())
        .envs(["OSM_TMP_DIR", "OSM_CACHE_DIR"].map(|name| (name, own)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn getting_started_page_shows_what_its_commands_print() {
    assert_page(include_str!("../../book/src/getting-started.md"));
}

#[test]
fn attach_page_shows_what_its_commands_print() {
    assert_page(include_str!("../../book/src/attach.md"));
}

#[test]
fn changed_output_does_not_match() {
    assert!(output_matches(&["a ... b", "...", "c"], &["a x b", "1", "2", "c"]));
    assert!(!output_matches(&["a ... b"], &["a x c"]));
    assert!(!output_matches(&["a"], &["a", "b"]));
    assert!(!output_matches(&["...", "c"], &["a", "b"]));
}
