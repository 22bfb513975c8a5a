//! Sockets of the server.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recv, recvfrom, send, sendto};
use umad_protocol::{Control, ControlKind, Datagram};
use zerocopy::{FromZeros, IntoBytes};

use super::core::{Change, Core};
use super::endpoint::{BindError, Endpoint};
use super::slot::Slot;
use super::{Fabric, NodePort};

/// Messages that the server takes from one socket before it serves another.
const BATCH: usize = 64;

/// MADs that may wait for a client to read. A client that reads no more loses later ones.
const OUTBOX: usize = 1 << 16;

/// Time between two searches for clients that ended without detaching.
const ROUND: Duration = Duration::from_secs(1);

/// Returns the whole length of a message that is too long, and never waits.
const WHOLE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::TRUNC);

/// Token of the control socket; that of a client's is its slot.
const CONTROL: u64 = u64::MAX;

/// Server of umad programs.
///
/// Its one descriptor ([`AsFd`]) is readable when [`Server::serve`] has work. All times are since the beginning of one
/// monotonic clock of the caller's.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    core: Core<SocketAddrAny>,
    epoll: OwnedFd,
    control: OwnedFd,
    connections: BTreeMap<Slot, Connection>,
    next_round: Duration,
}

/// Socket for the MADs of one client.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    /// Id of the client's own socket.
    id: u32,
    /// MADs for which the client has no room yet.
    outbox: VecDeque<Datagram>,
    /// `true` if the server waits for room in the socket.
    awaits_room: bool,
    /// `true` once a send or receive failed because the client ended.
    is_gone: bool,
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Server {
    /// Opens a server at `endpoint`.
    ///
    /// # Errors
    ///
    /// Another run uses the endpoint, or the system refuses.
    pub fn bind(endpoint: Endpoint) -> Result<Self, BindError> {
        let control = endpoint.control()?;
        let fail = |error| BindError::Io { endpoint: endpoint.clone(), error };
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(fail)?;
        epoll::add(&epoll, &control, EventData::new_u64(CONTROL), EventFlags::IN).map_err(fail)?;
        let (core, connections) = (Core::new(), BTreeMap::new());
        Ok(Self { core, epoll, control, connections, next_round: Duration::ZERO, endpoint })
    }

    /// Takes the clients' messages, and sends MADs for which they had no room.
    pub fn serve(&mut self, now: Duration, fabric: &mut impl Fabric) {
        let mut events = Vec::with_capacity(32);
        // After an interruption the descriptor stays readable, and the caller calls again.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        for event in &events {
            match event.data.u64() {
                CONTROL => self.serve_control(fabric),
                token => {
                    if let Some(slot) = u32::try_from(token).ok().and_then(Slot::new) {
                        self.serve_client(now, slot, fabric);
                    }
                }
            }
        }
    }

    /// Delivers a packet for the consumers at a port to the client that receives it, if any.
    pub fn deliver(&mut self, at: NodePort, packet: &[u8]) {
        if let Some((slot, datagram)) = self.core.deliver(at, packet) {
            self.send(slot, datagram);
        }
    }

    /// Returns requests without a response to their clients, and detaches clients that ended. Returns the time of the
    /// next call; `None` while no client is attached.
    pub fn expire(&mut self, now: Duration, fabric: &mut impl Fabric) -> Option<Duration> {
        while let Some((slot, datagram)) = self.core.expire(now) {
            self.send(slot, datagram);
        }
        if now >= self.next_round {
            self.next_round = now.saturating_add(ROUND);
            self.detach_gone(fabric);
        }
        let round = (!self.connections.is_empty()).then_some(self.next_round);
        self.core.deadline().into_iter().chain(round).min()
    }

    /// Detaches clients that ended.
    fn detach_gone(&mut self, fabric: &mut impl Fabric) {
        let is_gone = |connection: &Connection| connection.is_gone || self.endpoint.is_gone(connection.id);
        let gone: Vec<Slot> =
            self.connections.iter().filter(|(_, connection)| is_gone(connection)).map(|(&slot, _)| slot).collect();
        for slot in gone {
            log::info!("umad client {} ended", slot.number());
            self.core.detach(slot, fabric);
            self.connections.remove(&slot);
        }
    }

    /// Detaches all clients at a port that changed its owner.
    pub fn expel(&mut self, at: NodePort, fabric: &mut impl Fabric) {
        for slot in self.core.at(at) {
            log::info!("umad client {}: its port is gone; detached", slot.number());
            self.core.detach(slot, fabric);
            self.connections.remove(&slot);
        }
    }

    /// Answers control messages.
    fn serve_control(&mut self, fabric: &mut impl Fabric) {
        for _ in 0..BATCH {
            let mut message = Control::new_zeroed();
            let (size, address) = match recvfrom(&self.control, message.as_mut_bytes(), WHOLE) {
                Ok((size, _, address)) => (size, address),
                Err(Errno::INTR | Errno::CONNREFUSED) => continue, // the latter reports that a client died
                Err(_) => return,
            };
            let Some(address) = address.filter(|_| size == size_of::<Control>()) else { continue };
            if [ControlKind::CONNECT, ControlKind::SET_ISSM].contains(&message.kind) {
                // A client must not be refused because of one that died.
                self.detach_gone(fabric);
            }
            match self.core.control(&mut message, address.clone(), fabric) {
                Ok(Change::Nothing) => {}
                Ok(Change::Attached(slot, id)) => {
                    if let Err(error) = self.attach(slot, id) {
                        log::warn!("cannot attach umad client {id}: {error}");
                        self.core.detach(slot, fabric);
                        message.kind = ControlKind::ERROR;
                    }
                }
                Ok(Change::Detached(slot)) => drop(self.connections.remove(&slot)),
                Err(refusal) => log::warn!("cannot serve umad client {}: {refusal}", message.client),
            }
            // A client that does not take the answer loses it.
            let _ = sendto(&self.control, message.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &address);
        }
    }

    /// Opens the socket for a client's MADs.
    fn attach(&mut self, slot: Slot, id: u32) -> Result<(), Errno> {
        let socket = self.endpoint.data(slot, id)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(slot.number().into()), EventFlags::IN)?;
        let connection = Connection { socket, id, outbox: VecDeque::new(), awaits_room: false, is_gone: false };
        self.connections.insert(slot, connection);
        Ok(())
    }

    /// Takes a client's MADs, and sends those that wait.
    fn serve_client(&mut self, now: Duration, slot: Slot, fabric: &mut impl Fabric) {
        for _ in 0..BATCH {
            let Some(connection) = self.connections.get_mut(&slot) else { return };
            let mut datagram = Datagram::new_zeroed();
            match recv(&connection.socket, datagram.as_mut_bytes(), WHOLE) {
                Ok((_, size)) if size == size_of::<Datagram>() => {
                    if let Some(back) = self.core.submit(now, slot, &datagram, fabric) {
                        self.send(slot, back);
                    }
                }
                Ok(_) => log::warn!("umad client {}: message of a wrong length; dropped", slot.number()),
                Err(Errno::INTR) => {}
                Err(Errno::CONNREFUSED) => connection.is_gone = true,
                Err(_) => break,
            }
        }
        self.flush(slot);
    }

    /// Sends a MAD to a client, or keeps it until the client has room.
    fn send(&mut self, slot: Slot, datagram: Datagram) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        if connection.outbox.len() < OUTBOX {
            connection.outbox.push_back(datagram);
            self.flush(slot);
        }
    }

    /// Sends the MADs that wait, as far as the client has room.
    fn flush(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        while let Some(datagram) = connection.outbox.front() {
            match send(&connection.socket, datagram.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => break,
                Err(Errno::CONNREFUSED) => {
                    connection.is_gone = true;
                    connection.outbox.clear();
                }
                _ => drop(connection.outbox.pop_front()),
            }
        }
        let awaits_room = !connection.outbox.is_empty();
        if awaits_room != connection.awaits_room {
            let room = if awaits_room { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(slot.number().into());
            if epoll::modify(&self.epoll, &connection.socket, data, EventFlags::IN | room).is_ok() {
                connection.awaits_room = awaits_room;
            }
        }
    }
}
