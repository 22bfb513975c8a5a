//! Cables between processes: a [`CableEnd`] on a Unix socket that keeps message borders (`SOCK_SEQPACKET`).
//!
//! No call blocks. A cable without a socket is not plugged in; a closed socket is an unplugged cable.

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
use super::end::{CableEnd, CableEvent, TransmitError};
use super::frame;
use super::link::LinkChange;
use super::message::{MAX_MESSAGE, MessageError, PACKET};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Returns the path of the socket for the cable of port `port` of node `node`, in a run's folder.
#[must_use]
pub fn path(folder: &Path, node: &str, port: PortNum) -> PathBuf {
    folder.join(format!("cable-{node}-{port}"))
}

/// Socket in the file system at which the other end plugs its cable in. Dropping it removes the file.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. Removes a file that a former run left there.
    ///
    /// # Errors
    /// The socket cannot be created there, for example because the path is longer than 107 bytes.
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

    /// Returns the socket of the next end that plugged in; `None` if none did.
    ///
    /// # Errors
    /// The system refuses, for example because too many files are open.
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
/// No process listens there.
pub fn dial(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Returns the two sockets of a cable in one process, for [`Cable::plug`].
///
/// # Errors
/// The system refuses, for example because too many files are open.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?)
}

/// One end of a cable to another process.
#[derive(Debug)]
pub struct Cable {
    end: CableEnd,
    socket: Option<OwnedFd>,
    /// `true` if the socket was full at the last message; further ones wait until it is writable.
    full: bool,
    tap: Option<Arc<Mutex<Capture>>>,
}

/// Result of [`Cable::receive`].
#[derive(Debug, PartialEq, Eq)]
pub enum Reception<'a> {
    /// A message came, with this result.
    Event(CableEvent<'a>),
    /// No message is left.
    Empty,
    /// The other end is gone, or sent an invalid message. The cable is unplugged, so the link is down.
    Unplugged(Option<LinkChange>, Option<MessageError>),
}

impl Cable {
    /// Creates an end with nothing plugged in. Each packet that passes is also recorded in `tap`.
    #[must_use]
    pub const fn new(end: CableEnd, tap: Option<Arc<Mutex<Capture>>>) -> Self {
        Self { end, socket: None, full: false, tap }
    }

    /// Plugs in a connected socket, in place of an earlier one.
    pub fn plug(&mut self, socket: OwnedFd) -> Option<LinkChange> {
        let change = self.unplug();
        self.socket = Some(socket);
        self.flush();
        change
    }

    /// Unplugs the cable.
    pub fn unplug(&mut self) -> Option<LinkChange> {
        self.socket = None;
        self.full = false;
        self.end.unplugged()
    }

    /// Returns the socket, to wait for; `None` while nothing is plugged in.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Returns `true` if messages wait for room. Call [`Cable::flush`] once the socket is writable.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Returns the end.
    #[must_use]
    pub const fn end(&self) -> &CableEnd {
        &self.end
    }

    /// Changes the end, and sends the control messages that follow.
    pub fn with_end<T>(&mut self, change: impl FnOnce(&mut CableEnd) -> T) -> T {
        let result = change(&mut self.end);
        self.flush();
        result
    }

    /// Sends control messages, as far as the socket takes them. Call it when the socket is writable.
    pub fn flush(&mut self) {
        self.full = false;
        while let Some(control) = self.end.control() {
            if self.send(&[IoSlice::new(control.bytes())]).is_err() {
                return;
            }
            self.end.sent_control();
        }
    }

    /// Sends a packet, LRH through payload, and adds its CRCs.
    ///
    /// # Errors
    /// The packet cannot be sent now, and was not sent.
    pub fn transmit(&mut self, packet: &[u8]) -> Result<(), TransmitError> {
        self.end.may_send(packet)?;
        let crcs = frame::crcs(packet);
        self.send(&[IoSlice::new(&[PACKET]), IoSlice::new(packet), IoSlice::new(&crcs)])?;
        self.end.sent_packet(packet);
        record(self.tap.as_ref(), [packet, &crcs]);
        Ok(())
    }

    /// Receives the next message into `buffer`. Call it until it returns [`Reception::Empty`].
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8; BUFFER]) -> Reception<'a> {
        let Some(socket) = &self.socket else {
            return Reception::Empty;
        };
        let length = match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Reception::Empty,
            Err(_) => 0, // the other end died
        };
        if length == 0 {
            return Reception::Unplugged(self.unplug(), None);
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
                Reception::Event(event)
            }
            Err(error) => Reception::Unplugged(self.unplug(), Some(error)),
        }
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let socket = self.socket.as_ref().ok_or(TransmitError::Down)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {
                self.full = true;
                Err(TransmitError::Full)
            }
            Err(_) => Err(TransmitError::Down), // reading finds out that the other end is gone
        }
    }
}

