//! Subnet management of logical switches and LHCAs, as unmodified tools see it on the booted machine.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portico_tests::{Machine, Output, PATIENCE, tshark};
use tempfile::TempDir;

/// By directed route from `H1`: the logical switch, behind port 3 of `S1`.
const LOGICAL_SWITCH: &str = "0,1,3";
/// The first LHCA, at port 2 of the logical switch.
const FIRST: &str = "0,1,3,2";
const SECOND: &str = "0,1,3,3";

/// Runs `smpquery` with `words`.
fn ask(machine: &Machine, words: &[&str]) -> Output {
    machine.tool("smpquery", words).run()
}

/// Returns the value of a field in the output of infiniband-diags, without the leading dots.
fn field(output: &Output, name: &str) -> String {
    let line = output.ok().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in:\n{}", output.stdout));
    line.trim_start_matches('.').to_owned()
}

fn number(text: &str) -> u64 {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).unwrap()
}

/// Starts a machine with a capture of its cable.
fn captured(arguments: &[&str]) -> (Machine, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("cable.erf");
    let machine = Machine::up(&[arguments, &["--pcap", capture.to_str().unwrap()]].concat());
    (machine, capture, folder)
}

/// A port of an LHCA, as the control line lists it.
struct Logical {
    /// Port of the logical switch.
    place: u8,
    guid: u64,
    lid: u16,
}

/// Returns the ports of all LHCAs in the order of the logical switch's ports.
fn logical_ports(machine: &Machine) -> Vec<Logical> {
    let list = machine.control("portico-0", "list");
    let ports = list.iter().filter_map(|line| line.strip_prefix("port 1 at 1/"));
    let parse = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let [place, "guid", guid, "lid", lid, ..] = words[..] else { panic!("{line}") };
        Logical { place: place.parse().unwrap(), guid: number(guid), lid: lid.parse().unwrap() }
    };
    let mut ports: Vec<_> = ports.map(parse).collect();
    ports.sort_by_key(|port| port.place);
    ports
}

/// Returns the GUIDs of nodes whose NodeInfo responses are on the cable.
fn nodes_that_answered(capture: &Path) -> BTreeSet<u64> {
    let answers = "infiniband.mad.method == 0x81 && infiniband.mad.attributeid == 0x11";
    tshark(capture, answers, &["infiniband.nodeinfo.nodeguid"]).iter().map(|guid| number(guid)).collect()
}

/// Returns the GUIDs of the nodes whose names begin with `name`, from `ibnetdiscover`.
fn guids(machine: &Machine, name: &str) -> BTreeSet<u64> {
    let list = machine.tool("ibnetdiscover", &["-l"]).run();
    let named = list.ok().lines().filter(|line| line.split('"').nth(1).is_some_and(|node| node.starts_with(name)));
    named.map(|line| number(line.split_once(": ").unwrap().1.split(' ').next().unwrap())).collect()
}

