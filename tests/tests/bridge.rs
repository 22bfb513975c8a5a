//! Programs on the host that attach at a bridge, and so send and receive as its partition.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::process::Command;
use std::time::Instant;

use portico_tests::{Machine, OpenSm, PATIENCE, Preload, Site};
use rustix::process::Signal;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bridge.toml");

/// Name of the partition that runs the image `bridge`.
const BRIDGE: &str = "bridge";

/// Line of OpenSM's log when trap 144 says that a port has an SM (IsSM).
const WITH_MANAGER: &str = "new CapabilityMask 0x0640484a";

/// Starts a machine with the partitions of [`CONFIG`] and no SM, and returns it with the bridge's site.
fn machine() -> (Machine, Site) {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--config", CONFIG, "--pcap", "capture"]);
    let bridge = machine.site().at(BRIDGE);
    (machine, bridge)
}

/// Returns the LIDs of all adapters by NodeDescription, as `ibnetdiscover` finds them from `site`.
fn lids(site: &Site) -> BTreeMap<String, u16> {
    let output = site.tool("ibnetdiscover", &["--ports"]).run();
    // CA    4  1 0x02a75b2c7d000101 4x EDR - SW 3 2 0x026fb8f2d5ffff00 ( 'portico-0-lhca1' - 'portico-0' )
    let lines = output.ok().lines().filter(|line| line.starts_with("CA"));
    lines.map(|line| (line.split('\'').nth(1).unwrap().to_owned(), word(line, 1))).collect()
}

fn word(line: &str, nth: usize) -> u16 {
    line.split_whitespace().nth(nth).unwrap().parse().unwrap()
}

/// Returns the description of the node where `sminfo` at `site` finds the master SM.
fn master(site: &Site) -> String {
    let ask = || site.tool("sminfo", &[]).run().ok().to_owned();
    // The host's end of a bridge learns the port's SM LID a moment after the port.
    wait_until(true, || ask().contains("SMINFO_MASTER"));
    let text = ask();
    let (_, rest) = text.split_once("sm lid ").unwrap();
    let lid = word(rest, 0);
    lids(site).into_iter().find(|(_, other)| *other == lid).unwrap().0
}

/// Polls until `ask` returns `expected`.
fn wait_until<T: PartialEq + Debug>(expected: T, ask: impl Fn() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = ask();
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{got:?} in place of {expected:?}");
    }
}

/// Asserts that OpenSM received each trap once: each TrapRepress has reached its sender.
fn assert_repressed(log: &str) {
    let mut traps: Vec<_> = log.lines().filter(|line| line.contains("Received Generic Notice")).collect();
    assert!(!traps.is_empty(), "{log}");
    traps.iter_mut().for_each(|line| *line = line.split_once("type:").unwrap().1);
    let all = traps.len();
    traps.sort_unstable();
    traps.dedup();
    assert_eq!(traps.len(), all, "{log}");
}

#[test]
fn opensm_at_a_bridge_is_master_of_the_whole_subnet() {
    let machine = Machine::up(&["--sm", "bridge", "--lhcas", "2", "--image", "echo"]);
    let (outside, bridge) = (machine.site(), machine.site().at(BRIDGE));
    assert_eq!((master(&outside), master(&bridge)), (BRIDGE.into(), BRIDGE.into()));
    let found: Vec<_> = lids(&bridge).into_keys().collect();
    assert_eq!(found, ["H1", "H2", BRIDGE, "portico-0-lhca1", "portico-0-lhca2"]);
    assert_eq!(lids(&bridge), lids(&outside));
    let stock = bridge.tool("smpquery", &["-D", "nodedesc", "0"]).through(Preload::Stock).run();
    assert!(stock.ok().contains(BRIDGE), "{stock:?}");
    let records = bridge.tool("saquery", &["--list"]).run();
    assert!(records.ok().contains("portico-0-lhca2"), "{records:?}");
    let log = fs::read_to_string(machine.log("opensm.log")).unwrap();
    assert!(log.contains("SUBNET UP") && !log.contains(" ERR "), "{log}");
}

#[test]
fn trap_for_opensm_at_a_bridge_arrives_and_is_repressed() {
    let (machine, bridge) = machine();
    let mut opensm = bridge.opensm(&["-p", "1"]);
    opensm.wait_for_subnet_up();
    for word in ["down", "up"] {
        assert!(machine.control("portico-0", &format!("port 3 {word}")).is_empty());
        opensm.wait_for("num:128");
        opensm.wait_for_subnet_up();
    }
    // Trap 144 of H1, whose SM has the lower priority, comes from outside by the cable.
    let mut other = machine.opensm(&["-p", "0"]);
    opensm.wait_for("num:144");
    other.wait_for("Entering STANDBY state");
    opensm.sweep();
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
    assert_repressed(&opensm.log());
    // TrapRepress is the only packet of its method; it goes to H1.
    let mut tshark = Command::new("tshark");
    tshark.args(["-Y", "infiniband.mad.method == 0x07", "-r"]).arg(machine.folder().join("capture"));
    let repressed = tshark.output().unwrap();
    assert!(!repressed.stdout.is_empty(), "no repress on the cable: {repressed:?}");
}

