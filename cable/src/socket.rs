//! Cables between processes: an [`End`] on a Unix socket that keeps message borders (`SOCK_SEQPACKET`).
//!
//! Nothing here blocks. A cable without a socket is one that is not plugged in; a closed socket is a pulled cable.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use iba::PortNum;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, connect, listen, recv, sendmsg, socket_with, socketpair,
};

use super::capture::Capture;
use super::end::{Blocked, End, Event};
use super::frame;
use super::link::LinkChange;
use super::message::{MAX_MESSAGE, MessageError, PACKET};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Where the cable of port `port` of node `node` is plugged in, in a run's folder.
#[must_use]
pub fn path(folder: &Path, node: &str, port: PortNum) -> PathBuf {
    folder.join(format!("cable-{node}-{port}"))
}

/// A socket in the file system at which the other end plugs its cable in. Removed when dropped.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`; what a former run left there is removed.
    ///
    /// # Errors
    /// If the socket cannot be made there, for one because the path is longer than 107 bytes.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        bind(&socket, &address)?;
        listen(&socket, 4)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The socket of whoever plugged in since; `None` if nobody did.
    ///
    /// # Errors
    /// If the system refuses, for one because too many files are open.
    pub fn accept(&self) -> io::Result<Option<OwnedFd>> {
        match accept_with(&self.socket, FLAGS) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // gone with its folder already, perhaps
    }
}

/// Plugs in at the [`Listener`] at `path`, for [`Cable::plug`].
///
/// # Errors
/// If nobody listens there.
pub fn dial(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The two ends of a cable in one process, for [`Cable::plug`].
///
/// # Errors
/// If the system refuses, for one because too many files are open.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?)
}

/// One end of a cable to another process.
#[derive(Debug)]
pub struct Cable {
    end: End,
    socket: Option<OwnedFd>,
    /// The socket was full: what is to be sent waits until it is writable.
    full: bool,
    tap: Option<Arc<Mutex<Capture>>>,
}

/// What [`Cable::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A message, and what came of it.
    Event(Event<'a>),
    /// Nothing more for now.
    Empty,
    /// The other end is gone, or speaks another language; the cable is unplugged, and so the link is down.
    Unplugged(Option<LinkChange>, Option<MessageError>),
}

impl Cable {
    /// An end with nothing plugged in. Every packet that passes is also written to `tap`.
    #[must_use]
    pub const fn new(end: End, tap: Option<Arc<Mutex<Capture>>>) -> Self {
        Self { end, socket: None, full: false, tap }
    }

    /// Plugs in a connected socket, in place of what was plugged in before.
    pub fn plug(&mut self, socket: OwnedFd) -> Option<LinkChange> {
        let change = self.unplug();
        self.socket = Some(socket);
        self.flush();
        change
    }

    /// Pulls the cable.
    pub fn unplug(&mut self) -> Option<LinkChange> {
        self.socket = None;
        self.full = false;
        self.end.unplugged()
    }

    /// The socket, to wait for; `None` while nothing is plugged in.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether to wait for the socket to become writable, and then to call [`Cable::flush`].
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// The end, to look at.
    #[must_use]
    pub const fn end(&self) -> &End {
        &self.end
    }

    /// Changes the end, and tells the other end what it has to know.
    pub fn with_end<T>(&mut self, change: impl FnOnce(&mut End) -> T) -> T {
        let result = change(&mut self.end);
        self.flush();
        result
    }

    /// Tells the other end what it has to know, as far as the socket takes it. Call it when the socket is writable.
    pub fn flush(&mut self) {
        self.full = false;
        while let Some(control) = self.end.control() {
            if self.send(&[IoSlice::new(control.bytes())]).is_err() {
                return;
            }
            self.end.sent_control();
        }
    }

    /// Sends a packet, LRH through payload; its CRCs are made here.
    ///
    /// # Errors
    /// If it cannot be sent now; it was not sent then.
    pub fn transmit(&mut self, packet: &[u8]) -> Result<(), Blocked> {
        self.end.may_send(packet)?;
        let crcs = frame::crcs(packet);
        self.send(&[IoSlice::new(&[PACKET]), IoSlice::new(packet), IoSlice::new(&crcs)])?;
        self.end.sent_packet(packet);
        record(self.tap.as_ref(), [packet, &crcs]);
        Ok(())
    }

    /// The next message; `buffer` has to be [`BUFFER`] bytes long. To be called until it is empty: a call that fills the
    /// buffer anew forgets what the one before it found.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8; BUFFER]) -> Received<'a> {
        let Some(socket) = &self.socket else {
            return Received::Empty;
        };
        let length = match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Received::Empty,
            Err(_) => 0, // the other end died
        };
        if length == 0 {
            return Received::Unplugged(self.unplug(), None);
        }
        if buffer[0] == PACKET {
            record(self.tap.as_ref(), [&buffer[1..length], &[]]);
        }
        match self.end.receive(&mut buffer[..length]) {
            Ok(event) => {
                // An announcement is answered before the owner can send a packet on the strength of it.
                if self.end.control().is_some() && !self.full {
                    Self::flush(self);
                }
                Received::Event(event)
            }
            Err(error) => Received::Unplugged(self.unplug(), Some(error)),
        }
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> Result<(), Blocked> {
        let socket = self.socket.as_ref().ok_or(Blocked::Down)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {
                self.full = true;
                Err(Blocked::Full)
            }
            Err(_) => Err(Blocked::Down), // that the other end is gone is found out by reading
        }
    }
}

/// Length of the buffer that [`Cable::receive`] needs: a byte more than any message, to tell the longer ones.
pub const BUFFER: usize = MAX_MESSAGE + 1;