/// Returns the LID of the master SM.
fn master(machine: &Machine) -> u16 {
    let said = machine.tool("sminfo", &[]).run();
    said.ok().split_once("sm lid ").unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn sixteen_lhcas_behind_one_cable_are_managed_by_one_queue_pair_0() {
    let (machine, capture, _folder) = captured(&["--lhcas", "16"]);
    let lids: BTreeSet<u16> = machine.active_lhcas().into_values().collect();
    assert_eq!(lids.len(), 16, "each Active, with a LID of its own");
    let cables = machine.tool("ibnetdiscover", &[]).run();
    let to_portico = cables.ok().lines().filter(|line| line.contains("# \"portico-0\" lid"));
    assert_eq!(to_portico.filter(|line| line.starts_with("[3]")).count(), 1, "one cable:\n{}", cables.stdout);
    let fields = ["infiniband.deth.srcqp", "infiniband.bth.destqp", "infiniband.lrh.vl"];
    let management = tshark(&capture, "infiniband.mad.mgmtclass in {0x01, 0x81}", &fields);
    assert!(management.len() > 16 * 10, "{}", management.len());
    let ways: BTreeSet<_> = management.iter().map(String::as_str).collect();
    assert_eq!(ways, ["0x00000000\t0x000000\t0x0f"].into(), "all of it is from one queue pair 0 to the other");
}

#[test]
fn requests_of_a_sweep_are_each_answered_once() {
    let (machine, capture, _folder) = captured(&["--lhcas", "4", "--image", "echo"]);
    let list = machine.ctl(&["list"]);
    assert_eq!(list.ok().matches(" none ").count(), 4, "no partition has anything to do with it:\n{}", list.stdout);
    let fields = ["infiniband.mad.transactionid", "infiniband.mad.attributeid"];
    let mut questions = tshark(&capture, "infiniband.mad.method in {0x01, 0x02}", &fields);
    let mut answers = tshark(&capture, "infiniband.mad.method == 0x81", &fields);
    questions.sort_unstable();
    answers.sort_unstable();
    assert!(questions.len() > 50);
    assert_eq!(questions, answers, "each is answered, at the first time of asking");
}

#[test]
fn logical_switch_has_the_uplink_and_a_port_for_each_lhca() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let info = ask(&machine, &["-D", "nodeinfo", LOGICAL_SWITCH]);
    assert_eq!((field(&info, "NodeType").as_str(), field(&info, "NumPorts").as_str()), ("Switch", "5"));
    assert_eq!(field(&info, "LocalPort"), "1", "the physical port is its uplink");
    for port in 2..=5 {
        let behind = ask(&machine, &["-D", "nodeinfo", &format!("{LOGICAL_SWITCH},{port}")]);
        assert_eq!(field(&behind, "NodeType"), "Channel Adapter");
    }
}

#[test]
fn forwarding_table_of_the_logical_switch_leads_to_lhcas_and_uplink() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let routes = machine.tool("ibroute", &["-D", LOGICAL_SWITCH]).run();
    let ports: BTreeMap<u16, u8> = routes
        .ok()
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("0x")?.split_whitespace();
            Some((u16::from_str_radix(words.next()?, 16).ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    for lid in machine.active_lhcas().values() {
        assert!(ports[lid] >= 2, "LHCAs are behind logical ports: {ports:?}");
    }
    assert_eq!(ports.values().filter(|&&port| port == 1).count(), 3, "S1, H1 and H2 behind the uplink: {ports:?}");
}

#[test]
fn lhca_by_directed_route_answers_with_its_own_identity() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let ports = logical_ports(&machine);
    assert_eq!(ports.len(), 4);
    for (port, nth) in ports.iter().zip(1..) {
        let route = format!("{LOGICAL_SWITCH},{}", port.place);
        let info = ask(&machine, &["-D", "nodeinfo", &route]);
        assert_eq!(number(&field(&info, "PortGuid")), port.guid, "as that port, and no other, would answer");
        let description = ask(&machine, &["-D", "nodedesc", &route]);
        assert_eq!(field(&description, "Node Description"), format!("portico-0-lhca{nth}"));
    }
}

#[test]
fn lhca_by_lid_answers_with_its_own_identity() {
    let machine = Machine::up(&["--lhcas", "4"]);
    for (name, lid) in machine.active_lhcas() {
        let description = ask(&machine, &["nodedesc", &lid.to_string()]);
        assert_eq!(field(&description, "Node Description"), name);
    }
}

#[test]
fn logical_ports_have_guids_lids_and_p_keys_of_their_own() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "4"]);
    let second = logical_ports(&machine)[1].guid;
    let partitions = machine.folder().join("partitions.conf");
    fs::write(&partitions, format!("Default=0x7fff: ALL=full;\nOwn=0x1234: {second:#x}=full;\n")).unwrap();
    let mut opensm = machine.opensm(&["-P", partitions.to_str().unwrap()]);
    machine.wait_for_active(&mut opensm, 4);
    let ports = logical_ports(&machine);
    let said = |lid: u16| number(&field(&ask(&machine, &["nodeinfo", &lid.to_string()]), "PortGuid"));
    assert!(ports.iter().all(|port| said(port.lid) == port.guid));
    let distinct: BTreeSet<_> = ports.iter().map(|port| (port.lid, port.guid)).collect();
    assert_eq!(distinct.len(), 4);
    for port in ports {
        let keys = ask(&machine, &["pkeys", &port.lid.to_string()]);
        assert!(keys.ok().contains("0xffff"), "{}", keys.stdout);
        assert_eq!(
            keys.stdout.contains("0x9234"),
            port.guid == second,
            "only the second port has that P_Key: {}",
            keys.stdout
        );
    }
}