#[test]
fn sms_inside_and_outside_hand_over_and_fail_over() {
    let (machine, bridge) = machine();
    let outside = machine.site();
    let mut inside = bridge.opensm(&["-p", "1"]);
    inside.wait_for_subnet_up();

    // The SM with the higher priority outside takes over, and the first one again after its death.
    let mut better = outside.opensm(&["-p", "5"]);
    better.wait_for("Entering MASTER state");
    inside.wait_for("Entering STANDBY state");
    better.wait_for_subnet_up();
    assert_eq!(master(&bridge), "H1");
    drop(better);
    inside.wait_for("Entering MASTER state");
    inside.wait_for_subnet_up();
    assert_eq!(master(&outside), BRIDGE);

    // The same from the other side.
    let mut worse = outside.opensm(&["-p", "0"]);
    worse.wait_for("Entering STANDBY state");
    drop(inside);
    worse.wait_for("Entering MASTER state");
    worse.wait_for_subnet_up();
    assert_eq!(master(&bridge), "H1");
    let mut best = bridge.opensm(&["-p", "9"]);
    best.wait_for("Entering MASTER state");
    worse.wait_for("Entering STANDBY state");
    best.wait_for_subnet_up();
    assert_eq!(master(&outside), BRIDGE);
}

#[test]
fn pings_from_and_to_a_bridge_are_answered() {
    let (machine, bridge) = machine();
    let outside = machine.site();
    let mut opensm: OpenSm = outside.opensm(&[]);
    opensm.wait_for_subnet_up();
    let lids = lids(&bridge);
    let lid = |name: &str| lids[name].to_string();
    let once = |from: &Site, to| from.tool("ibping", &["-c", "1", &lid(to)]);
    let servers = [(&outside, &bridge, "H1"), (&bridge, &outside, BRIDGE)]
        .map(|(of, from, name)| of.tool("ibping", &["-S"]).serve(&once(from, name)));
    for (from, to) in [(&bridge, "H1"), (&bridge, "echo-1"), (&bridge, "echo-2"), (&outside, BRIDGE)] {
        let output = from.tool("ibping", &["-f", "-c", "100", &lid(to)]).run();
        let text = output.ok();
        assert!(text.contains("100 packets transmitted, 100 received, 0% packet loss"), "{to}: {text}");
    }
    drop(servers);
    let output = bridge.tool("ibsysstat", &[&lid("echo-1"), "host"]).run();
    assert_eq!(output.ok().trim(), "echo-1");
    let status = bridge.tool("ibsysstat", &[&lid("H1"), "ping"]);
    let _server = outside.tool("ibsysstat", &["-S"]).serve(&status);
    assert_eq!(status.run().ok().trim(), "sysstat ping succeeded");
}

#[test]
fn program_at_a_bridge_sees_the_lid_that_the_sm_sets() {
    let (machine, bridge) = machine();
    let base_lid = || {
        let output = bridge.tool("ibstat", &[]).run();
        let (_, lid) = output.ok().split_once("Base lid: ").unwrap();
        word(lid, 0)
    };
    assert_eq!(base_lid(), 0);
    let mut opensm = machine.opensm(&[]);
    opensm.wait_for_subnet_up();
    let lid = lids(&bridge)[BRIDGE];
    assert_ne!(lid, 0);
    wait_until(lid, base_lid);
}

#[test]
fn stopped_bridge_refuses_programs_until_it_starts() {
    let (machine, bridge) = machine();
    // ibstat shows what it learns when it attaches, and sends nothing.
    let attaches = || bridge.tool("ibstat", &[]).run().stdout.contains("Base lid");
    for _ in 0..2 {
        wait_until(true, attaches);
        let _ = machine.control("portico-0", "stop bridge");
        wait_until(false, attaches);
        let _ = machine.control("portico-0", "start bridge");
    }
    wait_until(true, attaches);
}

#[test]
fn bridge_started_later_accepts_programs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    fs::write(&file, "[[partition]]\nname = 'later'\nimage = 'bridge'\nqp0 = 'query'\nautostart = false\n").unwrap();
    let machine = Machine::ready_for_tools(&["--sm", "none", "--config", file.to_str().unwrap()]);
    let later = machine.site().at("later");
    let attaches = || later.tool("ibstat", &[]).run().stdout.contains("Base lid");
    assert!(!attaches());
    assert_eq!(machine.ctl(&["start", "later"]).ok(), "");
    wait_until(true, attaches);
    assert!(lids(&later).contains_key("later"));
}

