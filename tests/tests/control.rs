//! Partitions that begin and end, are added and removed, while the machine runs, and what the subnet makes of it.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Instant;

use portico_tests::{Machine, OpenSm, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};

/// A machine whose partitions run `echo`, under an OpenSM that has brought the subnet up.
fn up(lhcas: usize, more: &[&str]) -> (Machine, OpenSm) {
    let lhcas_option = lhcas.to_string();
    let options = [&["--sm", "none", "--lhcas", &lhcas_option, "--image", "echo"], more].concat();
    let machine = Machine::ready_for_tools(&options);
    let mut opensm = machine.opensm(&[]);
    machine.wait_for_active(&mut opensm, lhcas);
    (machine, opensm)
}

/// Has `ctl` do what `words` say, of which it says nothing.
fn change(machine: &Machine, words: &[&str]) {
    assert_eq!(machine.ctl(words).ok(), "");
}

/// Has the partition at `lid` answer `ibping`.
fn ping(machine: &Machine, lid: u16) {
    let output = machine.tool("ibping", &["-f", "-c", "100", &lid.to_string()]).run();
    assert!(output.ok().contains("100 packets transmitted, 100 received, 0% packet loss"), "{}", output.stdout);
}

/// A running `ibping` that sends without pause.
struct Traffic(Child);

