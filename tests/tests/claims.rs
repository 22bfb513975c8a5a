//! A test for each claim, in the booted system. README's table numbers them; each test bears its claim's number.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portico_tests::{Machine, Output, tshark};
use tempfile::TempDir;

/// By directed route from `H1`: the logical switch, behind port 3 of `S1`.
const LOGICAL_SWITCH: &str = "0,1,3";
/// The first LHCA, at port 2 of the logical switch.
const FIRST: &str = "0,1,3,2";
const SECOND: &str = "0,1,3,3";

/// What `smpquery` says to `words`.
fn ask(machine: &Machine, words: &[&str]) -> Output {
    machine.tool("smpquery", words).run()
}

/// The value of a field as infiniband-diags print it, dots before it.
fn field(output: &Output, name: &str) -> String {
    let line = output.ok().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in:\n{}", output.stdout));
    line.trim_start_matches('.').to_owned()
}

fn number(text: &str) -> u64 {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).unwrap()
}

/// A machine with a capture of its cable.
fn captured(arguments: &[&str]) -> (Machine, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("cable.erf");
    let machine = Machine::up(&[arguments, &["--pcap", capture.to_str().unwrap()]].concat());
    (machine, capture, folder)
}

/// GUIDs of nodes that said on the cable what they are.
fn nodes_that_answered(capture: &Path) -> BTreeSet<u64> {
    let answers = "infiniband.mad.method == 0x81 && infiniband.mad.attributeid == 0x11";
    tshark(capture, answers, &["infiniband.nodeinfo.nodeguid"]).iter().map(|guid| number(guid)).collect()
}

/// GUIDs of the nodes whose names begin so, as `ibnetdiscover` has them.
fn guids(machine: &Machine, name: &str) -> BTreeSet<u64> {
    let list = machine.tool("ibnetdiscover", &["-l"]).run();
    let named = list.ok().lines().filter(|line| line.split('"').nth(1).is_some_and(|node| node.starts_with(name)));
    named.map(|line| number(line.split_once(": ").unwrap().1.split(' ').next().unwrap())).collect()
}

