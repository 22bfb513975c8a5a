//! The fabric with unmodified OpenSM, ibnetdiscover and ibsim.
#![allow(clippy::unwrap_used)] // clippy takes helpers of tests for other code

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use fabric::topology::{Kind, Topology};
use fabric::{Config, Fabric};
use iba::attr::PortState;
use umad_server::Endpoint;

/// Time limit of a program, in seconds.
const TIME_LIMIT: &str = "60";

/// A fabric, and a folder for the programs that attach to it.
struct Bench {
    fabric: Fabric,
    topology: Topology,
    socket: String,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(netlist: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = format!("fabric-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let topology = Topology::parse(netlist).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fabric = Fabric::start(Config {
            topology: topology.clone(),
            folder: folder.path().to_owned(),
            umad: Endpoint::Local(socket.clone()),
            capture: None,
            bridges: Vec::new(),
        });
        Self { fabric: fabric.unwrap(), topology, socket, folder }
    }

    /// Runs a program at host `at`, through the library that Debian packages with ibsim.
    fn run(&self, at: &str, program: &str, arguments: &[&str]) -> Output {
        let output = Command::new("timeout")
            .args(["--signal=KILL", TIME_LIMIT, program])
            .args(arguments)
            .env("IBSIM_SOCKNAME", &self.socket)
            .env("SIM_HOST", at)
            .env("OSM_CACHE_DIR", self.folder.path())
            .env("OSM_TMP_DIR", self.folder.path())
            .env("LD_PRELOAD", stock_library())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        output
    }

    /// Runs OpenSM until the subnet is up; returns its log.
    fn bring_up(&self, arguments: &[&str]) -> String {
        let log = self.folder.path().join("osm.log");
        let all = [&["-o", "-f", log.to_str().unwrap(), "-F", "/dev/null"], arguments].concat();
        self.run("H1", "opensm", &all);
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("SUBNET UP"), "{log}");
        assert!(!log.contains("ERR"), "{log}");
        log
    }

    /// Asserts that each port with a cable is Active, and each end has LIDs of its own.
    fn assert_active(&self, lids_each: u16) {
        let mut lids = BTreeSet::new();
        for node in self.fabric.snapshot().unwrap().nodes {
            for port in node.ports {
                let is_end = (port.number.get() == 0) == (node.kind == Kind::Switch);
                if is_end {
                    let spread = if node.kind == Kind::Switch { 1 } else { lids_each };
                    for lid in (port.info.lid.get()..).take(spread.into()) {
                        assert!(lid > 0 && lids.insert(lid), "{}: LID {lid} is not its own", node.id);
                    }
                }
                let expected =
                    if port.peer.is_some() || port.number.get() == 0 { PortState::ACTIVE } else { PortState::DOWN };
                assert_eq!(port.info.port_state(), expected, "{} port {}", node.id, port.number);
            }
        }
    }
}

fn stock_library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("umad2sim/libumad2sim.so")).filter(|path| path.exists());
    libraries.next().expect("Debian's libumad2sim0 is installed")
}

/// Returns the netlist of a switch with `hosts` hosts.
fn star(hosts: usize) -> String {
    let mut netlist = format!("Switch {hosts} \"S1\"\n");
    for host in 1..=hosts {
        writeln!(netlist, "[{host}] \"H{host}\"[1]").unwrap();
    }
    for host in 1..=hosts {
        write!(netlist, "\nCa 1 \"H{host}\"\n[1] \"S1\"[{host}]\n").unwrap();
    }
    netlist
}

/// Three switches in a triangle, one of its sides double, with two hosts each; the last host has both its ports there.
const TRIANGLE: &str = r#"
Switch 8 "S1"
[1] "H1"[1]
[2] "H2"[1]
[5] "S2"[5]
[6] "S2"[6]
[7] "S3"[5]

Switch 8 "S2"
[1] "H3"[1]
[2] "H4"[1]
[5] "S1"[5]
[6] "S1"[6]
[7] "S3"[6]

Switch 8 "S3"
[1] "H5"[1]
[2] "H5"[2]
[5] "S1"[7]
[6] "S2"[7]

Ca 1 "H1"
[1] "S1"[1]

Ca 1 "H2"
[1] "S1"[2]

Ca 1 "H3"
[1] "S2"[1]

Ca 1 "H4"
[1] "S2"[2]

Ca 2 "H5"
[1] "S3"[1]
[2] "S3"[2]
"#;

#[test]
fn opensm_on_one_switch_brings_it_up() {
    for hosts in [1, 2, 16] {
        let bench = Bench::new(&star(hosts));
        bench.bring_up(&[]);
        bench.assert_active(1);
    }
}

#[test]
fn opensm_without_a_limit_of_smps_brings_a_full_switch_up() {
    let bench = Bench::new(&star(254));
    bench.bring_up(&["-n", "0"]);
    bench.assert_active(1);
}

#[test]
fn opensm_with_lmc_brings_several_switches_up() {
    for lmc in [0_u16, 2] {
        let bench = Bench::new(TRIANGLE);
        bench.bring_up(&["-Q", "-l", &lmc.to_string()]);
        bench.assert_active(1 << lmc);
    }
}

#[test]
fn second_sweep_leaves_the_fabric_unchanged() {
    let bench = Bench::new(TRIANGLE);
    bench.bring_up(&[]);
    let before = format!("{:?}", bench.fabric.snapshot().unwrap());
    bench.bring_up(&[]);
    assert_eq!(format!("{:?}", bench.fabric.snapshot().unwrap()), before);
}

#[test]
fn output_of_ibnetdiscover_equals_the_netlist() {
    let bench = Bench::new(TRIANGLE);
    bench.bring_up(&[]);
    let output = bench.run("H2", "ibnetdiscover", &[]);
    let found = Topology::parse(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(facts(&found), facts(&bench.topology));
}

/// Returns nodes and cables by description: ids are ibnetdiscover's own.
fn facts(topology: &Topology) -> BTreeSet<String> {
    let name = |node: usize| &topology.nodes[node].description;
    let nodes = topology.nodes.iter().map(|node| format!("{} {:?} {}", node.description, node.kind, node.guid));
    let cables = topology.nodes.iter().flat_map(|node| {
        node.ports.iter().zip(1..).filter_map(move |(port, number)| {
            let peer = port.peer?;
            Some(format!("{} {number} - {} {}", node.description, name(peer.node), peer.port))
        })
    });
    nodes.chain(cables).collect()
}

#[test]
fn written_netlist_is_accepted_by_ibsim() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.net");
    std::fs::write(&path, Topology::parse(TRIANGLE).unwrap().to_string()).unwrap();
    let said = ibsim(&path);
    assert!(said.contains("Network simulator ready"), "{said}");
}

/// Runs ibsim on a netlist, with `quit` at its console; returns its output.
fn ibsim(netlist: &Path) -> String {
    let mut console = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut console, b"quit\n").unwrap();
    std::io::Seek::rewind(&mut console).unwrap();
    let output = Command::new("timeout")
        .args(["--signal=KILL", TIME_LIMIT, "ibsim", "-s"])
        .arg(netlist)
        .env("IBSIM_SOCKNAME", format!("fabric-ibsim-{}", std::process::id()))
        .stdin(console)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