impl Traffic {
    fn start(machine: &Machine, lid: u16) -> Self {
        let tool = machine.tool("ibping", &["-f", &lid.to_string()]);
        Self(tool.command().stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Stops `ibping`, and asserts that each of more than 1000 pings was answered.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
        let answers = said.split_once(" packets transmitted, ").and_then(|(_, rest)| rest.split_once(" received"));
        assert!(answers.unwrap().0.parse::<u64>().unwrap() > 1000, "{said}");
    }
}

/// Returns the line about `name` in the output of `ctl` with `verb`.
fn line(machine: &Machine, verb: &str, name: &str) -> String {
    let output = machine.ctl(&[verb]);
    let found = output.ok().lines().find(|line| line.split_whitespace().any(|word| word == name));
    found.unwrap_or_else(|| panic!("no {name} in:\n{}", output.stdout)).to_owned()
}

/// Waits until a partition has ended and its memory is scrubbed, and returns its line of `list`.
fn end(machine: &Machine, name: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = line(machine, "list", name);
        if !list.contains("running") {
            return list.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        assert!(Instant::now() < deadline, "{list}");
    }
}

#[test]
fn partition_after_stop_and_start_has_its_lid_again() {
    let (machine, mut opensm) = up(3, &[]);
    let before = machine.active_lhcas();
    let was = line(&machine, "status", "portico-0-lhca2");
    assert!(was.contains("Active  running"), "{was}");

    change(&machine, &["stop", "portico-0-lhca2"]);
    // Trap 128, link state change, is what starts the sweep (IBA vol. 1, 14.2.5.1).
    opensm.wait_for("num:128");
    let without = machine.wait_for_active(&mut opensm, 2);
    assert!(!without.contains_key("portico-0-lhca2"), "{without:?}");
    let status = line(&machine, "status", "portico-0-lhca2");
    assert!(status.contains("Down") && status.contains("its partition is stopped: ctl start"), "{status}");
    assert!(line(&machine, "list", "portico-0-lhca2").contains("0 of 1"));

    change(&machine, &["start", "portico-0-lhca2"]);
    opensm.wait_for("num:128");
    assert_eq!(machine.wait_for_active(&mut opensm, 3), before, "each has the LID that it had");
    assert_eq!(line(&machine, "status", "portico-0-lhca2"), was, "and its GUID, and its port");
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn port_set_down_and_up_by_name_or_place_is_active_again() {
    let (machine, mut opensm) = up(3, &[]);
    let before = machine.active_lhcas();
    let was = line(&machine, "status", "portico-0-lhca2");
    for port in ["portico-0-lhca2", "1/3"] {
        change(&machine, &["port", port, "down"]);
        opensm.wait_for("num:128");
        let without = machine.wait_for_active(&mut opensm, 2);
        assert!(!without.contains_key("portico-0-lhca2"), "{without:?}");
        let status = line(&machine, "status", "portico-0-lhca2");
        assert!(status.contains("running") && status.contains("ctl port portico-0-lhca2 up"), "{status}");
        change(&machine, &["port", port, "up"]);
        opensm.wait_for("num:128");
        assert_eq!(machine.wait_for_active(&mut opensm, 3), before);
    }
    assert_eq!(line(&machine, "status", "portico-0-lhca2"), was);
    ping(&machine, before["portico-0-lhca2"]);
    // The uplink: the SM outside sees no node behind it.
    change(&machine, &["port", "1/1", "down"]);
    opensm.wait_for("num:128");
    machine.wait_for_active(&mut opensm, 0);
    assert!(machine.ctl(&["status"]).ok().contains("uplink 1 without a link"));
    change(&machine, &["port", "1/1", "up"]);
    opensm.wait_for("num:128");
    assert_eq!(machine.wait_for_active(&mut opensm, 3), before);
}

#[test]
fn partition_after_add_and_remove_leaves_nothing() {
    let (machine, mut opensm) = up(2, &["--spare-ports", "1"]);
    let nodes = || machine.tool("ibnetdiscover", &[]).run().ok().to_owned();
    let before = machine.status_at_rest("portico-0");

    // Twice: a removed partition leaves its port free, and nothing else.
    for _ in 0..2 {
        change(&machine, &["add", "name=web-lhca", "image=echo", "memory=4M"]);
        opensm.wait_for("num:128");
        let active = machine.wait_for_active(&mut opensm, 3);
        ping(&machine, active["web-lhca"]);
        assert!(nodes().contains("\"web-lhca\""));
        let full = machine.ctl(&["add", "name=more", "image=echo"]);
        assert_eq!(full.code, Some(1), "{full:?}");
        assert!(full.stderr.contains("cannot add more"), "{}", full.stderr);

        change(&machine, &["remove", "web-lhca"]);
        opensm.wait_for("num:128");
        machine.wait_for_active(&mut opensm, 2);
        assert!(!nodes().contains("\"web-lhca\""));
    }
    assert_eq!(machine.status_at_rest("portico-0"), before, "nothing of it is left");
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn ping_during_start_of_a_large_partition_is_answered() {
    let (machine, _opensm) = up(1, &["--spare-ports", "1", "--memory", "1G"]);
    let before = machine.status_at_rest("portico-0");
    let ping = machine.tool("ibping", &["-f", "-c", "10", &machine.active_lhcas()["portico-0-lhca1"].to_string()]);
    let (done, until) = channel::<()>();
    let pings = thread::spawn(move || {
        let is_late = |_: &u32| until.try_recv() == Err(TryRecvError::Disconnected);
        (0..).inspect(|_| assert!(ping.run().ok().contains(" 0% packet loss"))).find(is_late)
    });
    change(&machine, &["add", "name=large-lhca", "image=echo", "memory=512M"]);
    drop(done);
    let rounds = pings.join().unwrap().unwrap();
    // Most of that time is the scrub of its memory, which takes far longer than a ping.
    assert!(rounds >= 4, "only {rounds} rounds of pings were answered");
    change(&machine, &["remove", "large-lhca"]);
    assert_eq!(machine.status_at_rest("portico-0"), before);
}

#[test]
fn invalid_command_is_refused_with_a_remedy() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "1", "--image", "echo", "--spare-ports", "1"]);
    let before = machine.control("portico-0", "list");
    let cases: [(&[&str], &str); 13] = [
        (&["stop", "unknown"], "cannot find the LHCA \"unknown\""),
        (&["start", "portico-0-lhca1"], "portico-0-lhca1"),
        (&["port", "unknown", "down"], "cannot find the port \"unknown\""),
        (&["port", "9/1", "down"], "cannot find uplink 9: use one that `status` shows"),
        (&["add", "image=echo"], "missing field `name`"),
        (&["add", "name=a", "qp0=all"], "use one of [\"none\", \"query\", \"manager\"]"),
        (&["add", "name=a", "image=nothing"], "cannot find the image nothing: "),
        (&["add", "name=a", "image=bridge"], "a bridge sends at queue pair 0"),
        (&["add", "name=a", "image=./a.elf"], "was not given an image file-a when it began"),
        (&["add", "name=a", "hypervisor=west"], "cannot find the hypervisor west at the socket "),
        (&["add", "name=a", "image=echo", "memory=2G"], "cannot allocate 2048 MiB in one piece, "),
        (&["add", "name=portico-0-lhca1", "guid=0x02"], "portico-0-lhca1"),
        (&["add", "name=a", "guid=0x026fb8f2d5000101"], "0x026fb8f2d50001"),
    ];
    for (words, why) in cases {
        let output = machine.ctl(words);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains(why), "{words:?}: {}", output.stderr);
    }
    assert_eq!(machine.control("portico-0", "list"), before);
}

#[test]
fn command_with_several_hypervisors_needs_a_name() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_switches.net");
    let two = ["--topology", topology, "--hypervisor", "west", "--hypervisor", "east"];
    let rest = ["--sm", "none", "--lhcas", "1", "--spare-ports", "1"];
    let machine = Machine::ready_for_tools(&[&two[..], &rest].concat());
    let refused = |words: &[&str], why: &str| {
        let output = machine.ctl(words);
        assert!(output.code == Some(1) && output.stderr.contains(why), "{words:?}: {output:?}");
    };
    refused(&["add", "name=a"], "add --hypervisor with one of east, west");
    refused(&["add", "name=west-lhca1", "hypervisor=east"], "west has a partition of this name");
    refused(&["add", "name=west-lhca1", "hypervisor=west"], "the name west-lhca1 is taken: choose another");
    change(&machine, &["add", "name=a", "hypervisor=east"]);
    change(&machine, &["--hypervisor", "east", "port", "a", "down"]);
    let list = machine.ctl(&["list"]);
    let names: Vec<_> = list.ok().lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["east:", "NAME", "east-lhca1", "a", "west:", "NAME", "west-lhca1"]);
}

