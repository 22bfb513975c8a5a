//! The cable to a machine that runs Portico: its HCA is modelled by a process of its own, which may die and come back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use subnet::Time;

use crate::cable::{Abilities, BUFFER, Blocked, Cable, Capture, End, Hello, LinkChange, Listener, Received};
use crate::umad::NodePort;

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
    drops: Drops,
}

/// Packets that never came to the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// On VL15, which waits for nobody.
    pub vl15: u64,
    /// On data lanes, because no credit came in time, or there was no link.
    pub discards: u64,
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
            drops: Drops::default(),
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

    pub(super) const fn drops(&self) -> Drops {
        self.drops
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

    /// Lets in whoever knocks, unless the cable is pulled: then it may try again. A process that comes before its predecessor's end was noticed takes its place.
    pub(super) fn accept(&mut self) -> Option<LinkChange> {
        // Where the system has no more files to open, whoever knocks waits.
        let socket = self.listener.accept().ok().flatten()?;
        if self.pulled { None } else { self.cable.plug(socket) }
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
            Err(Blocked::Full) if vl15 => self.drops.vl15 += 1,
            Err(Blocked::Full) => self.waiting.push_back((now.after(HEAD_OF_QUEUE_LIFE), packet.into())),
            Err(Blocked::Down) => self.drops.discards += 1,
        }
    }

    /// Sends what can be sent, and discards what waited too long.
    pub(super) fn flush(&mut self, now: Time) {
        self.cable.flush();
        while let Some((deadline, packet)) = self.waiting.front() {
            match self.cable.transmit(packet) {
                Ok(()) => {}
                Err(Blocked::Full) if *deadline > now => break,
                Err(_) => self.drops.discards += 1,
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
