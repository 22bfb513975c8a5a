//! Portico's preload library with ibsim's server, and in programs unrelated to InfiniBand.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::Command;
use std::time::{Duration, Instant};

use portico_tests::{Ibsim, library};

/// Returns the output of a program with the library preloaded and without a server.
fn preloaded(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LD_PRELOAD", library())
        .env("IBSIM_SOCKNAME", "portico-test-no-server")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn unrelated_program_with_the_library_behaves_as_without() {
    let start = Instant::now();
    for (program, arguments) in [
        ("env", &["true"][..]),
        ("bash", &["-c", "echo a; (echo b); cat /etc/hostname > /dev/null; ls -d /sys/class /dev; : | cat"]),
        ("perl", &["-e", "opendir D, '/etc' or die; readdir D; closedir D; stat '/etc'; system 'true'; print 1"]),
    ] {
        let plain = Command::new(program).args(arguments).output().unwrap();
        assert_eq!(preloaded(program, arguments).as_bytes(), plain.stdout, "{program}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "no program waits for a server");
}

#[test]
fn shell_and_its_child_both_see_the_port() {
    let ibsim = Ibsim::start(2);
    // The shell is attached when it forks; the child is a client of its own.
    let script = "
        directory=/sys/class/infiniband/portico0/ports/1
        [ -d $directory ] && [ -r $directory/state ] && [ ! -e $directory/nothing ] || exit 1
        read -r state < $directory/state
        ( read -r guid < $directory/../../node_guid; echo child $guid )
        read -r again < $directory/state
        [ \"$state\" = \"$again\" ] && echo parent $state
        echo /sys/class/infiniband/*
        ls /dev/infiniband";
    let output = ibsim.site().tool("bash", &["-c", script]).run();
    let lines: Vec<_> = output.ok().lines().collect();
    assert!(lines[0].starts_with("child 0000:0000:"), "{lines:?}");
    assert_eq!(lines[1..], ["parent 2: INIT", "/sys/class/infiniband/portico0", "issm0", "umad0"]);
}

#[test]
fn opensm_on_ibsim_brings_the_subnet_up() {
    const HOSTS: u8 = 16;
    let ibsim = Ibsim::start(HOSTS);
    let site = ibsim.site();
    let mut opensm = site.opensm(&[]);
    opensm.wait_for_subnet_up();
    let nodes = usize::from(HOSTS) + 1;
    let paths = site.tool("saquery", &["-p"]).at("H2").run();
    let count = paths.ok().lines().filter(|line| line.contains("PathRecord dump")).count();
    assert_eq!(count, nodes * nodes, "a response of many windows, sent and read by the library");
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn opensm_without_smp_limit_brings_the_subnet_up() {
    // With ibsim's own library both ends wait for each other without end.
    let ibsim = Ibsim::start(200);
    let mut opensm = ibsim.site().opensm(&["--maxsmps", "0"]);
    opensm.wait_for_subnet_up();
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn datagram_of_an_unregistered_class_leaves_opensm_running() {
    let ibsim = Ibsim::start(2);
    let site = ibsim.site();
    let mut opensm = site.opensm(&[]);
    opensm.wait_for_subnet_up();
    // ibsim delivers it to OpenSM, which ibsim's own library would crash.
    let ping = site.tool("ibping", &["--count", "1", "--timeout", "100", "1"]).at("H2").run();
    assert!(ping.stdout.contains("1 packets transmitted, 0 received"), "{}", ping.stdout);
    let state = site.tool("sminfo", &[]).at("H2").run();
    assert!(state.ok().contains("SMINFO_MASTER"), "{}", state.stdout);
    opensm.sweep();
}

#[test]
fn osmtest_on_ibsim_passes() {
    let ibsim = Ibsim::start(3);
    let site = ibsim.site();
    let mut opensm = site.opensm(&[]);
    opensm.wait_for_subnet_up();
    // The inventory, and the queries with messages of many MADs both ways.
    for flow in ["c", "a"] {
        let output = site.tool("osmtest", &["-f", flow, "-l", "osmtest.log"]).at("H2").run();
        assert!(output.ok().contains("PASS"), "{flow}: {}", output.stdout);
    }
}
