//! The cable to a machine that runs Portico: its HCA is modelled by a process of its own, which may die and come back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use subnet::{PortError, Time};

use cable::{Abilities, BUFFER, Blocked, Cable, Capture, End, Hello, LinkChange, Listener, Received};
use umad_server::NodePort;

/// Data packets that the other end may have sent and that are not yet taken in.
const WINDOW: u32 = 64;
/// How long a data packet waits for credit before it is discarded, as a switch's HOQLife has it (IBA vol. 1, 18.2.5.4):
/// without it, one dead machine would at length hold up the whole fabric.
const HEAD_OF_QUEUE_LIFE: Duration = Duration::from_secs(1);

/// One such cable, and what waits for it.
#[derive(Debug)]
pub(super) struct Uplink {
    /// The fabric's own port at the cable.
    at: NodePort,
    listener: Listener,
    cable: Cable,
    /// Data packets without credit, and when each is discarded.
    waiting: VecDeque<(Time, Box<[u8]>)>,
    /// An operator pulled the cable.
    pulled: bool,
    /// Packets discarded, and packets received with errors, that the port has not counted yet.
    discards: u32,
    rcv_errors: u64,
}

impl Uplink {
    /// Listens at `path` for the process that has the other end.
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
            cable: Cable::new(End::new(hello, abilities), tap),
            waiting: VecDeque::new(),
            pulled: false,
            discards: 0,
            rcv_errors: 0,
        })
    }

    /// The fabric's port at this end.
    pub(super) const fn at(&self) -> NodePort {
        self.at
    }

    /// What can be said of the cable.
    pub(super) const fn end(&self) -> &End {
        self.cable.end()
    }

    /// What went wrong since the last call, for the port to count.
    pub(super) fn take_errors(&mut self) -> [(PortError, u32); 2] {
        let all = self.end().counters().rcv_errors;
        let new = all - std::mem::replace(&mut self.rcv_errors, all);
        let discards = std::mem::take(&mut self.discards);
        [(PortError::XmitDiscard, discards), (PortError::Rcv, u32::try_from(new).unwrap_or(u32::MAX))]
    }

    /// Packets that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Where the other end knocks.
    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The socket to wait for, and whether also until it is writable.
    pub(super) fn socket(&self) -> Option<(BorrowedFd<'_>, bool)> {
        Some((self.cable.socket()?, self.cable.is_full()))
    }

    /// The socket of whoever knocked, for [`Uplink::plug`]. Nobody is let in while the cable is pulled.
    pub(super) fn accept(&self) -> Option<OwnedFd> {
        // Where the system has no more files to open, whoever knocks waits.
        self.listener.accept().ok().flatten().filter(|_| !self.pulled)
    }

    /// Plugs the cable in. A process that comes before its predecessor's end was noticed takes its place.
    pub(super) fn plug(&mut self, socket: OwnedFd) -> Option<LinkChange> {
        self.cable.plug(socket)
    }

    /// Pulls the cable, or lets it be plugged in again.
    pub(super) fn pull(&mut self, pulled: bool) -> Option<LinkChange> {
        self.pulled = pulled;
        if pulled { self.cable.unplug() } else { None }
    }

    /// Changes this end of the cable.
    pub(super) fn with_end<T>(&mut self, change: impl FnOnce(&mut End) -> T) -> T {
        self.cable.with_end(change)
    }

    /// The next message from the other end.
    pub(super) fn receive<'a>(&mut self, buffer: &'a mut [u8; BUFFER]) -> Received<'a> {
        self.cable.receive(buffer)
    }

    /// Sends a packet, or keeps it until there is credit.
    pub(super) fn transmit(&mut self, now: Time, packet: &[u8]) {
        let vl15 = is_vl15(packet);
        // Data packets keep their order.
        let outcome = if self.waiting.is_empty() || vl15 { self.cable.transmit(packet) } else { Err(Blocked::Full) };
        match outcome {
            Ok(()) => {}
            Err(Blocked::Full) if !vl15 => self.waiting.push_back((now.after(HEAD_OF_QUEUE_LIFE), packet.into())),
            Err(_) => self.discards += 1,
        }
    }

    /// Sends what can be sent, and discards what waited too long.
    pub(super) fn flush(&mut self, now: Time) {
        self.cable.flush();
        while let Some((deadline, packet)) = self.waiting.front() {
            match self.cable.transmit(packet) {
                Ok(()) => {}
                Err(Blocked::Full) if *deadline > now => break,
                Err(_) => self.discards += 1,
            }
            self.waiting.pop_front();
        }
    }

    /// Lets the other end send more, once it may have used half of its window.
    pub(super) fn grant(&mut self) {
        if self.cable.end().room() <= WINDOW / 2 {
            self.cable.with_end(|end| end.grant(WINDOW));
        }
    }

    /// When the first packet that waits is to be discarded.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.front().map(|(deadline, _)| *deadline)
    }
}