#[test]
fn configuration_file_yields_its_partitions() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../qemu/examples/portico.toml");
    let machine = Machine::up(&["--config", file]);
    let list = machine.ctl(&["list"]);
    let rows: Vec<Vec<_>> = list.ok().lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        "echo-1 running echo none 2M 1 1 of 1",
        "echo-2 stopped echo none 2M 0 0 of 1",
        "watcher running echo query 4M 1 1 of 1",
        "adapter none - - - - 1 of 1",
    ];
    assert_eq!(rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>(), expected);
    let adapter = line(&machine, "status", "adapter");
    assert!(adapter.contains("0x0200000000001001"), "{adapter}");
    let json = machine.ctl(&["status", "--json"]);
    assert!(json.ok().contains("\"name\": \"echo-2\""), "{}", json.stdout);
}

#[test]
fn partition_after_its_exit_shows_the_code_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    // The image `sm` exits without the right to be an SM (qp0 = 'manager').
    let manager = "[[partition]]\nname = \"manager\"\nimage = \"sm\"\nmemory = \"32M\"\nautostart = false\n";
    std::fs::write(&file, manager).unwrap();
    let machine = Machine::ready_for_tools(&["--sm", "none", "--config", file.to_str().unwrap()]);
    let before = machine.status_at_rest("portico-0");
    for starts in 1..=3 {
        let verb = if starts == 1 { "start" } else { "restart" };
        change(&machine, &[verb, "manager"]);
        assert_eq!(end(&machine, "manager"), format!("manager ended sm none 32M {starts} 0 of 1 exited with code 1"));
        let status = line(&machine, "status", "manager");
        assert!(status.ends_with("its partition exited with code 1: ctl restart manager"), "{status}");
    }
    assert_eq!(machine.status_at_rest("portico-0"), before, "its memory is free again");
}

#[test]
fn invalid_configuration_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    std::fs::write(&file, "[[partition]]\nname = \"a\"\nmemory = \"1M\"\n").unwrap();
    let mut machine = Machine::start(&["--config", file.to_str().unwrap()]);
    assert_eq!(machine.wait().0.code(), Some(1));
    let said = machine.stderr();
    assert!(said.contains("portico.toml, line 3, `memory = \"1M\"`: write memory as a number and M or G"), "{said}");
}

#[test]
fn thousand_restarts_under_traffic_leave_nothing() {
    let (machine, mut opensm) = up(2, &[]);
    let lids = machine.active_lhcas();
    let before = (machine.status_at_rest("portico-0"), line(&machine, "status", "portico-0-lhca1"));

    // One partition answers while the other one restarts.
    let traffic = Traffic::start(&machine, lids["portico-0-lhca2"]);
    for _ in 0..1000 {
        assert!(machine.control("portico-0", "restart portico-0-lhca1").is_empty());
    }
    traffic.end();

    assert_eq!(machine.wait_for_active(&mut opensm, 2), lids, "the LIDs come back");
    assert!(line(&machine, "list", "portico-0-lhca1").contains("1001"), "it was started so often");
    assert_eq!((machine.status_at_rest("portico-0"), line(&machine, "status", "portico-0-lhca1")), before);
    for &lid in lids.values() {
        ping(&machine, lid);
    }
}

#[test]
fn repeated_crashes_under_traffic_leave_nothing() {
    const CRASHES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    let crash = "image = 'hostile'\nmemory = '2M'\nautostart = false\narguments = 'attempt=triple-fault'\n";
    let echo = "image = 'echo'\nmemory = '2M'\n";
    let rows = [("echo-lhca", echo), ("crash-lhca", crash)];
    std::fs::write(&file, rows.map(|(name, rest)| format!("[[partition]]\nname = '{name}'\n{rest}")).concat()).unwrap();
    let machine = Machine::ready_for_tools(&["--sm", "none", "--config", file.to_str().unwrap()]);
    let mut opensm = machine.opensm(&[]);
    let lids = machine.wait_for_active(&mut opensm, 1);
    let before = machine.status_at_rest("portico-0");

    let traffic = Traffic::start(&machine, lids["echo-lhca"]);
    let mut console = machine.console("portico-0");
    for _ in 0..CRASHES {
        assert!(machine.control("portico-0", "restart crash-lhca").is_empty());
        console.wait_for(|line| line.contains("partition crash-lhca crashed: triple fault"));
    }
    traffic.end();
    let expected = format!("crash-lhca ended hostile none 2M {CRASHES} 0 of 1 crashed: triple fault");
    assert_eq!(end(&machine, "crash-lhca"), expected);
    assert_eq!(machine.status_at_rest("portico-0"), before);
    ping(&machine, lids["echo-lhca"]);
}
