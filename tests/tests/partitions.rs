//! Partitions that run `echo` and `traffic`, reached by ibping, ibsysstat and perfquery.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;

use portico_tests::Machine;

/// Starts a machine with `count` partitions that run `echo`, and returns it with their names and LIDs.
fn echoes(count: usize, more: &[&str]) -> (Machine, BTreeMap<String, u16>) {
    let machine = Machine::up(&[&["--lhcas", &count.to_string(), "--image", "echo"], more].concat());
    let lids = machine.active_lhcas();
    assert_eq!(lids.len(), count, "{lids:?}");
    // The ports are Active before all partitions run.
    let mut console = machine.console("portico-0");
    for _ in 0..count {
        console.wait_for(|line| line.contains("queue pair 0x000001 answers at port 1"));
    }
    (machine, lids)
}

/// Asserts that the partition `name` at `lid` answers `count` pings.
fn ping(machine: &Machine, name: &str, lid: u16, count: u64) {
    let output = machine.tool("ibping", &["-f", "-c", &count.to_string(), &lid.to_string()]).run();
    let text = output.ok();
    assert!(text.contains(&format!("--- {name} (Lid {lid}) ibping statistics ---")), "it says who answered:\n{text}");
    assert!(text.contains(&format!("{count} packets transmitted, {count} received, 0% packet loss")), "{text}");
}

/// Returns the response of the partition at `lid` to `ibsysstat` with `operation`.
fn status(machine: &Machine, lid: u16, operation: &str) -> String {
    let output = machine.tool("ibsysstat", &[&lid.to_string(), operation]).run();
    output.ok().trim().to_owned()
}

/// Returns the counters of port 1 at `lid` from `perfquery`.
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
fn four_partitions_answer_every_tool() {
    tools_reach_each_of(4);
}

#[test]
fn sixteen_partitions_answer_every_tool() {
    tools_reach_each_of(16);
}

#[test]
fn perfquery_after_pings_shows_their_count() {
    const PINGS: u64 = 250;
    /// Requests of a `perfquery`: ClassPortInfo, then the counters, which do not count their own response.
    const LOOKS: u64 = 2;
    /// Length of a MAD's packet without the variant CRC, in words of 4 bytes (IBA vol. 1, 16.1.3.5).
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
fn partitions_with_two_ports_answer_on_both() {
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

/// Returns the configuration of `count` partitions of 2 MiB that run `image` with `arguments`.
fn partitions(count: usize, image: &str, arguments: &str) -> String {
    let partition = |nth| {
        format!(
            "[[partition]]\nname = 'portico-0-lhca{nth}'\nimage = '{image}'\nmemory = '2M'\narguments = '{arguments}'\n"
        )
    };
    (1..=count).map(partition).collect()
}

/// Returns the summary of a partition among `senders` that sent datagrams of `sizes` sizes to each of `peers` peers.
/// The datagram that marks the end returns as well.
fn done(sizes: usize, peers: usize, senders: usize) -> String {
    format!(
        ": done: {} unicast and {sizes} multicast sent, {} returned, {} served, 0 wrong",
        2 * sizes * peers,
        2 * sizes * peers + (sizes + 1) * peers,
        3 * sizes * (senders - 1),
    )
}

#[test]
fn sixteen_partitions_exchange_datagrams_of_every_size() {
    const COUNT: usize = 16;
    const SIZES: usize = 4096 / 256 + 1;
    // The other partitions, and a host outside.
    const PEERS: usize = COUNT - 1 + 1;
    let arguments = format!("peers={PEERS} senders={} step=256 stay", COUNT - 1);
    let machine = Machine::up_with(&partitions(COUNT, "traffic", &arguments), &["--responder", "H2"]);
    let mut console = machine.console("portico-0");
    let expected = done(SIZES, PEERS, COUNT);
    for _ in 0..COUNT {
        let line =
            console.wait_for(|line| [": counters right: ", "error", "exited"].iter().any(|words| line.contains(words)));
        assert!(line.contains(": counters right: "), "{line}");
    }
    let done = console.said().iter().filter(|line| line.contains(&expected)).count();
    assert_eq!(done, COUNT, "not all said `{expected}`:\n{}", console.said().join("\n"));
    let lids = machine.active_lhcas();
    assert_eq!(lids.len(), COUNT);
    for (name, &lid) in &lids {
        // Each partition sent at least one call, all sizes and its end to the group.
        let passed = counters(&machine, lid);
        assert!(passed["PortMulticastXmitPkts"] >= SIZES as u64 + 2, "{name}: {passed:?}");
        assert!(passed["PortMulticastRcvPkts"] >= (SIZES * (COUNT - 1)) as u64, "{name}: {passed:?}");
        assert_eq!(passed.get("PortXmitDiscards").copied().unwrap_or(0), 0, "{name}: {passed:?}");
    }
}

#[test]
fn echo_of_every_size_returns_every_byte() {
    const SENDERS: usize = 2;
    const SIZES: usize = 4096 / 64 + 1;
    const PEERS: usize = SENDERS - 1 + 2;
    let senders = partitions(SENDERS, "traffic", &format!("peers={PEERS} senders={} step=64 stay", SENDERS - 1));
    let echo = "image = 'echo'\nmemory = '2M'\narguments = 'group'\n";
    let echoes: String = (1..=2).map(|nth| format!("[[partition]]\nname = 'echo-{nth}'\n{echo}")).collect();
    let machine = Machine::up_with(&(senders + &echoes), &[]);
    let mut console = machine.console("portico-0");
    let expected = done(SIZES, PEERS, SENDERS);
    for _ in 0..SENDERS {
        let line = console.wait_for(|line| [": done: ", "error", "exited"].iter().any(|words| line.contains(words)));
        assert!(line.contains(&expected), "{line}");
    }
}