#[test]
fn logical_port_with_m_key_refuses_requests_until_its_lease_ends() {
    let machine = Machine::up(&["--lhcas", "2"]);
    let succeeds = |output: Output| assert_eq!(output.code, Some(0), "{output:?}");
    succeeds(machine.tool("ibportstate", &["-D", FIRST, "1", "mkey", "0x1234"]).run());
    succeeds(machine.tool("ibportstate", &["-y", "0x1234", "-D", FIRST, "1", "mkeyprot", "3"]).run());
    succeeds(machine.tool("ibportstate", &["-y", "0x1234", "-D", FIRST, "1", "mkeylease", "1"]).run());
    succeeds(ask(&machine, &["-y", "0x1234", "-D", "portinfo", FIRST]));
    assert_ne!(
        ask(&machine, &["-t", "200", "-D", "portinfo", FIRST]).code,
        Some(0),
        "no request without the M_Key is answered"
    );
    let violations = field(&ask(&machine, &["-y", "0x1234", "-D", "portinfo", FIRST]), "MkeyViolations");
    assert!(number(&violations) > 0, "and it was counted");
    let other = ask(&machine, &["-D", "portinfo", SECOND]);
    assert_eq!((field(&other, "MkeyViolations"), field(&other, "MkeyLeasePeriod")), ("0".into(), "0".into()));
    // The lease is a second: it begins with a violation, and then the port can be read without the M_Key.
    let deadline = Instant::now() + PATIENCE;
    while ask(&machine, &["-t", "200", "-D", "portinfo", FIRST]).code != Some(0) {
        assert!(Instant::now() < deadline, "the lease does not end");
    }
}

#[test]
fn directed_route_through_the_logical_switch_leaves_by_the_uplink() {
    let machine = Machine::up(&["--lhcas", "1"]);
    let behind = ask(&machine, &["-D", "nodeinfo", &format!("{LOGICAL_SWITCH},1")]);
    let direct = ask(&machine, &["-D", "nodeinfo", "0,1"]);
    assert_eq!(field(&behind, "Guid"), field(&direct, "Guid"), "it is S1 again");
}

#[test]
fn directed_route_that_breaks_the_rules_is_dropped() {
    let machine = Machine::up(&["--lhcas", "1"]);
    // Through an adapter, which passes nothing on; and by a port that is not there.
    for route in [&format!("{FIRST},1"), &format!("{LOGICAL_SWITCH},77")] {
        assert_ne!(ask(&machine, &["-t", "200", "-D", "nodeinfo", route]).code, Some(0), "{route}");
    }
    assert_eq!(
        field(&ask(&machine, &["-D", "nodeinfo", FIRST]), "NodeType"),
        "Channel Adapter",
        "and no harm was done"
    );
}

#[test]
fn sm_info_at_a_port_without_sm_is_refused() {
    let (machine, capture, _folder) = captured(&["--lhcas", "1", "--image", "echo"]);
    let lid = *machine.active_lhcas().values().next().unwrap();
    assert_ne!(machine.tool("sminfo", &[&lid.to_string()]).run().code, Some(0));
    let answers = "infiniband.mad.method == 0x81 && infiniband.mad.attributeid == 0x20";
    // Method and attribute do not go together: 3 in the status's bits 2 to 4 (IBA vol. 1, 13.4.7).
    let refused = tshark(&capture, answers, &["infiniband.mad.status"]);
    assert!(!refused.is_empty() && refused.iter().all(|status| number(status) == 0xc), "{refused:?}");
}

