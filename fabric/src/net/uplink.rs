//! A cable to another process, which models the HCA at its other end and may die and come back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use subnet::{PortError, Time};

use cable::{Abilities, BUFFER, Cable, CableEnd, Capture, Hello, LinkChange, Listener, Reception, TransmitError};
use umad_server::NodePort;

/// A cable to another process, and the packets that wait for it.
#[derive(Debug)]
pub(crate) struct Uplink {
    /// The fabric's port at this end.
    at: NodePort,
    listener: Listener,
    cable: Cable,
    /// Data packets without credit, and when each is discarded.
    waiting: VecDeque<(Time, Box<[u8]>)>,
    /// `true` while an order keeps the cable pulled.
    is_unplugged: bool,
    /// Packets discarded since the last [`Self::take_errors`].
    discards: u32,
    /// Packets received with errors up to the last [`Self::take_errors`].
    rcv_errors: u64,
}

impl Uplink {
    /// Creates the cable and listens at `path` for the process at the other end.
    pub(super) fn new(
        at: NodePort,
        hello: Hello,
        abilities: Abilities,
        path: &Path,
        tap: Option<Arc<Mutex<Capture>>>,
    ) -> io::Result<Self> {
        Ok(Self {
            at,
            listener: Listener::bind(path)?,
            cable: Cable::new(CableEnd::new(hello, abilities), tap),
            waiting: VecDeque::new(),
            is_unplugged: false,
            discards: 0,
            rcv_errors: 0,
        })
    }

    /// Returns the fabric's port at this end.
    pub(crate) const fn at(&self) -> NodePort {
        self.at
    }

    /// Returns the state of this end.
    pub(super) const fn end(&self) -> &CableEnd {
        self.cable.end()
    }

    /// Returns the errors since the last call, for the port to count.
    pub(super) fn take_errors(&mut self) -> [(PortError, u32); 2] {
        let all = self.end().counters().rcv_errors;
        let new = all - std::mem::replace(&mut self.rcv_errors, all);
        let discards = std::mem::take(&mut self.discards);
        [(PortError::XmitDiscard, discards), (PortError::Rcv, u32::try_from(new).unwrap_or(u32::MAX))]
    }

    /// Returns the number of packets that wait for credit.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the socket at which the other process connects.
    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Returns the socket of the cable; `None` while no process is connected.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.cable.socket()
    }

    /// Returns `true` if the socket took no more, so that the caller must wait until it is writable.
    pub(crate) fn is_full(&self) -> bool {
        self.cable.is_full()
    }

    /// Returns the socket of a process that connected, for [`Uplink::connect`]. While the cable is pulled, it closes
    /// the connection.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        // Without free file descriptors the process waits for its next try.
        self.listener.accept().ok().flatten().filter(|_| !self.is_unplugged)
    }

    /// Connects the process behind `socket`, in place of one that is still connected.
    pub(crate) fn connect(&mut self, socket: OwnedFd) -> Option<LinkChange> {
        self.cable.plug(socket)
    }

    /// Pulls the cable until [`Self::plug`].
    pub(super) fn unplug(&mut self) -> Option<LinkChange> {
        self.is_unplugged = true;
        self.cable.unplug()
    }

    /// Lets a process connect again.
    pub(super) fn plug(&mut self) -> Option<LinkChange> {
        self.is_unplugged = false;
        None
    }

    /// Changes this end of the cable.
    pub(super) fn with_end<T>(&mut self, change: impl FnOnce(&mut CableEnd) -> T) -> T {
        self.cable.with_end(change)
    }

    /// Receives the next message from the other end.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut [u8; BUFFER]) -> Reception<'a> {
        self.cable.receive(buffer)
    }

    /// Sends a packet, or queues it until there is credit.
    pub(super) fn transmit(&mut self, now: Time, packet: &[u8]) {
        let vl15 = is_vl15(packet);
        // Data packets keep their order.
        let outcome =
            if self.waiting.is_empty() || vl15 { self.cable.transmit(packet) } else { Err(TransmitError::Full) };
        match outcome {
            Ok(()) => {}
            Err(TransmitError::Full) if !vl15 => self.waiting.push_back((now.after(HEAD_OF_QUEUE_LIFE), packet.into())),
            Err(_) => self.discards += 1,
        }
    }

    /// Sends queued packets, and discards those that waited too long.
    pub(crate) fn flush(&mut self, now: Time) {
        self.cable.flush();
        while let Some((deadline, packet)) = self.waiting.front() {
            match self.cable.transmit(packet) {
                Ok(()) => {}
                Err(TransmitError::Full) if *deadline > now => break,
                Err(_) => self.discards += 1,
            }
            self.waiting.pop_front();
        }
    }

    /// Grants credits once the other end may have used half of its window.
    pub(crate) fn grant(&mut self) {
        if self.cable.end().room() <= WINDOW / 2 {
            self.cable.with_end(|end| end.grant(WINDOW));
        }
    }

    /// Returns the time at which the first queued packet expires.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.front().map(|(deadline, _)| *deadline)
    }
}

