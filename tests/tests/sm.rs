//! The SM in a partition: alone, and beside OpenSM.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::time::Instant;

use iba::notice::{GidChange, LinkStateChange, TrapNumber};
use iba::{Gid, GidPrefix, Guid, ProducerType};
use portico_tests::{Machine, PATIENCE};

/// LHCA at port 3 of the logical switch.
const LHCA: &str = "portico-0-lhca2";

/// Starts a machine with `lhcas` LHCAs besides the SM's, and waits until the SM has the subnet up.
fn managed(lhcas: u8) -> Machine {
    let machine = Machine::up(&["--sm", "partition", "--lhcas", &lhcas.to_string()]);
    assert_eq!(machine.active_lhcas().len(), lhcas.into());
    machine
}

/// Starts a machine whose SM partition `sm`, of priority 5, waits for `portico ctl start`.
fn with_manager_in_waiting(folder: &std::path::Path) -> Machine {
    let config = "spare-ports = 1\n\n[[partition]]\nname = \"portico-0-lhca1\"\n\n[[partition]]\nname = \"sm\"\n\
                  image = \"sm\"\nmemory = \"8M\"\narguments = \"priority=5\"\nqp0 = \"manager\"\nautostart = false\n";
    let file = folder.join("portico.toml");
    fs::write(&file, config).unwrap();
    Machine::ready_for_tools(&["--sm", "none", "--config", file.to_str().unwrap()])
}

/// Returns the output of `sminfo`: LID, GUID, priority and state of the master SM.
fn master(machine: &Machine) -> String {
    machine.tool("sminfo", &[]).run().stdout
}

/// Waits until `sminfo` shows a master SM with `words`, and returns its output.
fn wait_for_master(machine: &Machine, words: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = master(machine);
        if said.contains(words) && said.contains("SMINFO_MASTER") {
            return said;
        }
        assert!(Instant::now() < deadline, "no master SM shows `{words}`: {said}");
    }
}

/// Returns the LID in the output of `sminfo`.
fn lid(said: &str) -> &str {
    said.split_once("sm lid ").unwrap().1.split_once(' ').unwrap().0
}

