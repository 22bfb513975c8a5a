//! The fabric's event loop: sockets and the clock on one side, [`Net`] on the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use subnet::Time;

use cable::{BUFFER, CableEvent, Capture, Reception};
use umad_server::{NodePort, Server};

use crate::config::Config;
use crate::error::StartError;
use crate::net::{Net, Uplink};
use crate::order::Order;
use crate::responder::{self, Responder};

/// The fabric's thread.
pub(crate) struct EventLoop {
    net: Net,
    server: Server,
    responders: Vec<(NodePort, Responder)>,
    capture: Option<Arc<Mutex<Capture>>>,
    epoll: OwnedFd,
    /// By uplink: interest registered with epoll.
    interests: Vec<Interest>,
    inbox: Receiver<Order>,
    wake: Arc<OwnedFd>,
    start: Instant,
    buffer: Box<[u8; BUFFER]>,
}

/// Interest of the event loop in an uplink's socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// The socket is not registered.
    Unregistered,
    /// Readable.
    Readable,
    /// Readable or writable.
    ReadableOrWritable,
}

/// Continuation of the event loop after an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

impl EventLoop {
    /// Creates nodes, cables and sockets, and trains the cables between the fabric's own nodes.
    pub(crate) fn new(config: Config, inbox: Receiver<Order>, wake: Arc<OwnedFd>) -> Result<Self, StartError> {
        let capture = match &config.capture {
            Some(path) => Some(Capture::create(path).map_err(|error| StartError::Capture(path.clone(), error))?),
            None => None,
        };
        let capture = capture.map(|capture| Arc::new(Mutex::new(capture)));
        let mut net = Net::new(config.topology, &config.folder, capture.as_ref())?;
        net.train_every_cable();
        for hca in &config.bridges {
            net.add_bridge(hca, &config.folder)?;
        }
        let server = Server::bind(config.umad)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let watch = |fd: BorrowedFd<'_>, token| {
            epoll::add(&epoll, fd, EventData::new_u64(token), EventFlags::IN).map_err(io::Error::from)
        };
        watch(wake.as_fd(), WAKE)?;
        watch(server.as_fd(), UMAD)?;
        for (uplink, token) in net.uplinks().iter().zip((UPLINKS..).step_by(2)) {
            watch(uplink.listener(), token)?;
        }
        let interests = vec![Interest::Unregistered; net.uplinks().len()];
        let buffer = Box::new([0; BUFFER]);
        Ok(Self {
            net,
            server,
            responders: Vec::new(),
            capture,
            epoll,
            interests,
            inbox,
            wake,
            start: Instant::now(),
            buffer,
        })
    }

    /// Runs until [`Order::Stop`].
    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            let now = self.now();
            self.net.set_time(now);
            let due = self.server.expire(now.since(Time::default()), &mut self.net);
            let due = due.map_or(Time::NEVER, |due| Time::default().after(due));
            let more = self.carry();
            self.flush_uplinks();
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
                    WAKE => {
                        if self.execute_orders() == Flow::Stop {
                            return;
                        }
                    }
                    UMAD => self.server.serve(now.since(Time::default()), &mut self.net),
                    token => self.serve_uplink(token - UPLINKS),
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::default().after(self.start.elapsed())
    }

    /// Carries packets, and passes deliveries to responders and umad programs. Returns `true` if more must be carried.
    fn carry(&mut self) -> bool {
        let more = self.net.carry();
        for at in self.net.take_renamed() {
            self.server.expel(at, &mut self.net);
        }
        let now = self.net.now();
        let mut responses = Vec::new();
        let ports: Vec<_> = self.responders.iter().map(|&(at, _)| responder_port(&self.net, at)).collect();
        self.net.drain_deliveries(|at, packet| {
            let mut hosts = self.responders.iter_mut().zip(&ports).filter(|((place, _), _)| *place == at);
            if let Some(((_, responder), Some(port))) = hosts.next()
                && let Some(response) = responder.respond(port, packet)
            {
                responses.push((at, response));
            } else {
                self.server.deliver(at, packet);
            }
        });
        for ((at, responder), port) in self.responders.iter_mut().zip(&ports) {
            responses.extend(port.as_ref().and_then(|port| responder.poll(now, port)).map(|packet| (*at, packet)));
        }
        let more = more || !responses.is_empty();
        for (at, mut packet) in responses {
            self.net.with_node(at.node, 0, |node, now, out| node.send(now, at.port, &mut packet, out));
        }
        more
    }

    /// Executes the orders of other threads.
    fn execute_orders(&mut self) -> Flow {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Unplug(at) => self.net.unplug(NodePort { node: at.node, port: at.port }),
                Order::Plug(at) => self.net.plug(NodePort { node: at.node, port: at.port }),
                Order::Respond(at) => {
                    self.responders.push((NodePort { node: at.node, port: at.port }, Responder::default()));
                }
                Order::Snapshot(reply) => _ = reply.send(self.net.snapshot()),
                Order::Stop => return Flow::Stop,
            }
        }
        Flow::Continue
    }

    /// Serves the listener (even tokens) or the cable (odd tokens) of uplink `token / 2`.
    fn serve_uplink(&mut self, token: u64) {
        let Ok(index) = usize::try_from(token / 2) else {
            return;
        };
        let at = self.net.uplinks()[index].at();
        if token.is_multiple_of(2) {
            if let Some(socket) = self.net.uplinks()[index].accept() {
                let change = self.net.uplinks_mut()[index].connect(socket);
                self.interests[index] = Interest::Unregistered;
                self.net.handle_link_change(at, change);
            }
            return;
        }
        for _ in 0..BATCH {
            let change = match self.net.uplinks_mut()[index].receive(&mut self.buffer) {
                Reception::Empty => break,
                Reception::Event(CableEvent::Packet(packet)) => {
                    self.net.receive(at, packet, 0);
                    continue;
                }
                Reception::Event(CableEvent::Link(change)) => Some(change),
                Reception::Event(CableEvent::Credit | CableEvent::Nothing) => None,
                Reception::Unplugged(change, error) => {
                    if let Some(error) = error {
                        log::warn!("unplugged the cable at {}: {error}", self.net.name(at));
                    }
                    self.interests[index] = Interest::Unregistered;
                    change
                }
            };
            self.net.handle_link_change(at, change);
        }
    }

    /// Sends the packets that wait for uplinks, grants credits, and registers the uplinks' sockets.
    fn flush_uplinks(&mut self) {
        let now = self.now();
        let uplinks = self.net.uplinks_mut();
        let has_room = uplinks.iter().map(Uplink::waiting).sum::<usize>() < POOL;
        for ((uplink, interest), token) in uplinks.iter_mut().zip(&mut self.interests).zip((UPLINKS + 1..).step_by(2)) {
            uplink.flush(now);
            if has_room {
                uplink.grant();
            }
            let Some(socket) = uplink.socket() else {
                *interest = Interest::Unregistered; // closing the socket removed it from epoll
                continue;
            };
            let (flags, wanted) = match uplink.is_full() {
                true => (EventFlags::IN | EventFlags::OUT, Interest::ReadableOrWritable),
                false => (EventFlags::IN, Interest::Readable),
            };
            let data = EventData::new_u64(token);
            let outcome = match *interest {
                interest if interest == wanted => continue,
                Interest::Unregistered => epoll::add(&self.epoll, socket, data, flags),
                _ => epoll::modify(&self.epoll, socket, data, flags),
            };
            if outcome.is_ok() {
                *interest = wanted;
            }
        }
    }

    fn flush_capture(&self) {
        if let Some(capture) = &self.capture {
            // A full disk ends the capture; the fabric goes on.
            let _ = capture.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// Returns the time until the next deadline; `None` without one. `due` is the umad server's deadline.
    fn timeout(&mut self, due: Time) -> Option<Timespec> {
        let responders = self.responders.iter().map(|(_, responder)| responder.deadline());
        let due = responders.fold(due, Time::min);
        let deadline = self.net.deadline().unwrap_or(Time::NEVER).min(due);
        // `None` uses the oldest system call; a timeout near the clock's end needs one that emulators and sandboxes
        // lack.
        let timeout = Timespec::try_from(deadline.since(self.now())).ok();
        timeout.filter(|_| deadline != Time::NEVER)
    }
}

fn responder_port(net: &Net, at: NodePort) -> Option<responder::Port> {
    let node = net.node(at)?;
    Some(responder::Port { info: *node.port_info(at.port)?, guid: node.port_guid(at.port)? })
}

/// Messages taken from one cable before the others get their turn.
const BATCH: usize = 64;
/// Data packets that may wait for uplinks before the fabric grants no more credits.
const POOL: usize = 4096;

// Tokens of epoll events.
const WAKE: u64 = 0;
const UMAD: u64 = 1;
const UPLINKS: u64 = 2;
