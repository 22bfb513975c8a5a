//! The HCA model as a process, between the ivshmem server, the driver, and the far end of its cable.
#![allow(clippy::unwrap_used)] // a test fails by it

#[path = "../../qemu/hca-model/tests/support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cable::{self, Cable, Listener};
use hca_driver::{Doorbell, Event, Port, Queue};
use portico_qemu::ivshmem::{Peer, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{Driver, drain, end, mad, smp};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// The hypervisor's side, the fabric's side, and the model between them.
struct World<D> {
    folder: TempDir,
    server: Option<Server>,
    peer: Rc<RefCell<Peer>>,
    driver: Driver<D>,
    listener: Option<Listener>,
    far: Cable,
    arrived: Vec<Vec<u8>>,
    model: Child,
}

impl<D> Drop for World<D> {
    fn drop(&mut self) {
        let _ = self.model.kill();
        let _ = self.model.wait();
    }
}

fn cable_path(folder: &TempDir) -> PathBuf {
    cable::path(folder.path(), "portico-0", 1.into())
}

fn model(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command.arg("model").arg("--ivshmem").arg(folder.path().join("hca"));
    command.arg("--cable").arg(cable_path(folder));
    command.args(["--node-guid", "0x0250540000000100", "--name", "portico-0", "--log"]);
    command.arg(folder.path().join("model.log")).stdin(Stdio::null());
    command
}

/// Starts a model, and waits until its link is up.
fn world() -> World<impl Doorbell> {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("hca")).unwrap();
    let listener = Listener::bind(&cable_path(&folder)).unwrap();
    let peer = Rc::new(RefCell::new(Peer::join(server.path()).unwrap()));
    let bell = Rc::clone(&peer);
    let memory = peer.borrow().memory().try_clone_to_owned().unwrap();
    let driver = Driver::new(memory, move |_, vector| bell.borrow().ring(vector));
    let model = model(&folder).spawn().unwrap();
    let mut world = World {
        folder,
        server: Some(server),
        peer,
        driver,
        listener: Some(listener),
        far: end(2),
        arrived: Vec::new(),
        model,
    };
    world.until("the link is up at both ends", |world| {
        world.driver.is_up() && world.far.end().may_send(&mad(0)).is_ok()
    });
    world
}

impl<D: Doorbell> World<D> {
    /// Handles events until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {:?}", self.driver.events);
            self.wait();
            let _gone = self.peer.borrow_mut().update();
            if let Some(socket) = self.listener.as_ref().and_then(|listener| listener.accept().unwrap()) {
                self.far.plug(socket);
            }
            drain(&mut self.far, &mut self.arrived);
            self.driver.check();
        }
    }

    /// Waits for an event, or for the driver's next check of the heartbeat.
    fn wait(&self) {
        let peer = self.peer.borrow();
        let mut fds = vec![PollFd::new(&*peer, PollFlags::IN)];
        fds.extend(peer.doorbells().iter().map(|bell| PollFd::new(bell, PollFlags::IN)));
        fds.extend(self.listener.iter().map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)));
        fds.extend(self.far.socket().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        let period = Timespec::try_from(Duration::from_millis(100)).unwrap();
        poll(&mut fds, Some(&period)).unwrap();
        for bell in peer.doorbells() {
            let _none_or_some = rustix::io::read(bell, &mut [0_u8; 8]);
        }
    }

    fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.model);
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)).unwrap();
        assert_eq!(ended, 1, "the model still runs after {:?}", start.elapsed());
        self.model.wait().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("model.log")).unwrap()
    }
}

#[test]
fn packets_pass_the_process_in_both_directions() {
    let mut world = world();
    for number in 0..500 {
        world.driver.hca.send(Port::One, Queue::Qp0, &smp(number)).unwrap();
        world.driver.hca.send(Port::One, Queue::Packet, &mad(number)).unwrap();
        world.until("both packets arrive", |world| world.arrived.len() == 2);
        world.arrived.sort();
        assert_eq!(std::mem::take(&mut world.arrived), [mad(number), smp(number)]);
        world.far.transmit(&smp(number)).unwrap();
        world.far.transmit(&mad(number)).unwrap();
        world.until("both packets are counted", |world| {
            world.driver.hca.counters(Port::One).rcv_packets == 2 * (number + 1)
        });
        assert_eq!(world.driver.receive(Queue::Qp0), [smp(number)]);
        assert_eq!(world.driver.receive(Queue::Packet), [mad(number)]);
    }
}

#[test]
fn heartbeat_of_an_idle_model_continues() {
    let mut world = world();
    let memory = world.peer.borrow().memory().try_clone_to_owned().unwrap();
    let bar = hca_model::Bar::map(memory).unwrap();
    let beat = || bar.load(hca_contract::device::HEARTBEAT);
    let first = beat();
    world.driver.events.clear();
    world.until("the heartbeat counts 40", |_| beat().wrapping_sub(first) >= 40);
    assert!(world.driver.events.is_empty(), "the driver has events: {:?}", world.driver.events);
}

#[test]
fn killed_model_restarts_under_a_running_driver() {
    let mut world = world();
    for generation in 2..4 {
        world.driver.events.clear();
        world.model.kill().unwrap();
        world.model.wait().unwrap();
        world.until("the cable is pulled", |world| world.far.socket().is_none());
        world.model = model(&world.folder).spawn().unwrap();
        world.until("the link is up again", |world| world.driver.is_up());
        assert_eq!(world.driver.generation(), Some(generation));
        assert!(world.driver.events.iter().any(|event| matches!(event, Event::Lost(_))));
        world.arrived.clear();
        world.driver.hca.send(Port::One, Queue::Packet, &mad(1)).unwrap();
        world.until("a packet arrives", |world| world.arrived == [mad(1)]);
    }
}

#[test]
fn model_without_its_ivshmem_server_ends() {
    let mut world = world();
    world.server = None;
    assert!(world.exit().success());
    assert!(world.log().contains("the ivshmem server is gone"), "{}", world.log());
    world.until("the driver loses the device", |world| world.driver.generation().is_none());
}

#[test]
fn unplugged_cable_is_connected_again() {
    let mut world = world();
    world.far.unplug();
    world.until("the link is down", |world| !world.driver.is_up());
    world.until("the link is up", |world| world.driver.is_up());
    assert_eq!(world.driver.generation(), Some(1));
}

#[test]
fn model_without_its_fabric_ends() {
    let mut world = world();
    world.listener = None;
    world.far.unplug();
    assert!(world.exit().success());
    assert!(world.log().contains("cannot plug the cable of port 1 into"), "{}", world.log());
    world.until("the driver loses the device", |world| world.driver.generation().is_none());
}

#[test]
fn link_after_a_restart_of_the_machine_is_up() {
    let mut world = world();
    world.driver.events.clear();
    let server = world.server.as_ref().unwrap().path().to_owned();
    // The hypervisor's peer leaves, as when QEMU ends.
    let old = std::mem::replace(&mut *world.peer.borrow_mut(), Peer::join(&server).unwrap());
    drop(old);
    world.driver.hca.request_link(Port::One, hca_driver::LinkRequest::Retrain);
    world.until("the link is up", |world| world.driver.is_up());
}

#[test]
fn model_started_without_a_server_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = model(&folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(said.contains("cannot join the ivshmem server"), "{said}");
}
