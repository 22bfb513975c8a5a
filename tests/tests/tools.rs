//! Unmodified infiniband-diags, osmtest and ibdmchk on the whole fabric.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;

use portico_tests::{Machine, Output, Preload, Site};

/// Returns the LID of each node by its description, from the SA.
fn lids(site: &Site) -> BTreeMap<String, String> {
    let records = site.tool("saquery", &["-N"]).run();
    let value = |line: &str| line.rsplit("..").next().unwrap().trim_start_matches('.').to_owned();
    let mut lids = BTreeMap::new();
    let mut lid = String::new();
    for line in records.ok().lines().map(str::trim) {
        if line.starts_with("lid.") {
            lid = value(line);
        } else if line.starts_with("NodeDescription.") {
            lids.insert(value(line), lid.clone());
        }
    }
    lids
}

/// Returns the standard output of a program that succeeded without a message on standard error.
fn clean(output: &Output) -> &str {
    let stdout = output.ok();
    assert!(output.stderr.is_empty(), "{}\n{stdout}\n{}", output.what, output.stderr);
    stdout
}

/// Runs the programs, and asserts that each succeeds, is silent on standard error and prints the words beside it.
fn run_clean(site: &Site, library: Preload, tools: &[(String, &str)]) {
    let mut complaints = Vec::new();
    for (line, expected) in tools {
        let words: Vec<&str> = line.split(' ').collect();
        let output = site.tool(words[0], &words[1..]).at("H2").through(library).run();
        if output.code != Some(0) || !output.stderr.is_empty() || !output.stdout.contains(expected) {
            complaints.push(format!("`{expected}` is not in {output:#?}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Runs the diagnostics of single ports, of routes and of the whole fabric, and asserts that each is clean.
fn diagnostics_run_clean(library: Preload) {
    let machine = Machine::up(&["--lhcas", "3"]);
    let site = machine.site();
    let lids = lids(&site);
    let [host, switch, logical, first, third] =
        ["H1", "S1", "portico-0", "portico-0-lhca1", "portico-0-lhca3"].map(|name| lids[name].as_str());
    let own = |line: &str| {
        let names = [("HOST", host), ("SWITCH", switch), ("LOGICAL", logical), ("FIRST", first), ("THIRD", third)];
        names.iter().fold(line.to_owned(), |line, (name, lid)| line.replace(name, lid))
    };
    let tools = [
        ("ibnetdiscover", "\"portico-0-lhca3\""),
        ("ibnetdiscover --ports", "portico-0-lhca3"),
        ("iblinkinfo", "portico-0-lhca3"),
        ("ibhosts", "portico-0-lhca3"),
        ("ibswitches", "\"portico-0\""),
        ("ibqueryerrors", "## Summary: 7 nodes checked"),
        ("sminfo", "SMINFO_MASTER"),
        ("ibaddr FIRST", "GID"),
        ("ibportstate LOGICAL 2 query", "Active"),
        ("smpquery nodeinfo FIRST", "NodeType:........................Channel Adapter"),
        ("smpquery nodeinfo LOGICAL", "NodeType:........................Switch"),
        ("smpquery nodedesc FIRST", "portico-0-lhca1"),
        ("smpquery portinfo FIRST 1", "LinkState:.......................Active"),
        ("smpquery portinfo LOGICAL 2", "LinkState:.......................Active"),
        ("smpquery switchinfo LOGICAL", "LinearFdbTop"),
        ("smpquery pkeys FIRST", "0xffff"),
        ("smpquery sl2vl FIRST 1", "SL2VL table"),
        ("smpquery sl2vl LOGICAL 2", "SL2VL table"),
        ("smpquery vlarb FIRST", "VLArbitration tables"),
        ("smpquery vlarb LOGICAL 2", "VLArbitration tables"),
        ("smpquery guidinfo FIRST", "8 guids capacity"),
        ("smpquery -D nodedesc 0,1,3,2", "portico-0-lhca1"),
        // A directed route that begins where a LID leads (IBA vol. 1, 14.2.2): with ibsim it cannot be had.
        ("smpquery -c nodedesc SWITCH 0,3", "portico-0"),
        ("smpquery -c nodedesc LOGICAL 0,2", "portico-0-lhca1"),
        ("smpquery -c portinfo LOGICAL 0,4 1", "LinkState:.......................Active"),
        ("perfquery FIRST 1", "PortXmitPkts"),
        ("perfquery LOGICAL 2", "PortXmitPkts"),
        ("perfquery -x FIRST 1", "PortXmitPkts"),
        ("perfquery -a LOGICAL", "port 255"),
        ("perfquery -l LOGICAL", "PortSelect"),
        ("perfquery -R FIRST 1", ""),
        ("perfquery -R LOGICAL 2", ""),
        ("ibtracert FIRST THIRD", "-> switch port"),
        ("ibtracert HOST FIRST", "portico-0-lhca1"),
        ("ibtracert FIRST HOST", "\"H1\""),
        ("ibroute SWITCH", "valid lids dumped"),
        ("ibroute LOGICAL", "portico-0-lhca3"),
        ("ibroute -M LOGICAL", "valid mlids dumped"),
        ("dump_fts", "portico-0-lhca3"),
        ("saquery -s", "IsSM ports\nPortInfoRecord dump:"),
        ("saquery -c", "ClassPortInfo"),
        ("saquery -g", "MCMemberRecord"),
    ];
    run_clean(&site, library, &tools.map(|(line, expected)| (own(line), expected)));
}

#[test]
fn diagnostics_through_the_library_of_portico_run_clean() {
    diagnostics_run_clean(Preload::Portico);
}

#[test]
fn diagnostics_through_the_stock_library_run_clean() {
    diagnostics_run_clean(Preload::Stock);
}

#[test]
fn route_between_lhcas_stays_within_the_logical_switch() {
    let machine = Machine::up(&["--lhcas", "3"]);
    let site = machine.site();
    let lids = lids(&site);
    let trace = site.tool("ibtracert", &[&lids["portico-0-lhca1"], &lids["portico-0-lhca3"]]).run();
    let nodes: Vec<_> = clean(&trace).lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    assert_eq!(nodes, ["portico-0-lhca1", "portico-0", "portico-0-lhca3", "portico-0-lhca3"], "{}", trace.stdout);
}

#[test]
fn port_counters_after_a_reset_start_anew() {
    let machine = Machine::up(&["--lhcas", "1"]);
    let site = machine.site();
    let lid = &lids(&site)["portico-0-lhca1"];
    let packets = || -> u64 {
        let counters = site.tool("perfquery", &["-x", lid, "1"]).run();
        let line = clean(&counters).lines().find(|line| line.starts_with("PortRcvPkts:")).unwrap();
        line.rsplit('.').next().unwrap().parse().unwrap()
    };
    for _ in 0..20 {
        packets();
    }
    assert!(packets() >= 20);
    clean(&site.tool("perfquery", &["-x", "-R", lid, "1"]).run());
    assert!(packets() < 20);
}

#[test]
fn sa_responses_of_many_segments_are_complete() {
    let machine = Machine::up(&["--lhcas", "20"]);
    let site = machine.site();
    let nodes = 4 + 20; // S1, H1, H2, the logical switch
    let count = |query: &str, word: &str| {
        let records = site.tool("saquery", &[query]).at("H2").run();
        records.ok().lines().filter(|line| line.contains(word)).count()
    };
    assert_eq!(count("-N", "NodeRecord dump"), nodes);
    // Every node to every node: more than one window of segments.
    assert_eq!(count("-p", "PathRecord dump"), nodes * nodes);
}

#[test]
fn osmtest_flows_all_pass() {
    let machine = Machine::up(&["--lhcas", "3"]);
    let flows = ["-f c", "-f v -d1", "-f a", "-f s", "-f m", "-f e", "-f q", "-f t -w 1"];
    let floods = ["-f f -s 1", "-f f -s 2", "-f f -s 4"];
    for flow in flows.iter().chain(&floods) {
        let words: Vec<&str> = flow.split(' ').collect();
        let output = machine.tool("osmtest", &[&words[..], &["-l", "osmtest.log"]].concat()).at("H2").run();
        let passed = output.ok().lines().any(|line| line.starts_with("OSMTEST: TEST") && line.ends_with("PASS"));
        assert!(passed, "{flow}: {}", output.stdout);
    }
}

#[test]
fn ibdmchk_finds_every_path_and_no_loop() {
    let machine = Machine::ready_for_tools(&["--sm", "none", "--lhcas", "6"]);
    let mut opensm = machine.opensm(&["-D", "0x43"]);
    opensm.wait_for_subnet_up();
    let files = ["-s", "opensm-subnet.lst", "-f", "opensm.fdbs", "-m", "opensm.mcfdbs"];
    let check = machine.tool("ibdmchk", &files).in_folder(opensm.folder()).run();
    // ibdmchk crashes at its end; its output before counts.
    let said = &check.stdout;
    assert!(
        said.contains("-I- Scanned:") && !said.contains("-E-") && !said.contains("-W-"),
        "{said}\n{}",
        check.stderr
    );
    assert!(said.contains("no credit loops found"), "{said}");
}

#[test]
fn ibnetdiscover_finds_the_expected_fabric_and_nothing_else() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let output = machine.tool("ibnetdiscover", &["--ports"]).run();
    // A link: type, LID, port and GUID of one end, width and speed before the dash; the like of the other end; both
    // names.
    let link = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let names: Vec<_> = line.split('\'').collect();
        let [_, near, _, far, _] = names[..] else { return None };
        Some(format!("{near} {} - {far} {}", words[2], words[9]))
    };
    let mut found: Vec<_> = clean(&output).lines().filter_map(link).collect();
    found.sort();
    let mut expected = Vec::new();
    let mut cable = |a: &str, b: &str| expected.extend([format!("{a} - {b}"), format!("{b} - {a}")]);
    cable("S1 1", "H1 1");
    cable("S1 2", "H2 1");
    cable("S1 3", "portico-0 1");
    for lhca in 1..=4 {
        cable(&format!("portico-0 {}", lhca + 1), &format!("portico-0-lhca{lhca} 1"));
    }
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn ibnetdiscover_diff_with_its_cache_is_empty() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let site = machine.site();
    clean(&site.tool("ibnetdiscover", &["--cache", "fabric.cache"]).run());
    let difference = site.tool("ibnetdiscover", &["--diff", "fabric.cache"]).run();
    assert_eq!(clean(&difference), "");
}

#[test]
fn output_of_ibnetdiscover_is_valid_for_ibsim() {
    let machine = Machine::up(&["--lhcas", "4"]);
    let site = machine.site();
    let fabric = site.tool("ibnetdiscover", &[]).run();
    fs::write(site.folder().join("fabric"), clean(&fabric)).unwrap();
    let again = portico_tests::Ibsim::of_file(&site.folder().join("fabric"));
    let mut opensm = again.site().opensm(&[]);
    opensm.wait_for_subnet_up();
    let hosts = |site: &Site| {
        let hosts = site.tool("ibhosts", &[]).run();
        let mut names: Vec<_> = clean(&hosts).lines().map(|line| line.split('"').nth(1).unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(hosts(&site), hosts(again.site()));
}
