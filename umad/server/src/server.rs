//! The server's sockets.

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

/// Messages taken from one socket before the others get their turn.
const BATCH: usize = 64;

/// MADs that may wait for a client to read. One that reads no more loses what comes then.
const OUTBOX: usize = 1 << 16;

/// How often to look whether clients are gone without a word.
const ROUND: Duration = Duration::from_secs(1);

/// Says of a message that is too long how long it is, and never waits.
const WHOLE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::TRUNC);

/// Token of the control socket; that of a client's is its slot.
const CONTROL: u64 = u64::MAX;

/// A server of umad programs.
///
/// It is one descriptor to wait for ([`AsFd`]), readable when [`Server::serve`] has something to do.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    core: Core<SocketAddrAny>,
    epoll: OwnedFd,
    control: OwnedFd,
    lines: BTreeMap<Slot, Line>,
    next_round: Duration,
}

/// The socket for one client's MADs.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    /// Id of the client's own socket.
    id: u32,
    /// What the client has no room for yet.
    outbox: VecDeque<Datagram>,
    /// Whether the socket is waited for until there is room.
    awaits_room: bool,
    /// Whether the client turned out to be gone.
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
    /// Says who has the endpoint, or why it cannot be had.
    pub fn bind(endpoint: Endpoint) -> Result<Self, BindError> {
        let control = endpoint.control()?;
        let fail = |error| BindError::Io { endpoint: endpoint.clone(), error };
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(fail)?;
        epoll::add(&epoll, &control, EventData::new_u64(CONTROL), EventFlags::IN).map_err(fail)?;
        let (core, lines) = (Core::new(), BTreeMap::new());
        Ok(Self { core, epoll, control, lines, next_round: Duration::ZERO, endpoint })
    }

    /// Takes what clients have sent, and sends on what they had no room for.
    pub fn serve(&mut self, now: Duration, fabric: &mut impl Fabric) {
        let mut events = Vec::with_capacity(32);
        // Interrupted, it is called again: the descriptor stays readable.
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

    /// Hands a packet that came to the consumers at a port to the client that it is for, if there is one.
    pub fn deliver(&mut self, at: NodePort, packet: &[u8]) {
        if let Some((slot, datagram)) = self.core.deliver(at, packet) {
            self.send(slot, datagram);
        }
    }

    /// Gives clients back what nobody answered in time, and detaches those that are gone; says when to call it next.
    pub fn expire(&mut self, now: Duration, fabric: &mut impl Fabric) -> Option<Duration> {
        while let Some((slot, datagram)) = self.core.expire(now) {
            self.send(slot, datagram);
        }
        if now >= self.next_round {
            self.next_round = now.saturating_add(ROUND);
            self.detach_gone(fabric);
        }
        let round = (!self.lines.is_empty()).then_some(self.next_round);
        self.core.deadline().into_iter().chain(round).min()
    }

    /// Detaches clients that are gone.
    fn detach_gone(&mut self, fabric: &mut impl Fabric) {
        let is_gone = |line: &Line| line.is_gone || self.endpoint.is_gone(line.id);
        let gone: Vec<Slot> = self.lines.iter().filter(|(_, line)| is_gone(line)).map(|(&slot, _)| slot).collect();
        for slot in gone {
            log::info!("umad client {} is gone", slot.number());
            self.core.detach(slot, fabric);
            self.lines.remove(&slot);
        }
    }

    /// Detaches all clients at a port that is not the one any more that they attached to.
    pub fn expel(&mut self, at: NodePort, fabric: &mut impl Fabric) {
        for slot in self.core.at(at) {
            log::info!("umad client {} has lost its port", slot.number());
            self.core.detach(slot, fabric);
            self.lines.remove(&slot);
        }
    }

    /// Answers control messages.
    fn serve_control(&mut self, fabric: &mut impl Fabric) {
        for _ in 0..BATCH {
            let mut message = Control::new_zeroed();
            let (size, address) = match recvfrom(&self.control, message.as_mut_bytes(), WHOLE) {
                Ok((size, _, address)) => (size, address),
                Err(Errno::INTR | Errno::CONNREFUSED) => continue, // the latter is news of a client that died
                Err(_) => return,
            };
            let Some(address) = address.filter(|_| size == size_of::<Control>()) else { continue };
            if [ControlKind::CONNECT, ControlKind::SET_ISSM].contains(&message.kind) {
                // Who comes in place of one that died is not to be refused for its sake.
                self.detach_gone(fabric);
            }
            match self.core.control(&mut message, address.clone(), fabric) {
                Ok(Change::Nothing) => {}
                Ok(Change::Attached(slot, id)) => {
                    if let Err(error) = self.attach(slot, id) {
                        log::warn!("umad client {id} cannot be attached: {error}");
                        self.core.detach(slot, fabric);
                        message.kind = ControlKind::ERROR;
                    }
                }
                Ok(Change::Detached(slot)) => drop(self.lines.remove(&slot)),
                Err(refusal) => log::warn!("refused umad client {}: it {refusal}", message.client),
            }
            // A client that takes no answer has none.
            let _ = sendto(&self.control, message.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &address);
        }
    }

    /// Opens the socket for a client's MADs.
    fn attach(&mut self, slot: Slot, id: u32) -> Result<(), Errno> {
        let socket = self.endpoint.data(slot, id)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(slot.number().into()), EventFlags::IN)?;
        let line = Line { socket, id, outbox: VecDeque::new(), awaits_room: false, is_gone: false };
        self.lines.insert(slot, line);
        Ok(())
    }

    /// Takes MADs of a client, and sends it those that wait.
    fn serve_client(&mut self, now: Duration, slot: Slot, fabric: &mut impl Fabric) {
        for _ in 0..BATCH {
            let Some(line) = self.lines.get_mut(&slot) else { return };
            let mut datagram = Datagram::new_zeroed();
            match recv(&line.socket, datagram.as_mut_bytes(), WHOLE) {
                Ok((_, size)) if size == size_of::<Datagram>() => {
                    if let Some(back) = self.core.submit(now, slot, &datagram, fabric) {
                        self.send(slot, back);
                    }
                }
                Ok(_) => log::warn!("umad client {} sent a message of a wrong length", slot.number()),
                Err(Errno::INTR) => {}
                Err(Errno::CONNREFUSED) => line.is_gone = true,
                Err(_) => break,
            }
        }
        self.flush(slot);
    }

    /// Sends a MAD to a client, or keeps it until there is room.
    fn send(&mut self, slot: Slot, datagram: Datagram) {
        let Some(line) = self.lines.get_mut(&slot) else { return };
        if line.outbox.len() < OUTBOX {
            line.outbox.push_back(datagram);
            self.flush(slot);
        }
    }

    /// Sends a client as much as it has room for.
    fn flush(&mut self, slot: Slot) {
        let Some(line) = self.lines.get_mut(&slot) else { return };
        while let Some(datagram) = line.outbox.front() {
            match send(&line.socket, datagram.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => break,
                Err(Errno::CONNREFUSED) => {
                    line.is_gone = true;
                    line.outbox.clear();
                }
                _ => drop(line.outbox.pop_front()),
            }
        }
        let awaits_room = !line.outbox.is_empty();
        if awaits_room != line.awaits_room {
            let room = if awaits_room { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(slot.number().into());
            if epoll::modify(&self.epoll, &line.socket, data, EventFlags::IN | room).is_ok() {
                line.awaits_room = awaits_room;
            }
        }
    }
}