/// Returns the subnet's nodes, links, LIDs and forwarding tables, to compare.
fn picture(machine: &Machine) -> Vec<String> {
    let dump = |program: &str| machine.tool(program, &[]).run().ok().to_owned();
    let facts = ["ibnetdiscover", "dump_fts"].map(dump).join("\n");
    facts.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn comes_up(lhcas: u8) {
    let machine = managed(lhcas);
    let said = wait_for_master(&machine, "priority 0");
    let records = machine.tool("saquery", &["NR"]).run();
    assert_eq!(records.ok().matches("portico-0-lhca").count(), lhcas.into(), "{}", records.stdout);
    // The SA resolves each path of the next programs, and each path leads to its destination.
    let last = format!("portico-0-lhca{lhcas}");
    let to = machine.active_lhcas()[&last].to_string();
    let route = machine.tool("ibtracert", &[lid(&said), &to]).run();
    assert!(route.ok().lines().last().unwrap().contains(&last), "{}", route.stdout);
    let path = machine.tool("saquery", &["--src-to-dst", &format!("{}:{to}", lid(&said))]).run();
    assert!(path.ok().contains(&format!("dlid....................{to}")), "{}", path.stdout);
}

#[test]
fn sm_partition_with_4_lhcas_brings_the_subnet_up() {
    comes_up(4);
}

#[test]
fn sm_partition_with_16_lhcas_brings_the_subnet_up() {
    comes_up(16);
}

#[test]
fn sm_partition_with_252_lhcas_brings_the_subnet_up() {
    comes_up(252);
}

#[test]
fn group_members_receive_every_datagram_of_the_group() {
    const COUNT: usize = 4;
    let partition = |nth| {
        format!(
            "[[partition]]\nname = 'portico-0-lhca{nth}'\nimage = 'traffic'\n\
             arguments = 'peers={COUNT} senders={} step=1024 stay'\n",
            COUNT - 1
        )
    };
    let config: String = (1..=COUNT).map(partition).collect();
    // A host outside is a member as well.
    let machine = Machine::up_with(&config, &["--sm", "partition", "--responder", "H2"]);
    let mut console = machine.console("portico-0");
    for _ in 0..COUNT {
        let words = [": counters right: ", "error", "exited"];
        let line = console.wait_for(|line| words.iter().any(|words| line.contains(words)));
        assert!(line.contains(": counters right: "), "{line}");
    }
    assert!(console.said().iter().all(|line| !line.contains(" wrong") || line.contains(", 0 wrong")));
    let groups = machine.tool("saquery", &["--smkey", "1", "-m"]).run();
    assert_eq!(groups.ok().matches("PortGid").count(), COUNT + 1, "{}", groups.stdout);
}

/// Queries to SM and SA with infiniband-diags, and a part of each response; `LID` is an LHCA's.
const QUESTIONS: &[(&str, &str)] = &[
    ("saquery", "portico-0-lhca4"),
    ("saquery -c", "Base version.............1"),
    ("saquery -D", "\"portico-0-lhca4\""),
    ("saquery NR LID", "portico-0-lhca2"),
    ("saquery -L portico-0-lhca2", "LID"),
    ("saquery -O LID", "portico-0-lhca2"),
    ("saquery PIR LID/1", "PortInfoRecord dump:"),
    ("saquery -s", "IsSM ports"),
    ("saquery SMIR", "SMState...............3"),
    ("saquery SWIR", "SwitchInfoRecord dump:"),
    ("saquery LFTR", "LFT Record dump:"),
    ("saquery -x", "LinkRecord dump:"),
    ("saquery -p", "PathRecord dump:"),
    ("saquery -p --slid LID", "slid....................LID"),
    ("saquery -p --dlid LID --mtu 0x85", "dlid....................LID"),
    ("saquery --src-to-dst H1:portico-0-lhca2", "dlid....................LID"),
    ("saquery -g", ""),
    ("saquery -m", ""),
    ("saquery -I", ""),
    ("saquery GIR LID/0", "Block......................0"),
    ("saquery --smkey 1 PKTR LID", "0xffff"),
    ("saquery MFTR", ""),
    ("ibnetdiscover", "portico-0-lhca4"),
    ("iblinkinfo", "Active"),
    ("ibqueryerrors", "## Summary: 9 nodes checked, 0 bad nodes found"),
    ("ibhosts", "portico-0-lhca4"),
    ("ibswitches", "portico-0"),
    ("ibroute -G SWITCH", "valid lids dumped"),
    ("dump_fts", "portico-0-lhca4"),
    ("ibidsverify", ""),
    ("ibportstate LID 1 query", "LinkUp"),
    ("sminfo", "SMINFO_MASTER"),
    ("ibaddr LID", "GID fe80::"),
    ("smpquery -G nodeinfo GUID", "Channel Adapter"),
    ("ibtracert -G HOST GUID", "portico-0-lhca2"),
];

/// Records that the SA does not have and refuses.
const REFUSED: &[&str] = &["SL2VL", "VLAR", "SR"];

#[test]
fn every_sa_query_gets_a_response() {
    let machine = managed(4);
    let query = |option, name| machine.tool("saquery", &[option, name]).run().ok().trim().to_owned();
    let (lid, guid, host) = (query("-L", LHCA), query("-G", LHCA), query("-G", "H1"));
    let switch = query("-G", "portico-0");
    let own = |text: &str| {
        let names = [("LID", &lid), ("GUID", &guid), ("HOST", &host), ("SWITCH", &switch)];
        names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    for (question, expected) in QUESTIONS {
        let question = own(question);
        let words: Vec<&str> = question.split(' ').collect();
        let answer = machine.tool(words[0], &words[1..]).run();
        assert!(answer.ok().contains(&own(expected)), "{question}: {}", answer.stdout);
    }
    for record in REFUSED {
        let answer = machine.tool("saquery", &[record]).run();
        let said = answer.stdout + &answer.stderr;
        assert!(said.contains("MAD Method/Attribute combination is not supported"), "{record}: {said}");
    }
}

#[test]
fn osmtest_inventory_and_floods_pass() {
    let machine = managed(4);
    for flow in ["-f c", "-f f -s 2", "-f f -s 3"] {
        let words: Vec<&str> = flow.split(' ').collect();
        let output = machine.tool("osmtest", &[&words[..], &["-l", "osmtest.log"]].concat()).at("H2").run();
        let passed = output.ok().lines().any(|line| line.starts_with("OSMTEST: TEST") && line.ends_with("PASS"));
        assert!(passed, "{flow}: {}", output.stdout);
    }
}

/// Returns the GID of the port with `guid`.
fn gid(guid: &str) -> Gid {
    let guid = u64::from_str_radix(guid.trim().strip_prefix("0x").unwrap(), 16).unwrap();
    Gid { prefix: GidPrefix::DEFAULT, guid: Guid::new(guid) }
}

/// Takes an LHCA's port down and up, and asserts the reports that a subscriber at a host receives.
fn assert_reports_of_a_cable(machine: &Machine) {
    let query = |option, name| machine.tool("saquery", &[option, name]).run().ok().trim().to_owned();
    let (lhca, switch) = (gid(&query("-G", LHCA)), query("-L", "portico-0"));
    let manager = gid(master(machine).split_once("guid ").unwrap().1.split(',').next().unwrap());
    let subscriber = machine.site().subscriber();
    for (action, trap) in [("down", TrapNumber::GID_OUT_OF_SERVICE), ("up", TrapNumber::GID_IN_SERVICE)] {
        assert!(machine.control("portico-0", &format!("port 3 {action}")).is_empty());
        let link = subscriber.wait_for(TrapNumber::LINK_STATE_CHANGE);
        assert_eq!(link.notice.issuer_lid.get().to_string(), switch);
        assert_eq!(link.notice.details::<LinkStateChange>().lid, link.notice.issuer_lid);
        let change = subscriber.wait_for(trap);
        assert_eq!(change.notice.details::<GidChange>().gid, lhca);
        assert_eq!((change.issuer_gid, change.notice.producer), (manager, ProducerType::CLASS_MANAGER));
    }
}

#[test]
fn subscriber_after_a_cable_pull_gets_reports_of_the_sm_partition() {
    assert_reports_of_a_cable(&managed(4));
}

/// Shows that the reports that the test above expects are OpenSM's.
#[test]
fn subscriber_after_a_cable_pull_gets_the_same_reports_of_opensm() {
    assert_reports_of_a_cable(&Machine::up(&["--sm", "opensm", "--lhcas", "4"]));
}

#[test]
fn sm_partition_hands_over_to_higher_priority_and_resumes_after_its_death() {
    let machine = managed(4);
    let before = picture(&machine);
    let manager = wait_for_master(&machine, "priority 0");
    let mut opensm = machine.opensm(&["--priority", "9"]);
    opensm.wait_for("Entering MASTER state");
    opensm.wait_for_subnet_up();
    let said = wait_for_master(&machine, "priority 9");
    assert_ne!(lid(&said), lid(&manager));
    let standby = machine.tool("sminfo", &[lid(&manager)]).run();
    assert!(standby.ok().contains("SMINFO_STANDBY"), "{}", standby.stdout);
    drop(opensm);
    let again = wait_for_master(&machine, "priority 0");
    assert_eq!(lid(&again), lid(&manager));
    assert_eq!(picture(&machine), before, "LIDs and tables are the same");
}

#[test]
fn opensm_of_lower_priority_stands_by() {
    let folder = tempfile::tempdir().unwrap();
    let machine = with_manager_in_waiting(folder.path());
    let _ = machine.ctl(&["start", "sm"]).ok();
    wait_for_master(&machine, "priority 5");
    let mut opensm = machine.opensm(&["--priority", "2"]);
    opensm.wait_for("Entering STANDBY state");
    wait_for_master(&machine, "priority 5");
    // OpenSM takes over when the partition ends.
    let _ = machine.ctl(&["stop", "sm"]).ok();
    opensm.wait_for("Entering MASTER state");
    opensm.wait_for_subnet_up();
    wait_for_master(&machine, "priority 2");
}

#[test]
fn sm_partition_beside_higher_priority_stands_by() {
    let folder = tempfile::tempdir().unwrap();
    let machine = with_manager_in_waiting(folder.path());
    let mut opensm = machine.opensm(&["--priority", "9"]);
    opensm.wait_for_subnet_up();
    let _ = machine.ctl(&["start", "sm"]).ok();
    // OpenSM assigns it a LID, and finds an SM there.
    machine.wait_for_active(&mut opensm, 1);
    let records = machine.tool("saquery", &["SMIR"]).run();
    assert!(records.code == Some(0), "{}", records.stderr);
    wait_for_master(&machine, "priority 9");
    drop(opensm);
    wait_for_master(&machine, "priority 5");
}

#[test]
fn sm_partition_beside_lower_priority_becomes_master() {
    let folder = tempfile::tempdir().unwrap();
    let machine = with_manager_in_waiting(folder.path());
    let mut opensm = machine.opensm(&["--priority", "2"]);
    opensm.wait_for_subnet_up();
    let _ = machine.ctl(&["start", "sm"]).ok();
    opensm.wait_for("Entering STANDBY state");
    wait_for_master(&machine, "priority 5");
}