fn is_vl15(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 15)
}

#[cfg(test)]
mod tests {
    use iba::{Guid, PortNum};

    use super::*;
    use cable::{self, Event, LinkState};

    const SECOND: u64 = 1_000_000_000;

    fn hello(node: u64) -> Hello {
        Hello { node: Guid::new(node), port: PortNum::new(1) }
    }

    /// An uplink, and the other end of its cable.
    fn plugged() -> (Uplink, Cable) {
        let folder = tempfile::tempdir().unwrap();
        let path = cable::path(folder.path(), "portico-0", PortNum::new(1));
        let at = NodePort { node: 0, port: PortNum::new(1) };
        let mut uplink = Uplink::new(at, hello(1), Abilities::default(), &path, None).unwrap();
        let mut other = Cable::new(End::new(hello(2), Abilities::default()), None);
        other.plug(cable::dial(&path).unwrap());
        assert_eq!(uplink.plug(uplink.accept().expect("somebody dialled")), None);
        settle(&mut uplink, &mut other);
        assert!(matches!(uplink.end().state(), LinkState::Up(_)));
        (uplink, other)
    }

    /// Lets both ends read until neither has anything; gives the packets that came to the other end.
    fn settle(uplink: &mut Uplink, other: &mut Cable) -> Vec<Vec<u8>> {
        let (mut buffer, mut packets) = ([0; BUFFER], Vec::new());
        loop {
            let at_uplink = uplink.receive(&mut buffer) != Received::Empty;
            match other.receive(&mut buffer) {
                Received::Event(Event::Packet(packet)) => packets.push(packet.to_vec()),
                Received::Empty if !at_uplink => return packets,
                _ => {}
            }
        }
    }

    /// A packet on `vl` with LRH, BTH and a payload of four times `mark`.
    fn packet(vl: u8, mark: u8) -> Vec<u8> {
        [&[vl << 4, 2, 0, 1, 0, 7, 0, 2][..], &[0; 12], &[mark; 4]].concat()
    }

    #[test]
    fn data_waits_for_credit_in_order_and_management_does_not() {
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
    fn data_that_waits_too_long_is_discarded() {
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
    fn what_waits_goes_with_the_link() {
        let (mut uplink, other) = plugged();
        uplink.transmit(Time(0), &packet(0, 1));
        drop(other);
        while uplink.receive(&mut [0; BUFFER]) != Received::Unplugged(Some(LinkChange::Down), None) {}
        uplink.flush(Time(1));
        assert_eq!((uplink.waiting(), uplink.take_errors()[0].1), (0, 1));
    }

    #[test]
    fn the_window_is_opened_again_when_half_of_it_is_used() {
        let (mut uplink, mut other) = plugged();
        uplink.grant();
        settle(&mut uplink, &mut other);
        for sent in 0..2 * WINDOW {
            assert_eq!(other.transmit(&packet(0, 0)), Ok(()), "packet {sent}");
            assert!(matches!(uplink.receive(&mut [0; BUFFER]), Received::Event(Event::Packet(_))));
            uplink.grant();
            settle(&mut uplink, &mut other);
        }
        assert_eq!(uplink.take_errors()[1], (PortError::Rcv, 0));
    }
}
