//! The scene of the tests of the claims: machine, partitions and counters.

use std::path::PathBuf;
use std::time::Instant;

use iba::attr::{NodeInfo, PortInfo};
use portico_tests::{Destination, Machine, PATIENCE, QueuePair0, Site};
use tempfile::TempDir;

/// Partitions with an aliased queue pair 0 in the hands of the test.
pub(crate) const MANAGERS: [&str; 3] = ["sm-1", "sm-2", "sm-3"];

/// A machine in the state that the module describes.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) capture: PathBuf,
    /// Logical ports, in the order of [`MANAGERS`], then that of `web`; on the first uplink, then on the second.
    pub(crate) ports: Vec<LogicalPort>,
    _folder: TempDir,
}

/// A logical port, as the control line lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogicalPort {
    pub(crate) uplink: u8,
    /// Port of the logical switch.
    pub(crate) place: u8,
    pub(crate) guid: u64,
    pub(crate) lid: u16,
}

/// Counters of the agent at the queue pair 0 of a physical port: those of `ctl status --json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Qp0 {
    pub(crate) received: u64,
    pub(crate) looped_back: u64,
    pub(crate) routed_out: u64,
    pub(crate) answered: u64,
    pub(crate) delivered: u64,
}

impl Qp0 {
    pub(crate) const ZERO: Self = Self { received: 0, looped_back: 0, routed_out: 0, answered: 0, delivered: 0 };

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            looped_back: self.looped_back - before.looped_back,
            routed_out: self.routed_out - before.routed_out,
            answered: self.answered - before.answered,
            delivered: self.delivered - before.delivered,
        }
    }
}

impl Scene {
    /// Starts a machine with one physical port.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// Starts a machine with a physical port on each of two switches.
    pub(crate) fn with_two_ports() -> Self {
        Self::with(&["--topology", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/two_ports.net")])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, capture) = (folder.path().join("portico.toml"), folder.path().join("cable.erf"));
        let manager = |name: &str| format!("[[partition]]\nname = '{name}'\nimage = 'bridge'\nqp0 = 'manager'\n");
        let web = "[[partition]]\nname = 'web'\nimage = 'echo'\n".to_owned();
        let partitions: String = MANAGERS.map(manager).into_iter().chain([web]).collect();
        std::fs::write(&config, format!("spare-ports = 1\n{partitions}")).unwrap();
        let (config, pcap) = (config.to_str().unwrap(), capture.to_str().unwrap());
        let fixed = ["--sm", "none", "--config", config, "--pcap", pcap];
        let mut machine = Machine::ready_for_tools(&[&fixed, arguments].concat());
        let sm = machine.opensm(&[]);
        machine.wait_for("subnet up:");
        drop(sm);
        let ports = logical_ports(&machine);
        let scene = Self { machine, capture, ports, _folder: folder };
        for name in MANAGERS {
            scene.wait_for_bridge(name);
        }
        scene
    }

    /// Waits until programs can attach at the partition `name`.
    pub(crate) fn wait_for_bridge(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.site(name).tool("smpquery", &["-D", "nodedesc", "0"]).run().code != Some(0) {
            assert!(Instant::now() < deadline, "no program can attach at {name}");
        }
    }

    /// Returns the place at which programs attach to the node or partition `name`.
    pub(crate) fn site(&self, name: &str) -> Site {
        self.machine.site().at(name)
    }

    /// Opens the queue pair 0 of the node or partition `name`.
    pub(crate) fn open(&self, name: &str) -> QueuePair0 {
        QueuePair0::open(&self.site(name))
    }

    /// Opens the aliased queue pairs 0 of [`MANAGERS`], all at once.
    pub(crate) fn open_all(&self) -> [QueuePair0; 3] {
        MANAGERS.map(|name| self.open(name))
    }

    /// Returns the agent's counters at the physical port `uplink`, from 1 on.
    pub(crate) fn qp0(&self, uplink: usize) -> Qp0 {
        let status = self.machine.ctl(&["status", "--json"]);
        let state: serde_json::Value = serde_json::from_str(status.ok()).unwrap();
        serde_json::from_value(state[0]["uplinks"][uplink - 1]["qp0"].clone()).unwrap()
    }

    /// Runs `act` and returns its result and how the agent's counters of the first physical port moved.
    pub(crate) fn counted<T>(&self, act: impl FnOnce() -> T) -> (T, Qp0) {
        let before = self.qp0(1);
        let result = act();
        (result, self.qp0(1).since(before))
    }

    /// Returns methods and attributes of the packets on the cable whose transaction has this number.
    pub(crate) fn on_cable(&self, number: u32) -> Vec<(u8, u16)> {
        // The packets that matter have passed when those of a later request have.
        let later = QueuePair0::open_for_requests(&self.site("H2"));
        let number_of_later = number | 0x80_0000;
        let _: NodeInfo = later.get(Destination::Route(&self.route_from_outside(&[])), number_of_later);
        let deadline = Instant::now() + PATIENCE;
        while QueuePair0::frames(&self.capture, number_of_later).len() != 2 {
            assert!(Instant::now() < deadline, "the capture lacks the later request and its response");
        }
        QueuePair0::frames(&self.capture, number)
    }

    /// Returns the directed route from the host H2 to the logical switch, and on by `hops`.
    pub(crate) fn route_from_outside(&self, hops: &[u8]) -> Vec<u8> {
        [&[1, 3], hops].concat()
    }

    /// Sends Get(SMInfo) from the host H2 to a logical port.
    pub(crate) fn ask_sm_from_outside(&self, to: LogicalPort, number: u32) {
        self.open("H2").ask_sm(Destination::Lid(to.lid), number);
    }

    /// Returns the LID of the host H1, where OpenSM ran.
    pub(crate) fn lid_of_h1(&self) -> u16 {
        let info: PortInfo = self.open("H2").get(Destination::Route(&[1, 1]), 199);
        info.lid.get()
    }

    /// Returns the port of the partition `name` on the first uplink.
    pub(crate) fn port(&self, name: &str) -> LogicalPort {
        let index = MANAGERS.iter().position(|manager| *manager == name).unwrap_or(MANAGERS.len());
        self.ports[index]
    }
}

/// Returns the logical ports in the order of uplinks and places.
pub(crate) fn logical_ports(machine: &Machine) -> Vec<LogicalPort> {
    let list = machine.control("portico-0", "list");
    let parse = |line: &String| {
        let words: Vec<_> = line.split(' ').collect();
        let ["port", _, "at", place, "guid", guid, "lid", lid, ..] = words[..] else { return None };
        let (uplink, place) = place.split_once('/')?;
        let (uplink, place) = (uplink.parse().ok()?, place.parse().ok()?);
        Some(LogicalPort { uplink, place, guid: number(guid), lid: lid.parse().ok()? })
    };
    let mut ports: Vec<_> = list.iter().filter_map(parse).collect();
    ports.sort_unstable();
    ports
}

pub(crate) fn number(text: &str) -> u64 {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).unwrap()
}
