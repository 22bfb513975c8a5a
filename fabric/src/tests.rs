//! The fabric as a thread, with the test as the hypervisor at the other end of a cable.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iba::PortNum;
use iba::attr::PortState;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Config, Fabric, UplinkView};
use crate::topology::{DEFAULT, DEFAULT_HYPERVISOR, PortRef, Topology};
use cable::{self, Abilities, BUFFER, Cable, CableEnd, CableEvent, Hello, LinkChange, LinkState, Reception};
use umad_server::Endpoint;

const S1: usize = 0;
const PORTICO: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns a name that is unique to this test and process.
fn endpoint() -> Endpoint {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Endpoint::Local(format!("uplink-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

struct Bench {
    folder: tempfile::TempDir,
    fabric: Fabric,
    topology: Topology,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut topology = Topology::parse(DEFAULT).unwrap();
        topology.set_hypervisor(DEFAULT_HYPERVISOR).unwrap();
        let config = Config {
            topology: topology.clone(),
            folder: folder.path().to_owned(),
            capture: Some(folder.path().join("capture.pcap")),
            umad: endpoint(),
            bridges: Vec::new(),
        };
        Self { fabric: Fabric::start(config).unwrap(), folder, topology }
    }

    fn plug(&self) -> Cable {
        let hello = Hello { node: self.topology.nodes[PORTICO].guid, port: PortNum::new(1) };
        let mut cable = Cable::new(CableEnd::new(hello, Abilities::default()), None);
        let path = cable::path(self.folder.path(), DEFAULT_HYPERVISOR, PortNum::new(1));
        cable.plug(cable::dial(&path).unwrap());
        cable
    }

    /// Waits until the switch's port at the cable is in `state`; returns the cable.
    fn wait_for(&self, state: PortState) -> UplinkView {
        let start = Instant::now();
        loop {
            let snapshot = self.fabric.snapshot().expect("the fabric lives");
            let port = &snapshot.nodes[S1].ports[3];
            if port.info.port_state() == state {
                return port.uplink.expect("a cable to another process");
            }
            assert!(start.elapsed() < TIMEOUT, "{port:?} is not {state:?}");
            std::thread::yield_now();
        }
    }
}

/// Receives messages until one has `change`.
fn wait_for_change(cable: &mut Cable, change: LinkChange) {
    let mut buffer = [0; BUFFER];
    loop {
        match cable.receive(&mut buffer) {
            Reception::Event(CableEvent::Link(found)) | Reception::Unplugged(Some(found), None) => {
                assert_eq!(found, change);
                return;
            }
            Reception::Event(_) => {}
            Reception::Empty => {
                let socket = cable.socket().expect("plugged in");
                let timeout = Timespec::try_from(TIMEOUT).unwrap();
                let ready = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)).unwrap();
                assert_eq!(ready, 1, "{change:?} does not come");
            }
            Reception::Unplugged(..) => panic!("unplugged before {change:?}"),
        }
    }
}

fn up() -> LinkChange {
    LinkChange::Up(Abilities::default().common(Abilities::default()).unwrap())
}

#[test]
fn link_follows_the_model_that_dies_and_restarts() {
    let bench = Bench::new();
    assert_eq!(bench.wait_for(PortState::DOWN).peer, None);
    for _ in 0..2 {
        let mut cable = bench.plug();
        wait_for_change(&mut cable, up());
        let uplink = bench.wait_for(PortState::INIT);
        assert_eq!(uplink.peer, Some(bench.topology.nodes[PORTICO].guid));
        assert!(matches!(uplink.link, LinkState::Up(_)));
        drop(cable);
        assert_eq!(bench.wait_for(PortState::DOWN).peer, None);
    }
}

#[test]
fn unplugged_cable_refuses_connections_until_it_is_plugged_in() {
    let bench = Bench::new();
    let mut cable = bench.plug();
    wait_for_change(&mut cable, up());
    let at = PortRef { node: S1, port: PortNum::new(3) };
    bench.fabric.unplug(at);
    wait_for_change(&mut cable, LinkChange::Down);
    bench.wait_for(PortState::DOWN);
    let mut refused = bench.plug();
    assert_eq!(wait_for_end(&mut refused), Reception::Unplugged(None, None));
    bench.fabric.plug(at);
    bench.fabric.snapshot().expect("the fabric lives"); // orders are executed in turn: the cable is in again
    let mut cable = bench.plug();
    wait_for_change(&mut cable, up());
    bench.wait_for(PortState::INIT);
}

/// Receives messages until the cable is unplugged.
fn wait_for_end(cable: &mut Cable) -> Reception<'static> {
    let mut buffer = [0; BUFFER];
    while let Some(socket) = cable.socket() {
        let timeout = Timespec::try_from(TIMEOUT).unwrap();
        assert_eq!(poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)).unwrap(), 1, "it stays");
        if let Reception::Unplugged(change, error) = cable.receive(&mut buffer) {
            return Reception::Unplugged(change, error);
        }
    }
    panic!("not plugged in")
}

#[test]
fn cable_between_two_hypervisors_is_refused() {
    let mut topology = Topology::parse("Ca 1 \"a\"\n[1] \"b\"\n\nCa 1 \"b\"\n[1] \"a\"\n").unwrap();
    topology.set_hypervisor("a").unwrap();
    topology.set_hypervisor("b").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config =
        Config { topology, folder: folder.path().to_owned(), capture: None, umad: endpoint(), bridges: Vec::new() };
    let error = Fabric::start(config).expect_err("no switch");
    assert_eq!(error.to_string(), "cannot join the hypervisors `a` and `b` by a cable: put a switch between them");
}