/// A capture that cannot be written is given up; the packet goes its way.
fn record(tap: Option<&Arc<Mutex<Capture>>>, parts: [&[u8]; 2]) {
    if let Some(tap) = tap {
        let mut capture = tap.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = capture.record(SystemTime::now(), parts);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iba::Guid;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::super::link::{Abilities, LinkState};
    use super::super::message::Hello;
    use super::*;

    fn hello(node: u64) -> Hello {
        Hello { node: Guid::new(node), port: PortNum::new(1) }
    }

    fn cable(node: u64) -> Cable {
        Cable::new(End::new(hello(node), Abilities::default()), None)
    }

    fn plugged_pair() -> [Cable; 2] {
        let mut cables = [cable(1), cable(2)];
        let (a, b) = pair().unwrap();
        cables[0].plug(a);
        cables[1].plug(b);
        cables
    }

    /// Lets both ends read until neither has anything; gives the packets that arrived at each.
    fn settle(cables: &mut [Cable; 2]) -> [Vec<Vec<u8>>; 2] {
        let mut packets = [const { Vec::new() }; 2];
        let mut buffer = [0; BUFFER];
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (cable, arrived) in cables.iter_mut().zip(&mut packets) {
                cable.flush();
                loop {
                    match cable.receive(&mut buffer) {
                        Received::Event(event) => {
                            quiet = false;
                            if let Event::Packet(packet) = event {
                                arrived.push(packet.to_vec());
                            }
                        }
                        Received::Empty => break,
                        Received::Unplugged(..) => panic!("unplugged"),
                    }
                }
            }
        }
        packets
    }

    /// A raw-looking packet on `vl`: LRH with LNH 2, BTH, `payload` bytes.
    fn packet(vl: u8, payload: usize) -> Vec<u8> {
        let length = 8 + 12 + payload;
        let words = u8::try_from((length + 4) / 4).unwrap();
        let mut packet = vec![0x5a; length];
        packet[..8].copy_from_slice(&[vl << 4, 2, 0, 1, 0, words, 0, 2]);
        packet
    }

    fn is_up(cable: &Cable) -> bool {
        matches!(cable.end().state(), LinkState::Up(_))
    }

    #[test]
    fn a_plugged_cable_comes_up_and_each_end_knows_the_other() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        assert!(cables.iter().all(is_up));
        assert_eq!(cables[0].end().peer(), Some(hello(2)));
    }

    #[test]
    fn vl15_needs_no_credit_and_data_does() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        assert_eq!(cables[0].transmit(&packet(15, 264)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(Blocked::Full));
        cables[1].with_end(|end| end.grant(2));
        assert_eq!(settle(&mut cables)[1], [packet(15, 264)]);
        assert_eq!(cables[0].transmit(&packet(0, 64)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(3, 4)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(Blocked::Full));
        assert_eq!(settle(&mut cables)[1], [packet(0, 64), packet(3, 4)]);
        assert_eq!(cables[1].end().counters().rcv_packets, 3);
    }

    #[test]
    fn a_retrain_takes_credits_back() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        cables[1].with_end(|end| end.grant(5));
        settle(&mut cables);
        assert_eq!(cables[0].with_end(End::retrain), Some(LinkChange::Down));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(Blocked::Down));
        settle(&mut cables);
        assert!(cables.iter().all(is_up));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(Blocked::Full));
    }

    #[test]
    fn a_wrong_crc_is_counted_and_dropped() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        let good = packet(15, 264);
        for bit in 0..8 * (good.len() + frame::CRCS) {
            let mut datagram = [&[PACKET], &good[..], &frame::crcs(&good)].concat();
            datagram[1 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cables[1].end.receive(&mut datagram), Ok(Event::Nothing), "bit {bit}");
        }
        assert_eq!(cables[1].end().counters().rcv_errors, 8 * 290);
        assert_eq!(cables[1].end().counters().rcv_packets, 0);
    }

    #[test]
    fn a_full_cable_blocks_and_goes_on() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        let mut sent = 0;
        while cables[0].transmit(&packet(15, 264)).is_ok() {
            sent += 1;
            assert!(sent < 1_000_000, "the socket never fills");
        }
        assert!(cables[0].is_full());
        cables[0].with_end(End::retrain);
        assert_eq!(settle(&mut cables)[1].len(), sent);
        assert!(cables.iter().all(is_up), "the announcement waited until there was room");
        assert_eq!(cables[1].end().counters().link_downed, 1);
    }

    #[test]
    fn the_other_end_dies_and_another_plugs_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "portico-0", PortNum::new(1));
        let listener = Listener::bind(&path).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let mut cables = [cable(1), cable(2)];
        for _ in 0..2 {
            cables[0].plug(dial(&path).unwrap());
            let timeout = Timespec::try_from(Duration::from_secs(5)).unwrap();
            poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&timeout)).unwrap();
            cables[1].plug(listener.accept().unwrap().expect("somebody dialled"));
            settle(&mut cables);
            assert!(cables.iter().all(is_up));
            cables[0] = cable(1);
            assert_eq!(
                cables[1].receive(&mut [0; BUFFER]),
                Received::Unplugged(Some(LinkChange::Down), None),
                "a dead peer is a pulled cable"
            );
        }
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn another_version_is_not_talked_to() {
        let (a, b) = pair().unwrap();
        let mut end = cable(1);
        end.plug(a);
        rustix::net::send(&b, &[1, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 7], SendFlags::empty()).unwrap();
        let unplugged = Received::Unplugged(None, Some(MessageError::Version(9)));
        assert_eq!(end.receive(&mut [0; BUFFER]), unplugged);
        assert!(end.socket().is_none());
    }
}
