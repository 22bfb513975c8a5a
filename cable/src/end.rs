//! One end of a cable between two processes: link machine, credits and CRCs. It does no I/O: messages go in and come
//! out.
//!
//! Packets on data VLs need credit, so they are never dropped for lack of room. VL15 has no credits (IBA vol. 1, 7.9):
//! a receiver without room drops the packet and counts that.

use super::frame;
use super::link::{Abilities, Announcement, LinkChange, LinkMachine, LinkState};
use super::message::{Control, Hello, Message, MessageError};

/// Result of a message from the other end.
#[derive(Debug, PartialEq, Eq)]
pub enum CableEvent<'a> {
    /// The link came up or went down.
    Link(LinkChange),
    /// A packet with valid CRCs, from LRH through payload.
    Packet(&'a mut [u8]),
    /// The other end gave credit to send more.
    Credit,
    /// Nothing for the owner.
    Nothing,
}

/// Reason why a packet cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmitError {
    /// The link is down: drop the packet.
    Down,
    /// The other end gave no credit, or the cable is full. Let a data packet wait; drop one on VL15.
    Full,
}

/// Counters of an end since its creation; wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent.
    pub xmit_packets: u64,
    /// Bytes sent, CRCs included.
    pub xmit_bytes: u64,
    /// Packets received in good order.
    pub rcv_packets: u64,
    /// Bytes received, CRCs included.
    pub rcv_bytes: u64,
    /// Packets dropped because a CRC was wrong, they were malformed, or there was no credit for them.
    pub rcv_errors: u64,
    /// Number of times that the link went down.
    pub link_downed: u64,
}

/// One end of a cable.
#[derive(Debug)]
pub struct CableEnd {
    machine: LinkMachine,
    hello: Hello,
    peer: Option<Hello>,
    counters: Counters,
    /// `true` once the other end has the hello.
    is_hello_sent: bool,
    /// Last announcement that the other end has.
    announced: Option<Announcement>,
    /// Last credit limit that the other end has.
    announced_limit: u32,
    /// Data packets since the link came up, all free-running: sent, and how many may be; received, and how many may be.
    sent: u32,
    send_limit: u32,
    received: u32,
    receive_limit: u32,
}

impl CableEnd {
    /// Creates an end that polls, without a peer.
    #[must_use]
    pub fn new(hello: Hello, abilities: Abilities) -> Self {
        Self {
            machine: LinkMachine::new(abilities),
            hello,
            peer: None,
            counters: Counters::default(),
            is_hello_sent: false,
            announced: None,
            announced_limit: 0,
            sent: 0,
            send_limit: 0,
            received: 0,
            receive_limit: 0,
        }
    }

    /// Returns the state of the link.
    #[must_use]
    pub const fn state(&self) -> LinkState {
        self.machine.state()
    }

    /// Returns the identity of the other end, once its hello came.
    #[must_use]
    pub const fn peer(&self) -> Option<Hello> {
        self.peer
    }

    /// Returns the counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Holds the link down, see [`LinkMachine::disable`].
    pub fn disable(&mut self) -> Option<LinkChange> {
        let change = self.machine.disable();
        self.changed(change)
    }

    /// Looks for a peer, see [`LinkMachine::enable`].
    pub fn enable(&mut self) {
        self.machine.enable();
    }

    /// Trains the link again, see [`LinkMachine::retrain`].
    pub fn retrain(&mut self) -> Option<LinkChange> {
        let change = self.machine.retrain();
        self.changed(change)
    }

