//! Partitions, and real tools that reach them.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::collections::BTreeMap;

use portico_tests::Machine;

/// A machine whose `count` partitions run `echo`, all of them Active, and their names and LIDs.
fn echoes(count: usize, more: &[&str]) -> (Machine, BTreeMap<String, u16>) {
    let machine = Machine::up(&[&["--lhcas", &count.to_string(), "--image", "echo"], more].concat());
    let lids = machine.active_lhcas();
    assert_eq!(lids.len(), count, "{lids:?}");
    (machine, lids)
}

/// Has `ibping` ask `name` at `lid` `count` times.
fn ping(machine: &Machine, name: &str, lid: u16, count: u64) {
    let output = machine.tool("ibping", &["-f", "-c", &count.to_string(), &lid.to_string()]).run();
    let text = output.ok();
    assert!(text.contains(&format!("--- {name} (Lid {lid}) ibping statistics ---")), "it says who answered:\n{text}");
    assert!(text.contains(&format!("{count} packets transmitted, {count} received, 0% packet loss")), "{text}");
}

/// Has `ibsysstat` ask the partition at `lid`.
fn status(machine: &Machine, lid: u16, operation: &str) -> String {
    let output = machine.tool("ibsysstat", &[&lid.to_string(), operation]).run();
    output.ok().trim().to_owned()
}

/// The counters of port 1 at `lid`, as `perfquery` has them.
fn counters(machine: &Machine, lid: u16) -> BTreeMap<String, u64> {
    let output = machine.tool("perfquery", &["-x", &lid.to_string(), "1"]).run();
    let lines = output.ok().lines().filter(|line| line.starts_with("Port"));
    let values =
        lines.filter_map(|line| Some((line.split_once(':')?.0.to_owned(), line.rsplit('.').next()?.parse().ok()?)));
    values.collect()
}

fn tools_reach_each_of(count: usize) {
    let (machine, lids) = echoes(count, &[]);
    for (name, &lid) in &lids {
        ping(&machine, name, lid, 20);
        assert_eq!(status(&machine, lid, "ping"), "sysstat ping succeeded");
        assert_eq!(status(&machine, lid, "host"), *name);
        let processors = status(&machine, lid, "cpu");
        assert!(processors.starts_with("cpu 0: model ") && processors.contains(" MHZ "), "{processors}");
    }
}

#[test]
fn tools_reach_each_of_4_partitions() {
    tools_reach_each_of(4);
}

#[test]
fn tools_reach_each_of_16_partitions() {
    tools_reach_each_of(16);
}

#[test]
fn perfquery_counts_what_was_sent() {
    const PINGS: u64 = 250;
    /// Perfquery asks what the agent can do, and then for the counters, of which the answer is counted after it was made.
    const LOOKS: u64 = 2;
    /// Words of a management datagram in its packet, without the variant CRC (IBA vol. 1, 16.1.3.5).
    const WORDS: u64 = (8 + 12 + 8 + 256 + 4) / 4;
    let (machine, lids) = echoes(2, &[]);
    for (name, &lid) in &lids {
        let before = counters(&machine, lid);
        ping(&machine, name, lid, PINGS);
        let after = counters(&machine, lid);
        let passed: BTreeMap<_, _> = after.iter().map(|(name, count)| (name.as_str(), count - before[name])).collect();
        let packets = ["PortXmitPkts", "PortRcvPkts", "PortUnicastXmitPkts", "PortUnicastRcvPkts"];
        for counter in packets {
            assert_eq!(passed[counter], PINGS + LOOKS, "{counter} of {name}: {passed:?}");
        }
        for counter in ["PortXmitData", "PortRcvData"] {
            assert_eq!(passed[counter], (PINGS + LOOKS) * WORDS, "{counter} of {name}: {passed:?}");
        }
        for counter in ["PortMulticastXmitPkts", "PortMulticastRcvPkts"] {
            assert_eq!(passed[counter], 0, "{counter} of {name}: {passed:?}");
        }
    }
}

#[test]
fn partitions_on_two_ports_answer_on_both() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net");
    let machine = Machine::up(&["--topology", topology, "--lhcas", "2", "--image", "echo"]);
    let ports = machine.active_ports();
    assert_eq!(ports.len(), 4, "{ports:?}");
    for (name, lid) in ports {
        ping(&machine, &name, lid, 20);
    }
}

#[test]
fn all_253_partitions_answer() {
    let (machine, lids) = echoes(253, &["--memory", "1G"]);
    for (name, &lid) in &lids {
        ping(&machine, name, lid, 3);
    }
}