#[test]
fn bridge_added_and_removed_at_run_time_accepts_programs() {
    let mut machine = Machine::up(&["--lhcas", "1", "--spare-ports", "4"]);
    let at = |name: &str| machine.site().at(name);
    let attaches = |name: &str| at(name).tool("ibstat", &[]).run().stdout.contains("Base lid");
    let add = |name: &str| machine.ctl(&["add", &format!("name={name}"), "image=bridge", "qp0=manager"]);
    assert!(!attaches("one"));
    for name in ["one", "two"] {
        assert_eq!(add(name).ok(), "");
        wait_until(true, || attaches(name));
        // Requests from both sides are answered: each finds the other's LIDs once OpenSM has assigned them.
        wait_until(true, || lids(&at(name)) == lids(&machine.site()));
        assert!(lids(&at(name)).contains_key(name));
    }
    // The machine has two HCAs for bridges that are added at run time.
    let third = add("three");
    assert_eq!(third.code, Some(1));
    assert!(third.stderr.contains("drive all 2 HCAs") && third.stderr.contains("stop one of them"), "{third:?}");
    // IsSM of a removed bridge is not set at its successor.
    let mut manager = at("two").opensm(&["-p", "0"]);
    manager.wait_for("Entering STANDBY state");
    assert_eq!(machine.ctl(&["remove", "two"]).ok(), "");
    wait_until(false, || attaches("two"));
    assert_eq!(add("three").ok(), "");
    wait_until(true, || attaches("three"));
    let info = at("three").tool("smpquery", &["-D", "portinfo", "0"]).run();
    assert!(info.ok().contains("CapMask") && !info.ok().contains("IsSM\n"), "{info:?}");
    // After a restart the bridge is at its former place; the other bridge is unaffected.
    assert_eq!(machine.ctl(&["restart", "three"]).ok(), "");
    wait_until(true, || attaches("three"));
    assert!(attaches("one") && !attaches("two"));
    drop(manager);
    assert!(machine.end_by(Signal::INT).success());
}

#[test]
fn bridge_with_two_ports_offers_both() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net");
    let machine = Machine::ready_for_tools(&["--sm", "none", "--topology", topology, "--config", CONFIG]);
    let (outside, bridge) = (machine.site(), machine.site().at(BRIDGE));
    let guids = || {
        let output = bridge.tool("ibstat", &["-p"]).run();
        output.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until(2, || guids().len());
    let mut opensm = bridge.opensm(&["-g", &guids()[1]]);
    opensm.wait_for_subnet_up();
    let second = |program, arguments: &[&str]| {
        let output = bridge.tool(program, &[&["-P", "2"], arguments].concat()).run();
        output.ok().to_owned()
    };
    // The SM is at port 2; port 1 has none.
    assert!(second("smpquery", &["-D", "portinfo", "0", "2"]).contains("IsSM"));
    let first = bridge.tool("smpquery", &["-D", "portinfo", "0", "1"]).run();
    assert!(!first.ok().contains("IsSM"), "{first:?}");
    let state = |port: &str| bridge.tool("ibstat", &["portico0", port]).run().ok().to_owned();
    let lid = |port| word(state(port).split_once("Base lid: ").unwrap().1, 0);
    wait_until(true, || lid("1") != 0 && lid("2") != 0);
    assert_ne!(lid("1"), lid("2"));
    assert!(second("sminfo", &[]).contains(&format!("sm lid {} ", lid("2"))));
    assert!(second("smpquery", &["-D", "nodeinfo", "0"]).contains("LocalPort:.......................2"));
    assert!(second("saquery", &["--list"]).contains("echo-2"));
    for at in ["1", "2"] {
        assert!(second("perfquery", &[&lid(at).to_string(), at]).contains("PortXmitData"), "port {at}");
    }
    // Pings from port 2, and to each port.
    let lids = lids(&outside);
    let echo = second("ibping", &["-f", "-c", "100", &lids["echo-1"].to_string()]);
    assert!(echo.contains("100 packets transmitted, 100 received"), "{echo}");
    for port in ["1", "2"] {
        let ping = outside.tool("ibping", &["-c", "1", &lid(port).to_string()]);
        let _server = bridge.tool("ibping", &["-S", "-P", port]).serve(&ping);
    }
    assert!(opensm.errors().is_empty(), "{:#?}", opensm.errors());
}

#[test]
fn bridge_after_death_of_its_hca_model_returns() {
    let (mut machine, bridge) = machine();
    let mut opensm = bridge.opensm(&[]);
    opensm.wait_for_subnet_up();
    for _ in 0..2 {
        machine.kill("portico model --name portico-0-hca1");
        // The port sets IsSM again.
        opensm.wait_for(WITH_MANAGER);
        opensm.sweep();
        assert_eq!(master(&machine.site()), BRIDGE);
    }
    drop(opensm);
    assert!(machine.end_by(Signal::INT).success());
}
