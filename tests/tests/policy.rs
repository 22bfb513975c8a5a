//! Policy of a partition's queue pair 0, seen on the hypervisor's cable. infiniband-diags send through the port of a
//! partition that runs the image `bridge`.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use portico_tests::{Machine, Output, PATIENCE};
use rustix::process::Signal;
use tempfile::TempDir;

/// Starts a machine whose partition `lender` has `policy`, and returns it with the folder of its capture.
fn machine(policy: &str) -> (Machine, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (file, capture) = (folder.path().join("portico.toml"), folder.path().join("uplink.erf"));
    std::fs::write(&file, format!("[[partition]]\nname = \"lender\"\nimage = \"bridge\"\n{policy}")).unwrap();
    let (file, capture) = (file.to_str().unwrap(), capture.to_str().unwrap());
    (Machine::ready_for_tools(&["--sm", "none", "--config", file, "--pcap", capture]), folder)
}

/// Waits until tools can attach to the partition's port.
fn wait_for_port(machine: &Machine) {
    let deadline = Instant::now() + PATIENCE;
    while machine.tool("smpquery", &["-D", "nodeinfo", "0"]).at("lender").run().code != Some(0) {
        assert!(Instant::now() < deadline, "no program can attach at the partition");
    }
}

/// Sends Get(GUIDInfo) to the host `H1`.
fn ask(machine: &Machine) -> Output {
    machine.tool("smpquery", &["-D", "guidinfo", "0,1,1,1"]).at("lender").run()
}

/// Disables the port of the external switch that leads to the host `H2`.
fn disable(machine: &Machine) -> Output {
    machine.tool("ibportstate", &["-D", "0,1,1", "2", "disable"]).at("lender").run()
}

/// Ends the machine, and returns the methods of the requests that left it by its cable.
fn requests(mut machine: Machine, folder: &Path) -> Vec<u8> {
    machine.end_by(Signal::INT);
    // The directed route of what comes from within leads to port 1 of the logical switch, the uplink, and on the way of
    // what comes from `H1` the second hop is another port.
    let filter = "infiniband.mad.method < 0x80 && infiniband.smpdirected.initialpath[1:2] == 01:01";
    let mut command = Command::new("tshark");
    command.arg("-r").arg(folder.join("uplink.erf")).args([
        "-Y",
        filter,
        "-T",
        "fields",
        "-e",
        "infiniband.mad.method",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|method| u8::from_str_radix(method.trim_start_matches("0x"), 16).unwrap()).collect()
}

const GET: u8 = 1;
const SET: u8 = 2;

/// Returns the methods of the requests that leave a machine while its one partition, with the rights `qp0`, sends
/// 20,000 SMPs of every kind to all routes of up to three hops.
fn requests_of_a_flood(qp0: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("uplink.erf");
    let config =
        format!("[[partition]]\nname = 'flood'\nimage = 'hostile'\narguments = 'attempt=smps'\nqp0 = '{qp0}'\n");
    let machine = Machine::up_with(&config, &["--pcap", capture.to_str().unwrap()]);
    machine.console("portico-0").wait_for(|line| line.contains("partition flood exited with code 0"));
    requests(machine, folder.path())
}

#[test]
fn flood_of_smps_puts_only_permitted_methods_on_the_cable() {
    assert_eq!(requests_of_a_flood("none"), [0; 0]);
    let asked = requests_of_a_flood("query");
    assert!(!asked.is_empty() && asked.iter().all(|&method| method == GET), "{asked:?}");
}

#[test]
fn partition_with_qp0_query_reads_and_changes_nothing() {
    let (machine, folder) = machine("qp0 = \"query\"\nrefused = \"answer\"");
    wait_for_port(&machine);
    assert!(ask(&machine).ok().contains("0x0209270707b5bb01"), "the GUID of H1's port");
    let refused = disable(&machine);
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    machine.console("portico-0").wait_for(|line| line.contains("lender may not send Method(Set)"));
    let requests = requests(machine, folder.path());
    assert!(requests.contains(&GET) && !requests.contains(&SET), "{requests:?}");
}

#[test]
fn partition_with_qp0_manager_disables_a_port() {
    let (machine, folder) = machine("qp0 = \"manager\"");
    wait_for_port(&machine);
    let _ = disable(&machine).ok();
    let state = machine.tool("ibportstate", &["-D", "0,1", "2", "query"]).run();
    assert!(
        state.ok().lines().any(|line| line.starts_with("LinkState:") && line.ends_with("Down")),
        "{}",
        state.stdout
    );
    let requests = requests(machine, folder.path());
    assert!(requests.contains(&GET) && requests.contains(&SET), "{requests:?}");
}
