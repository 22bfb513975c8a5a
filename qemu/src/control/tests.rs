//! The server and its clients, with a kernel that is played.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use control_protocol::Request;

use super::line::Line;
use super::*;

fn place(name: &str) -> Place {
    Place { socket: format!("portico-unit-{name}-{}", std::process::id()), hypervisor: "hv".into() }
}

/// Plays the kernel on `stream`: answers each line with itself and `ok`, but refuses `list`.
fn play_kernel(stream: UnixStream) {
    let mut answers = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        match line.as_str() {
            "list" => writeln!(answers, "error: not so").unwrap(),
            line => writeln!(answers, "you said {line}\nok").unwrap(),
        }
    }
}

#[test]
fn clients_at_once_each_get_their_own_answer() {
    let (folder, place) = (tempfile::tempdir().unwrap(), place("many"));
    let server = Server::start(folder.path().join("kernel"), &place).unwrap();
    let kernel = UnixStream::connect(server.path()).unwrap();
    let kernel = thread::spawn(|| play_kernel(kernel));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let place = place.clone();
            thread::spawn(move || {
                for round in 0..50 {
                    let name = format!("line {round} of {client}");
                    let request = Request::Digest(&name);
                    assert_eq!(ask(&place, &request).unwrap(), [format!("you said {request}")]);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(matches!(ask(&place, &Request::List), Err(AskError::Refused(why)) if why == "not so"));
    assert!(running().unwrap().contains(&place));
    drop(server);
    kernel.join().unwrap();
    assert!(!running().unwrap().contains(&place), "the socket ended with the server");
    let error = ask(&place, &Request::List).unwrap_err().to_string();
    assert!(error.contains(&place.name()), "{error}");
}

#[test]
fn a_server_that_no_kernel_came_to_ends_all_the_same() {
    let (folder, place) = (tempfile::tempdir().unwrap(), place("none"));
    drop(Server::start(folder.path().join("kernel"), &place).unwrap());
    let again = Server::start(folder.path().join("again"), &place).unwrap();
    let taken = Server::start(folder.path().join("third"), &place).unwrap_err();
    assert!(format!("{taken:#}").contains("end the run that has it"), "{taken:#}");
    drop(again);
}

/// A kernel that is played by the test, line by line.
fn slow_kernel() -> (Line, Receiver<String>, Sender<&'static str>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (heard, lines) = channel();
    let (say, answers) = channel::<&str>();
    let mut out = theirs.try_clone().unwrap();
    thread::spawn(move || {
        BufReader::new(theirs).lines().map_while(Result::ok).for_each(|line| heard.send(line).unwrap_or_default());
    });
    thread::spawn(move || answers.iter().for_each(|text| out.write_all(text.as_bytes()).unwrap_or_default()));
    (Line::new(ours, Duration::from_millis(50)).unwrap(), lines, say)
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_one() {
    let (mut line, heard, say) = slow_kernel();
    assert!(line.ask("first").is_err());
    assert_eq!(heard.recv().unwrap(), "first");
    // Half of the answer's last line: the next request times out in the middle of it.
    say.send("old news\no").unwrap();
    assert!(line.ask("second").is_err());
    say.send("k\nnew news\nok\n").unwrap();
    assert_eq!(line.ask("third").unwrap(), "new news\nok\n");
    assert_eq!(heard.recv().unwrap(), "third", "nothing was asked while an answer was owed");
}
