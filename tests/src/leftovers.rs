//! Processes, sockets and files that a machine must not leave behind.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

/// Environment variable that marks a machine's processes: each inherits it from the first.
pub(crate) const MARK: &str = "PORTICO_TEST";

/// Lists what remains of the machine with the mark `mark`, the socket name `socket` and the folder `folder`.
pub(crate) fn of(mark: &str, socket: &str, folder: &Path) -> Vec<String> {
    let mut left = processes(mark);
    left.extend(sockets(socket));
    left.extend(fs::read_dir(folder).unwrap().flatten().map(|file| format!("file {}", file.path().display())));
    left
}

fn processes(mark: &str) -> Vec<String> {
    let found = marked(mark).into_iter();
    found.map(|(process, command)| format!("process {} {command}", process.as_raw_nonzero())).collect()
}

/// Finds the processes with the mark `mark` whose command line contains `words`. A process before its `exec` is left
/// out.
pub(crate) fn find(mark: &str, words: &str) -> Vec<Pid> {
    let found = marked(mark).into_iter();
    found
        .filter(|(_, line)| line.contains(words) && !line.contains(" supervise "))
        .map(|(process, _)| process)
        .collect()
}

fn marked(mark: &str) -> Vec<(Pid, String)> {
    let marked = format!("{MARK}={mark}\0");
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let number = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // A process may end during the search.
        let (Some(number), Ok(environment)) = (number, fs::read(process.path().join("environ"))) else { continue };
        if environment.windows(marked.len()).any(|bytes| bytes == marked.as_bytes()) {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            found.push((number, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

fn sockets(socket: &str) -> Vec<String> {
    let ours = format!("@{socket}:");
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    table.lines().filter(|line| line.contains(&ours)).map(|line| format!("socket {line}")).collect()
}