#[test]
fn trap_of_a_change_is_sent_once_when_repressed() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("cable.erf");
    let machine = Machine::ready_for_tools(&[
        "--sm",
        "none",
        "--lhcas",
        "2",
        "--image",
        "echo",
        "--pcap",
        capture.to_str().unwrap(),
    ]);
    let mut opensm = machine.opensm(&[]);
    machine.wait_for_active(&mut opensm, 2);
    assert_eq!(machine.ctl(&["stop", "portico-0-lhca2"]).ok(), "");
    opensm.wait_for("num:128");
    machine.wait_for_active(&mut opensm, 1);
    // A trap that is not repressed is sent again after a second: SubnetTimeOut, as OpenSM sets it, is 18 (14.2.5.6).
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        opensm.sweep();
    }
    let of = |method: &str| {
        let filter = format!("infiniband.mad.method == {method}");
        let all = tshark(&capture, &filter, &["infiniband.mad.transactionid"]);
        (all.len(), all.into_iter().collect::<BTreeSet<_>>())
    };
    let ((sent, traps), (_, repressed)) = (of("0x05"), of("0x07"));
    assert!(!traps.is_empty() && traps.is_subset(&repressed), "{traps:?} {repressed:?}");
    assert_eq!(sent, traps.len(), "each was sent until it was repressed: at once");
}

#[test]
fn two_physical_ports_have_two_logical_switches() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net");
    let machine = Machine::up(&["--topology", topology, "--lhcas", "3"]);
    let switches = machine.tool("ibswitches", &[]).run();
    let logical = switches.ok().lines().filter(|line| line.contains("\"portico-0")).count();
    assert_eq!(logical, 2, "{}", switches.stdout);
    assert_eq!(machine.active_ports().iter().filter(|(name, _)| name.contains("lhca")).count(), 2 * 3);
}

#[test]
fn sm_in_a_partition_sends_from_queue_pair_0() {
    let (machine, capture, _folder) = captured(&["--sm", "partition", "--lhcas", "1"]);
    let is_sm = |lid: u16| number(&field(&ask(&machine, &["portinfo", &lid.to_string()]), "CapMask")) & 2;
    // IsSM is bit 1 (14.2.5.6): the port announces its SM.
    assert_eq!(is_sm(master(&machine)), 2);
    assert_eq!(is_sm(machine.active_lhcas()["portico-0-lhca1"]), 0);
    let from_inside = "infiniband.mad.method < 0x80 && infiniband.smpdirected.initialpath[1:2] == 01:01";
    let pairs = tshark(&capture, from_inside, &["infiniband.deth.srcqp", "infiniband.lrh.vl"]);
    assert!(pairs.len() > 10, "{}", pairs.len());
    let distinct: BTreeSet<_> = pairs.iter().map(String::as_str).collect();
    assert_eq!(distinct, ["0x00000000\t0x0f"].into(), "outside it is a queue pair 0 as any");
}

#[test]
fn sm_info_at_a_port_with_sm_is_answered_by_the_partition() {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", "1"]);
    let sminfo = |lid: u16| machine.tool("sminfo", &[&lid.to_string()]).run();
    let asked = sminfo(master(&machine));
    assert!(asked.ok().contains("SMINFO_MASTER"), "the partition answers itself: {}", asked.stdout);
    assert_ne!(sminfo(machine.active_lhcas()["portico-0-lhca1"]).code, Some(0));
}