/// The LID of the master subnet manager.
fn master(machine: &Machine) -> u16 {
    let said = machine.tool("sminfo", &[]).run();
    said.ok().split_once("sm lid ").unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn claim_01_one_physical_port_and_its_queue_pair_0_serve_many_logical_ports() {
    let (machine, capture, _folder) = captured(&["--lhcas", "16"]);
    let lids: BTreeSet<u16> = machine.active_lhcas().into_values().collect();
    assert_eq!(lids.len(), 16, "each Active, with a LID of its own");
    let cables = machine.tool("ibnetdiscover", &[]).run();
    let to_portico = cables.ok().lines().filter(|line| line.contains("# \"portico-0\" lid"));
    assert_eq!(to_portico.filter(|line| line.starts_with("[3]")).count(), 1, "one cable:\n{}", cables.stdout);
    let management = tshark(&capture, "infiniband.mad", &["infiniband.bth.destqp", "infiniband.lrh.vl"]);
    let to_queue_pair_0 = management.iter().filter(|line| line.starts_with("0x000000\t0x0f")).count();
    assert!(to_queue_pair_0 > 16 * 10, "all of it through one queue pair 0: {to_queue_pair_0}");
}

#[test]
fn claim_02_what_arrives_at_the_physical_queue_pair_0_is_the_hypervisors_agents() {
    let (machine, capture, _folder) = captured(&["--lhcas", "4", "--image", "echo"]);
    let list = machine.ctl(&["list"]);
    assert_eq!(list.ok().matches(" none ").count(), 4, "no partition has anything to do with it:\n{}", list.stdout);
    let fields = ["infiniband.mad.transactionid", "infiniband.mad.attributeid"];
    let questions = tshark(&capture, "infiniband.mad.method in {0x01, 0x02}", &fields);
    let answers: BTreeSet<String> = tshark(&capture, "infiniband.mad.method == 0x81", &fields).into_iter().collect();
    assert!(questions.len() > 50);
    let unanswered: Vec<_> = questions.iter().filter(|question| !answers.contains(*question)).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
}

#[test]
fn claim_03_a_logical_switch_stands_between_the_physical_port_and_the_logical_ones() {
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
fn claim_04_the_logical_switch_is_managed_as_any_switch_is() {
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
fn claim_05_the_agent_answers_on_behalf_of_each_logical_port_by_directed_route() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let answered: BTreeSet<u64> = (2..=5)
        .map(|port| number(&field(&ask(&machine, &["-D", "nodeinfo", &format!("{LOGICAL_SWITCH},{port}")]), "Guid")))
        .collect();
    assert_eq!(answered, guids(&machine, "portico-0-lhca"));
}

#[test]
fn claim_06_and_by_lid() {
    let machine = Machine::up(&["--lhcas", "4"]);
    for (name, lid) in machine.active_lhcas() {
        let description = ask(&machine, &["nodedesc", &lid.to_string()]);
        assert_eq!(description.ok().trim().trim_start_matches("Node Description:").trim_start_matches('.'), name);
    }
}

#[test]
fn claim_07_each_logical_port_has_guids_lids_and_p_keys_of_its_own() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let lids: BTreeSet<u16> = machine.active_lhcas().into_values().collect();
    let port_guids: BTreeSet<String> =
        lids.iter().map(|lid| field(&ask(&machine, &["nodeinfo", &lid.to_string()]), "PortGuid")).collect();
    assert_eq!((lids.len(), port_guids.len()), (4, 4));
    for lid in lids {
        let keys = ask(&machine, &["pkeys", &lid.to_string()]);
        assert!(keys.ok().contains("0xffff"), "{}", keys.stdout);
    }
}

#[test]
fn claim_08_each_logical_port_has_an_m_key_of_its_own() {
    let machine = Machine::up(&["--lhcas", "2"]);
    let succeeds = |output: Output| assert_eq!(output.code, Some(0), "{output:?}");
    succeeds(machine.tool("ibportstate", &["-D", FIRST, "1", "mkey", "0x1234"]).run());
    succeeds(machine.tool("ibportstate", &["-y", "0x1234", "-D", FIRST, "1", "mkeyprot", "3"]).run());
    succeeds(ask(&machine, &["-y", "0x1234", "-D", "portinfo", FIRST]));
    assert_ne!(ask(&machine, &["-t", "200", "-D", "portinfo", FIRST]).code, Some(0), "nobody else is answered");
    let violations = field(&ask(&machine, &["-y", "0x1234", "-D", "portinfo", FIRST]), "MkeyViolations");
    assert!(number(&violations) > 0, "and it was counted");
    assert_eq!(field(&ask(&machine, &["-D", "portinfo", SECOND]), "MkeyViolations"), "0");
}

#[test]
fn claim_09_what_passes_through_the_logical_switch_goes_back_out_of_the_physical_port() {
    let machine = Machine::up(&["--lhcas", "1"]);
    let behind = ask(&machine, &["-D", "nodeinfo", &format!("{LOGICAL_SWITCH},1")]);
    let direct = ask(&machine, &["-D", "nodeinfo", "0,1"]);
    assert_eq!(field(&behind, "Guid"), field(&direct, "Guid"), "it is S1 again");
}

#[test]
fn claim_10_what_breaks_the_rules_of_directed_routes_is_dropped() {
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
fn claim_11_a_managers_question_at_a_port_without_a_manager_is_refused() {
    let (machine, capture, _folder) = captured(&["--lhcas", "1", "--image", "echo"]);
    let lid = *machine.active_lhcas().values().next().unwrap();
    assert_ne!(machine.tool("sminfo", &[&lid.to_string()]).run().code, Some(0));
    let answers = "infiniband.mad.method == 0x81 && infiniband.mad.attributeid == 0x20";
    // Method and attribute do not go together: 3 in the status's bits 2 to 4 (IBA vol. 1, 13.4.7).
    let refused = tshark(&capture, answers, &["infiniband.mad.status"]);
    assert!(!refused.is_empty() && refused.iter().all(|status| number(status) == 0xc), "{refused:?}");
}

#[test]
fn claim_12_the_agent_tells_the_manager_of_changes_by_traps_and_can_be_told_to_stop() {
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
fn claim_13_two_physical_ports_are_two_logical_switches() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net");
    let machine = Machine::up(&["--topology", topology, "--lhcas", "3"]);
    let switches = machine.tool("ibswitches", &[]).run();
    let logical = switches.ok().lines().filter(|line| line.contains("\"portico-0")).count();
    assert_eq!(logical, 2, "{}", switches.stdout);
    assert_eq!(machine.active_ports().iter().filter(|(name, _)| name.contains("lhca")).count(), 2 * 3);
}

#[test]
fn claim_14_a_partition_has_an_aliased_queue_pair_0_for_its_logical_port() {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", "1"]);
    let is_sm = |lid: u16| number(&field(&ask(&machine, &["portinfo", &lid.to_string()]), "CapMask")) & 2;
    // IsSM is bit 1 (14.2.5.6): who sits at that queue pair 0 says that it manages.
    assert_eq!(is_sm(master(&machine)), 2);
    assert_eq!(is_sm(machine.active_lhcas()["portico-0-lhca1"]), 0);
}

#[test]
fn claim_15_what_only_a_manager_takes_goes_to_the_aliased_queue_pair_0() {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", "1"]);
    let sminfo = |lid: u16| machine.tool("sminfo", &[&lid.to_string()]).run();
    let asked = sminfo(master(&machine));
    assert!(asked.ok().contains("SMINFO_MASTER"), "the partition answers itself: {}", asked.stdout);
    assert_ne!(sminfo(machine.active_lhcas()["portico-0-lhca1"]).code, Some(0));
}

#[test]
fn claim_16_what_it_sends_to_a_logical_port_loops_back_and_never_comes_to_the_cable() {
    let (machine, capture, _folder) = captured(&["--sm", "partition", "--lhcas", "3"]);
    assert_eq!(machine.active_lhcas().len(), 3, "the manager in the partition has set up each logical port");
    // Each Set that is on the cable left by the uplink, which is port 1: the second hop of its route, after the LHCA's own.
    let sets = tshark(&capture, "infiniband.mad.method == 0x02", &["infiniband.smpdirected.initialpath"]);
    assert!(sets.len() > 10, "those to S1, H1 and H2: {}", sets.len());
    let others: Vec<_> = sets.iter().filter(|route| !route.starts_with("000101")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn claim_17_what_it_sends_to_an_external_port_goes_out_of_the_physical_port() {
    let (machine, capture, _folder) = captured(&["--sm", "partition", "--lhcas", "1"]);
    let answered = nodes_that_answered(&capture);
    let external: BTreeSet<u64> = ["S1", "H1", "H2"].into_iter().flat_map(|name| guids(&machine, name)).collect();
    assert_eq!(external.len(), 3);
    assert!(answered.is_superset(&external), "{answered:x?} {external:x?}");
}

#[test]
fn claim_18_a_subnet_manager_runs_in_a_partition() {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", "2"]);
    let lid = master(&machine).to_string();
    let description = ask(&machine, &["nodedesc", &lid]);
    assert!(description.ok().trim().ends_with(".sm"), "{}", description.stdout);
    let record = machine.tool("saquery", &["NR", &lid]).run();
    assert!(record.ok().contains("sm"), "and it answers for the subnet: {}", record.stdout);
}

#[test]
fn claim_19_the_system_of_processor_adapter_and_hypervisor() {
    let machine = Machine::up(&["--lhcas", "4", "--image", "echo", "--cpus", "3"]);
    for (name, lid) in machine.active_lhcas() {
        let pings = machine.tool("ibping", &["-f", "-c", "20", &lid.to_string()]).run();
        assert!(pings.ok().contains("20 packets transmitted, 20 received, 0% packet loss"), "{name}: {}", pings.stdout);
    }
}

#[test]
fn claim_20_the_program_on_a_medium_from_which_the_machine_boots() {
    let machine = Machine::up(&["--flash", "--lhcas", "4", "--image", "echo"]);
    assert_eq!(machine.active_lhcas().len(), 4);
    let lid = *machine.active_lhcas().values().next().unwrap();
    let pings = machine.tool("ibping", &["-f", "-c", "20", &lid.to_string()]).run();
    assert!(pings.ok().contains("20 packets transmitted, 20 received, 0% packet loss"), "{}", pings.stdout);
}