/// Bytes of the buffer of [`Cable::receive`]: one more than any message, so that longer datagrams are noticed.
pub const BUFFER: usize = MAX_MESSAGE + 1;

/// Records a packet. An error of the capture does not stop the packet.
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
        Cable::new(CableEnd::new(hello(node), Abilities::default()), None)
    }

    fn plugged_pair() -> [Cable; 2] {
        let mut cables = [cable(1), cable(2)];
        let (a, b) = pair().unwrap();
        cables[0].plug(a);
        cables[1].plug(b);
        cables
    }

    /// Lets both ends read until neither has a message; returns the packets that arrived at each.
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
                        Reception::Event(event) => {
                            quiet = false;
                            if let CableEvent::Packet(packet) = event {
                                arrived.push(packet.to_vec());
                            }
                        }
                        Reception::Empty => break,
                        Reception::Unplugged(..) => panic!("unplugged"),
                    }
                }
            }
        }
        packets
    }

    /// Returns a packet on `vl`: LRH with LNH 2, BTH, `payload` bytes.
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
    fn plugged_cable_comes_up_and_each_end_knows_the_other() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        assert!(cables.iter().all(is_up));
        assert_eq!(cables[0].end().peer(), Some(hello(2)));
    }

    #[test]
    fn data_needs_credit_and_vl15_does_not() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        assert_eq!(cables[0].transmit(&packet(15, 264)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(TransmitError::Full));
        cables[1].with_end(|end| end.grant(2));
        assert_eq!(settle(&mut cables)[1], [packet(15, 264)]);
        assert_eq!(cables[0].transmit(&packet(0, 64)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(3, 4)), Ok(()));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(TransmitError::Full));
        assert_eq!(settle(&mut cables)[1], [packet(0, 64), packet(3, 4)]);
        assert_eq!(cables[1].end().counters().rcv_packets, 3);
    }

    #[test]
    fn retrain_takes_credits_back() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        cables[1].with_end(|end| end.grant(5));
        settle(&mut cables);
        assert_eq!(cables[0].with_end(CableEnd::retrain), Some(LinkChange::Down));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(TransmitError::Down));
        settle(&mut cables);
        assert!(cables.iter().all(is_up));
        assert_eq!(cables[0].transmit(&packet(0, 64)), Err(TransmitError::Full));
    }

    #[test]
    fn packet_with_a_wrong_crc_is_counted_and_dropped() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        let good = packet(15, 264);
        for bit in 0..8 * (good.len() + frame::CRCS) {
            let mut datagram = [&[PACKET], &good[..], &frame::crcs(&good)].concat();
            datagram[1 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cables[1].end.receive(&mut datagram), Ok(CableEvent::Nothing), "bit {bit}");
        }
        assert_eq!(cables[1].end().counters().rcv_errors, 8 * 290);
        assert_eq!(cables[1].end().counters().rcv_packets, 0);
    }

    #[test]
    fn full_cable_refuses_packets_until_it_has_room() {
        let mut cables = plugged_pair();
        settle(&mut cables);
        let mut sent = 0;
        while cables[0].transmit(&packet(15, 264)).is_ok() {
            sent += 1;
            assert!(sent < 1_000_000, "the socket never fills");
        }
        assert!(cables[0].is_full());
        cables[0].with_end(CableEnd::retrain);
        assert_eq!(settle(&mut cables)[1].len(), sent);
        assert!(cables.iter().all(is_up), "the announcement waited until there was room");
        assert_eq!(cables[1].end().counters().link_downed, 1);
    }

    #[test]
    fn link_with_another_peer_comes_up_after_the_first_died() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "portico-0", PortNum::new(1));
        let listener = Listener::bind(&path).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let mut cables = [cable(1), cable(2)];
        for _ in 0..2 {
            cables[0].plug(dial(&path).unwrap());
            let timeout = Timespec::try_from(Duration::from_secs(5)).unwrap();
            poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&timeout)).unwrap();
            cables[1].plug(listener.accept().unwrap().expect("a peer dialled"));
            settle(&mut cables);
            assert!(cables.iter().all(is_up));
            cables[0] = cable(1);
            assert_eq!(
                cables[1].receive(&mut [0; BUFFER]),
                Reception::Unplugged(Some(LinkChange::Down), None),
                "a dead peer unplugs the cable"
            );
        }
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn peer_of_another_version_is_unplugged() {
        let (a, b) = pair().unwrap();
        let mut end = cable(1);
        end.plug(a);
        rustix::net::send(&b, &[1, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 7], SendFlags::empty()).unwrap();
        let unplugged = Reception::Unplugged(None, Some(MessageError::Version(9)));
        assert_eq!(end.receive(&mut [0; BUFFER]), unplugged);
        assert!(end.socket().is_none());
    }
}