#[test]
fn sweep_from_inside_never_shows_logical_ports_on_the_cable() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("cable.erf");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bridge.toml");
    let options = ["--sm", "none", "--config", config, "--pcap", capture.to_str().unwrap()];
    let mut machine = Machine::ready_for_tools(&options);
    let inside = machine.site().at("bridge");
    let first = inside.opensm(&[]);
    machine.wait_for("subnet up:");
    drop(first);
    let succeeds = |output: Output| assert_eq!(output.code, Some(0), "{output:?}");
    // No other program requests GUIDInfo, so that the request marks where the relevant part of the capture begins.
    succeeds(ask(&machine, &["-D", "guidinfo", LOGICAL_SWITCH]));
    inside.opensm(&[]).wait_for_subnet_up();
    // So OpenSM has set up each logical port anew. And now Get and Set, by directed route and by LID.
    let ports = logical_ports(&machine);
    assert_eq!(ports.len(), 3, "two partitions', and the bridge's own");
    for Logical { place, lid, .. } in &ports {
        for destination in [&["-D", &format!("0,1,{place}")][..], &[&lid.to_string()]] {
            succeeds(inside.tool("smpquery", &[&["portinfo"], destination].concat()).run());
            succeeds(inside.tool("ibportstate", &[destination, &["1", "mkey", "0"]].concat()).run());
        }
    }
    succeeds(inside.tool("smpquery", &["-D", "guidinfo", "0,1,1,1"]).run());
    let marks = tshark(&capture, "infiniband.mad.attributeid == 0x14", &["frame.number"]);
    let [_, begin, _, _] = &marks[..] else { panic!("two questions and their answers: {marks:?}") };

    // An SMP by directed route from inside leaves by the uplink, port 1, as its second hop after the LHCA's own port.
    // The response has the same route.
    let with_class = |class: &str, fields: &[&str]| {
        tshark(&capture, &format!("frame.number > {begin} && infiniband.mad.mgmtclass == {class}"), fields)
    };
    let routes = with_class("0x81", &["infiniband.smpdirected.initialpath"]);
    assert!(routes.len() > 20, "those to S1, H1 and H2: {}", routes.len());
    let first_hops: BTreeSet<_> = routes.iter().map(|route| &route[..6]).collect();
    assert_eq!(first_hops, ["000101"].into());
    let logical: BTreeSet<u64> = ports.iter().map(|port| port.lid.into()).collect();
    let is_between = |pair: &String| pair.split('\t').all(|lid| logical.contains(&number(lid)));
    let pairs = with_class("0x01", &["infiniband.lrh.slid", "infiniband.lrh.dlid"]);
    assert!(!pairs.iter().any(is_between), "{pairs:?}");
}

#[test]
fn sm_in_a_partition_reaches_every_external_node() {
    let (machine, capture, _folder) = captured(&["--sm", "partition", "--lhcas", "1"]);
    let answered = nodes_that_answered(&capture);
    let external: BTreeSet<u64> = ["S1", "H1", "H2"].into_iter().flat_map(|name| guids(&machine, name)).collect();
    assert_eq!(external.len(), 3);
    assert!(answered.is_superset(&external), "{answered:x?} {external:x?}");
}

#[test]
fn sm_in_a_partition_is_master_and_answers_queries() {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", "2"]);
    let lid = master(&machine).to_string();
    let description = ask(&machine, &["nodedesc", &lid]);
    assert!(description.ok().trim().ends_with(".sm"), "{}", description.stdout);
    let record = machine.tool("saquery", &["NR", &lid]).run();
    assert!(record.ok().contains("sm"), "and it answers for the subnet: {}", record.stdout);
}

#[test]
fn echo_partitions_on_three_processors_answer_pings() {
    let machine = Machine::up(&["--lhcas", "4", "--image", "echo", "--cpus", "3"]);
    for (name, lid) in machine.active_lhcas() {
        let pings = machine.tool("ibping", &["-f", "-c", "20", &lid.to_string()]).run();
        assert!(pings.ok().contains("20 packets transmitted, 20 received, 0% packet loss"), "{name}: {}", pings.stdout);
    }
}

#[test]
fn machine_booted_from_flash_answers_pings() {
    let machine = Machine::up(&["--flash", "--lhcas", "4", "--image", "echo"]);
    assert_eq!(machine.active_lhcas().len(), 4);
    let lid = *machine.active_lhcas().values().next().unwrap();
    let pings = machine.tool("ibping", &["-f", "-c", "20", &lid.to_string()]).run();
    assert!(pings.ok().contains("20 packets transmitted, 20 received, 0% packet loss"), "{}", pings.stdout);
}