fn is_vl15(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 15)
}

/// Credits of the other end: data packets that it may have sent and the fabric has not received.
const WINDOW: u32 = 64;

/// Time that a data packet waits for credit before it is discarded, as a switch's HOQLife (IBA vol. 1, 18.2.5.4): one
/// dead machine must not stall the whole fabric.
const HEAD_OF_QUEUE_LIFE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use iba::{Guid, PortNum};

    use super::*;
    use cable::{self, CableEvent, LinkState};

    const SECOND: u64 = 1_000_000_000;

    fn hello(node: u64) -> Hello {
        Hello { node: Guid::new(node), port: PortNum::new(1) }
    }

    /// Creates an uplink, and the other end of its cable.
    fn plugged() -> (Uplink, Cable) {
        let folder = tempfile::tempdir().unwrap();
        let path = cable::path(folder.path(), "portico-0", PortNum::new(1));
        let at = NodePort { node: 0, port: PortNum::new(1) };
        let mut uplink = Uplink::new(at, hello(1), Abilities::default(), &path, None).unwrap();
        let mut other = Cable::new(CableEnd::new(hello(2), Abilities::default()), None);
        other.plug(cable::dial(&path).unwrap());
        assert_eq!(uplink.connect(uplink.accept().expect("a connection")), None);
        settle(&mut uplink, &mut other);
        assert!(matches!(uplink.end().state(), LinkState::Up(_)));
        (uplink, other)
    }

    /// Lets both ends receive until neither has a message; returns the packets that reached the other end.
    fn settle(uplink: &mut Uplink, other: &mut Cable) -> Vec<Vec<u8>> {
        let (mut buffer, mut packets) = ([0; BUFFER], Vec::new());
        loop {
            let at_uplink = uplink.receive(&mut buffer) != Reception::Empty;
            match other.receive(&mut buffer) {
                Reception::Event(CableEvent::Packet(packet)) => packets.push(packet.to_vec()),
                Reception::Empty if !at_uplink => return packets,
                _ => {}
            }
        }
    }

    /// Returns a packet on `vl` with LRH, BTH and a payload of four times `mark`.
    fn packet(vl: u8, mark: u8) -> Vec<u8> {
        [&[vl << 4, 2, 0, 1, 0, 7, 0, 2][..], &[0; 12], &[mark; 4]].concat()
    }

    #[test]
    fn data_without_credit_waits_in_order() {
        let (mut uplink, mut other) = plugged();
        for (vl, mark) in [(0, 1), (1, 2), (15, 3), (0, 4)] {
            uplink.transmit(Time(0), &packet(vl, mark));
        }
        assert_eq!(settle(&mut uplink, &mut other), [packet(15, 3)]);
        other.with_end(|end| end.grant(2));
        settle(&mut uplink, &mut other);
        uplink.flush(Time(1));
        assert_eq!(settle(&mut uplink, &mut other), [packet(0, 1), packet(1, 2)]);
        assert_eq!((uplink.waiting(), uplink.take_errors()[0]), (1, (PortError::XmitDiscard, 0)));
    }

    #[test]
    fn data_beyond_its_lifetime_is_discarded() {
        let (mut uplink, mut other) = plugged();
        uplink.transmit(Time(0), &packet(0, 1));
        uplink.transmit(Time(5), &packet(0, 2));
        assert_eq!(uplink.deadline(), Some(Time(SECOND)));
        uplink.flush(Time(SECOND));
        assert_eq!(uplink.deadline(), Some(Time(SECOND + 5)));
        assert_eq!(uplink.take_errors()[0], (PortError::XmitDiscard, 1));
        other.with_end(|end| end.grant(9));
        settle(&mut uplink, &mut other);
        uplink.flush(Time(SECOND + 1));
        assert_eq!(settle(&mut uplink, &mut other), [packet(0, 2)]);
    }

    #[test]
    fn queued_data_after_link_down_is_discarded() {
        let (mut uplink, other) = plugged();
        uplink.transmit(Time(0), &packet(0, 1));
        drop(other);
        while uplink.receive(&mut [0; BUFFER]) != Reception::Unplugged(Some(LinkChange::Down), None) {}
        uplink.flush(Time(1));
        assert_eq!((uplink.waiting(), uplink.take_errors()[0].1), (0, 1));
    }

    #[test]
    fn window_is_granted_again_after_half_of_it_is_used() {
        let (mut uplink, mut other) = plugged();
        uplink.grant();
        settle(&mut uplink, &mut other);
        for sent in 0..2 * WINDOW {
            assert_eq!(other.transmit(&packet(0, 0)), Ok(()), "packet {sent}");
            assert!(matches!(uplink.receive(&mut [0; BUFFER]), Reception::Event(CableEvent::Packet(_))));
            uplink.grant();
            settle(&mut uplink, &mut other);
        }
        assert_eq!(uplink.take_errors()[1], (PortError::Rcv, 0));
    }
}
