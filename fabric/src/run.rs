//! The fabric's event loop: sockets and the clock on one side, [`Net`] on the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use subnet::Time;

use super::net::Net;
use super::responder::{self, Responder};
use super::uplink::Uplink;
use super::wires::Wires;
use super::{Config, Order, StartError};
use cable::{BUFFER, Capture, Event, Received};
use umad_server::{NodePort, Server};

/// Messages taken from one cable before the others get their turn.
const BATCH: usize = 64;
/// Data packets that may wait for uplinks before no more are let in.
const POOL: usize = 4096;

const WAKE: u64 = 0;
const UMAD: u64 = 1;
const UPLINKS: u64 = 2;

/// The fabric's thread.
pub(super) struct Loop {
    net: Net,
    server: Server,
    responders: Vec<(NodePort, Responder)>,
    capture: Option<Arc<Mutex<Capture>>>,
    epoll: OwnedFd,
    /// For each uplink: whether its socket is waited for, and if so, also until it is writable.
    waited: Vec<Option<bool>>,
    inbox: Receiver<Order>,
    wake: Arc<OwnedFd>,
    start: Instant,
    buffer: Box<[u8; BUFFER]>,
}

impl Loop {
    pub(super) fn new(config: Config, inbox: Receiver<Order>, wake: Arc<OwnedFd>) -> Result<Self, StartError> {
        let capture = match &config.capture {
            Some(path) => Some(Capture::create(path).map_err(|error| StartError::Capture(path.clone(), error))?),
            None => None,
        };
        let capture = capture.map(|capture| Arc::new(Mutex::new(capture)));
        let wires = Wires::new(&config.topology, &config.folder, capture.as_ref())?;
        let mut net = Net::new(config.topology, wires)?;
        net.train_all();
        for hca in &config.lent {
            net.lend(hca, &config.folder)?;
        }
        let server = Server::bind(config.umad)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let wait = |fd: BorrowedFd<'_>, token| {
            epoll::add(&epoll, fd, EventData::new_u64(token), EventFlags::IN).map_err(io::Error::from)
        };
        wait(wake.as_fd(), WAKE)?;
        wait(server.as_fd(), UMAD)?;
        for (uplink, token) in net.wires.uplinks.iter().zip((UPLINKS..).step_by(2)) {
            wait(uplink.listener(), token)?;
        }
        let waited = vec![None; net.wires.uplinks.len()];
        let buffer = Box::new([0; BUFFER]);
        Ok(Self {
            net,
            server,
            responders: Vec::new(),
            capture,
            epoll,
            waited,
            inbox,
            wake,
            start: Instant::now(),
            buffer,
        })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            let now = self.now();
            self.net.set_time(now);
            let due = self.server.expire(now.since(Time::default()), &mut self.net);
            let due = due.map_or(Time::NEVER, |due| Time::default().after(due));
            let more = self.carry();
            self.tend_uplinks();
            self.net.count_errors();
            if !more {
                self.flush_capture();
            }
            let timeout = if more { Some(Timespec::default()) } else { self.timeout(due) };
            events.clear();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
            if waited.is_err() {
                continue; // interrupted by a signal
            }
            let now = self.now();
            self.net.set_time(now);
            for event in &events {
                match event.data.u64() {
                    WAKE if !self.obey() => return,
                    WAKE => {}
                    UMAD => self.server.serve(now.since(Time::default()), &mut self.net),
                    token => self.serve_uplink(token - UPLINKS),
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::default().after(self.start.elapsed())
    }

    /// Carries packets, and hands those that came to consumers to the responders and the umad programs that they are for.
    fn carry(&mut self) -> bool {
        let more = self.net.carry();
        for at in self.net.take_renamed() {
            self.server.expel(at, &mut self.net);
        }
        let now = self.net.wires.now;
        let mut answers = Vec::new();
        let ports: Vec<_> = self.responders.iter().map(|&(at, _)| responder_port(&self.net, at)).collect();
        self.net.wires.deliveries.drain(|at, packet| {
            let mut hosts = self.responders.iter_mut().zip(&ports).filter(|((place, _), _)| *place == at);
            if let Some(((_, responder), Some(port))) = hosts.next()
                && let Some(answer) = responder.answer(port, packet)
            {
                answers.push((at, answer));
            } else {
                self.server.deliver(at, packet);
            }
        });
        for ((at, responder), port) in self.responders.iter_mut().zip(&ports) {
            answers.extend(port.as_ref().and_then(|port| responder.poll(now, port)).map(|packet| (*at, packet)));
        }
        let more = more || !answers.is_empty();
        for (at, mut packet) in answers {
            self.net.with_node(at.node, 0, |node, now, out| node.send(now, at.port, &mut packet, out));
        }
        more
    }

    /// Does what another thread asks for. False if that is to stop.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Pull { at, pulled } => self.net.pull(NodePort { node: at.node, port: at.port }, pulled),
                Order::Respond(at) => {
                    self.responders.push((NodePort { node: at.node, port: at.port }, Responder::default()));
                }
                Order::Snapshot(reply) => _ = reply.send(self.net.snapshot()),
                Order::Stop => return false,
            }
        }
        true
    }

    /// A socket of uplink `token / 2` is ready: the listener, or the cable.
    fn serve_uplink(&mut self, token: u64) {
        let Ok(index) = usize::try_from(token / 2) else {
            return;
        };
        let at = self.net.wires.uplinks[index].at();
        if token.is_multiple_of(2) {
            if let Some(socket) = self.net.wires.uplinks[index].accept() {
                let change = self.net.wires.uplinks[index].plug(socket);
                self.waited[index] = None;
                self.net.changed(at, change);
            }
            return;
        }
        for _ in 0..BATCH {
            let change = match self.net.wires.uplinks[index].receive(&mut self.buffer) {
                Received::Empty => break,
                Received::Event(Event::Packet(packet)) => {
                    self.net.receive(at, packet, 0);
                    continue;
                }
                Received::Event(Event::Link(change)) => Some(change),
                Received::Event(Event::Credit | Event::Nothing) => None,
                Received::Unplugged(change, error) => {
                    if let Some(error) = error {
                        log::warn!("unplugged the cable at {}: {error}", self.net.name(at));
                    }
                    self.waited[index] = None;
                    change
                }
            };
            self.net.changed(at, change);
        }
    }

    /// Sends what waits for uplinks, lets them send more, and sees to it that their sockets are waited for.
    fn tend_uplinks(&mut self) {
        let now = self.now();
        let uplinks = &mut self.net.wires.uplinks;
        let room = uplinks.iter().map(Uplink::waiting).sum::<usize>() < POOL;
        for ((uplink, waited), token) in uplinks.iter_mut().zip(&mut self.waited).zip((UPLINKS + 1..).step_by(2)) {
            uplink.flush(now);
            if room {
                uplink.grant();
            }
            let Some((socket, writable)) = uplink.socket() else {
                *waited = None; // closing it ended the waiting
                continue;
            };
            let flags = if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = EventData::new_u64(token);
            let outcome = match *waited {
                Some(waited) if waited == writable => continue,
                Some(_) => epoll::modify(&self.epoll, socket, data, flags),
                None => epoll::add(&self.epoll, socket, data, flags),
            };
            if outcome.is_ok() {
                *waited = Some(writable);
            }
        }
    }

    fn flush_capture(&self) {
        if let Some(capture) = &self.capture {
            // A capture that cannot be written is given up; the fabric goes on.
            let _ = capture.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// How long there is nothing to do of itself, if the umad server has nothing to do before `due`.
    fn timeout(&mut self, due: Time) -> Option<Timespec> {
        let responders = self.responders.iter().map(|(_, responder)| responder.deadline());
        let due = responders.fold(due, Time::min);
        let deadline = self.net.deadline().unwrap_or(Time::NEVER).min(due);
        // A wait without an end needs no more than the oldest system call; one up to the clock's end needs a new one, which
        // emulators and sandboxes lack.
        let timeout = Timespec::try_from(deadline.since(self.now())).ok();
        timeout.filter(|_| deadline != Time::NEVER)
    }
}

fn responder_port(net: &Net, at: NodePort) -> Option<responder::Port> {
    let node = net.node(at)?;
    Some(responder::Port { info: *node.port_info(at.port)?, guid: node.port_guid(at.port)? })
}