    /// Changes the end's abilities, see [`LinkMachine::set_abilities`].
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.machine.set_abilities(abilities);
    }

    /// Resets the end because the cable is unplugged: the next peer needs hello and announcement again.
    pub fn unplugged(&mut self) -> Option<LinkChange> {
        self.peer = None;
        self.is_hello_sent = false;
        self.announced = None;
        let change = self.machine.unplugged();
        self.changed(change)
    }

    /// Gives the other end credit for `room` data packets from now on. [`CableEnd::control`] announces it.
    pub fn grant(&mut self, room: u32) {
        self.receive_limit = self.received.wrapping_add(room);
    }

    /// Returns the number of data packets for which the other end has credit left.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.receive_limit.wrapping_sub(self.received)
    }

    /// Returns the next control message; it goes before any packet. The caller sends it, calls
    /// [`CableEnd::sent_control`] and repeats. A caller that cannot send it makes no call.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        if !self.is_hello_sent {
            Some(Control::hello(self.hello))
        } else if self.announced != Some(self.machine.announcement()) {
            Some(Control::link(self.machine.announcement()))
        } else if self.is_up() && self.announced_limit != self.receive_limit {
            Some(Control::credit(self.receive_limit))
        } else {
            None
        }
    }

    /// Marks the message of [`CableEnd::control`] as sent.
    pub fn sent_control(&mut self) {
        if !self.is_hello_sent {
            self.is_hello_sent = true;
        } else if self.announced != Some(self.machine.announcement()) {
            self.announced = Some(self.machine.announcement());
        } else {
            self.announced_limit = self.receive_limit;
        }
    }

    /// Checks that `packet` (LRH first) may be sent now.
    ///
    /// # Errors
    /// The reason why it may not.
    pub fn may_send(&self, packet: &[u8]) -> Result<(), TransmitError> {
        if !self.is_up() {
            return Err(TransmitError::Down);
        }
        let no_credit = self.sent == self.send_limit && !frame::is_vl15(packet);
        if no_credit || self.control().is_some() { Err(TransmitError::Full) } else { Ok(()) }
    }

    /// Counts `packet` (without CRCs) as sent.
    pub fn sent_packet(&mut self, packet: &[u8]) {
        self.counters.xmit_packets += 1;
        self.counters.xmit_bytes += (packet.len() + frame::CRCS) as u64;
        if !frame::is_vl15(packet) {
            self.sent = self.sent.wrapping_add(1);
        }
    }

    /// Takes a message from the other end.
    ///
    /// # Errors
    /// The datagram is no message of this version. Unplug the cable then.
    pub fn receive<'a>(&mut self, datagram: &'a mut [u8]) -> Result<CableEvent<'a>, MessageError> {
        Ok(match Message::decode(datagram)? {
            Message::Hello(hello) => {
                self.peer = Some(hello);
                CableEvent::Nothing
            }
            Message::Link(announcement) => {
                let change = self.machine.hear(announcement);
                self.changed(change).map_or(CableEvent::Nothing, CableEvent::Link)
            }
            Message::Credit(limit) => {
                self.send_limit = limit;
                CableEvent::Credit
            }
            Message::Packet(bytes) => self.receive_packet(bytes).map_or(CableEvent::Nothing, CableEvent::Packet),
        })
    }

    /// Checks a packet. Drops it while the link is down: the other end sent it before it knew.
    fn receive_packet<'a>(&mut self, bytes: &'a mut [u8]) -> Option<&'a mut [u8]> {
        if !self.is_up() {
            return None;
        }
        let length = bytes.len();
        let vl15 = frame::is_vl15(bytes);
        let overrun = !vl15 && self.received == self.receive_limit;
        if !vl15 && !overrun {
            self.received = self.received.wrapping_add(1);
        }
        let packet = if overrun { None } else { frame::check(bytes) };
        if packet.is_some() {
            self.counters.rcv_packets += 1;
            self.counters.rcv_bytes += length as u64;
        } else {
            self.counters.rcv_errors += 1;
        }
        packet
    }

    const fn is_up(&self) -> bool {
        matches!(self.state(), LinkState::Up(_))
    }

    /// Resets the credits at a change of the link: at both ends they count from the moment when the link comes up.
    fn changed(&mut self, change: Option<LinkChange>) -> Option<LinkChange> {
        if let Some(change) = change {
            (self.sent, self.send_limit, self.received, self.receive_limit, self.announced_limit) = (0, 0, 0, 0, 0);
            self.counters.link_downed += u64::from(change == LinkChange::Down);
        }
        change
    }
}
