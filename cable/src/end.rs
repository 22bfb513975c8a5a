//! One end of a cable between two processes: link machine, credits and CRCs. Pure: messages go in and come out.
//!
//! Packets on data VLs are sent on credit only, so they are never dropped for lack of room. VL15 has no credits (IBA
//! vol. 1, 7.9): whoever has no room drops the packet and counts that.

use super::frame;
use super::link::{Abilities, Announcement, LinkChange, LinkMachine, LinkState};
use super::message::{Control, Hello, Message, MessageError};

/// What came of a message from the other end.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The link came up or went down.
    Link(LinkChange),
    /// A packet from LRH through payload, whose CRCs were right.
    Packet(&'a mut [u8]),
    /// There is credit to send more.
    Credit,
    /// Nothing for the owner.
    Nothing,
}

/// Why a packet cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// There is no link: the packet is to be dropped.
    Down,
    /// The other end gave no credit for it, or the cable is full. A data packet is to wait; one on VL15 to be dropped.
    Full,
}

/// What an end counted since it was made; free-running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent.
    pub xmit_packets: u64,
    /// Bytes of them, CRCs included.
    pub xmit_bytes: u64,
    /// Packets received in good order.
    pub rcv_packets: u64,
    /// Bytes of them, CRCs included.
    pub rcv_bytes: u64,
    /// Packets dropped because a CRC was wrong, they were malformed, or there was no credit for them.
    pub rcv_errors: u64,
    /// Times that the link went down.
    pub link_downed: u64,
}

/// One end of a cable.
#[derive(Debug)]
pub struct End {
    machine: LinkMachine,
    hello: Hello,
    peer: Option<Hello>,
    counters: Counters,
    /// What the other end was told, as far as it has to know: hello, announcement, credit limit.
    said_hello: bool,
    told: Option<Announcement>,
    told_limit: u32,
    /// Data packets since the link came up, all free-running: sent, and how many may be; received, and how many may be.
    sent: u32,
    send_limit: u32,
    received: u32,
    receive_limit: u32,
}

impl End {
    /// An end that polls, without a peer.
    #[must_use]
    pub fn new(hello: Hello, abilities: Abilities) -> Self {
        Self {
            machine: LinkMachine::new(abilities),
            hello,
            peer: None,
            counters: Counters::default(),
            said_hello: false,
            told: None,
            told_limit: 0,
            sent: 0,
            send_limit: 0,
            received: 0,
            receive_limit: 0,
        }
    }

    /// The state of the link.
    #[must_use]
    pub const fn state(&self) -> LinkState {
        self.machine.state()
    }

    /// Who is at the other end, as soon as it said so.
    #[must_use]
    pub const fn peer(&self) -> Option<Hello> {
        self.peer
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The link machine's [`LinkMachine::disable`].
    pub fn disable(&mut self) -> Option<LinkChange> {
        let change = self.machine.disable();
        self.changed(change)
    }

    /// The link machine's [`LinkMachine::enable`].
    pub fn enable(&mut self) {
        self.machine.enable();
    }

    /// The link machine's [`LinkMachine::retrain`].
    pub fn retrain(&mut self) -> Option<LinkChange> {
        let change = self.machine.retrain();
        self.changed(change)
    }

    /// The link machine's [`LinkMachine::set_abilities`].
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.machine.set_abilities(abilities);
    }

    /// The cable was pulled: whatever is connected next has to be told everything anew.
    pub fn unplugged(&mut self) -> Option<LinkChange> {
        self.peer = None;
        self.said_hello = false;
        self.told = None;
        let change = self.machine.unplugged();
        self.changed(change)
    }

    /// There is room for `room` more data packets than were received so far. Told to the other end.
    pub fn grant(&mut self, room: u32) {
        self.receive_limit = self.received.wrapping_add(room);
    }

    /// How many data packets the other end may still send on what was granted.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.receive_limit.wrapping_sub(self.received)
    }

    /// The next thing that the other end has to be told, before any packet. The caller sends it and then asks again,
    /// or says [`End::sent_control`] only once it could send it.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        if !self.said_hello {
            Some(Control::hello(self.hello))
        } else if self.told != Some(self.machine.announcement()) {
            Some(Control::link(self.machine.announcement()))
        } else if self.is_up() && self.told_limit != self.receive_limit {
            Some(Control::credit(self.receive_limit))
        } else {
            None
        }
    }

    /// What [`End::control`] gave was sent.
    pub fn sent_control(&mut self) {
        if !self.said_hello {
            self.said_hello = true;
        } else if self.told != Some(self.machine.announcement()) {
            self.told = Some(self.machine.announcement());
        } else {
            self.told_limit = self.receive_limit;
        }
    }

    /// Whether `packet` (LRH first) may be sent now.
    ///
    /// # Errors
    /// If it must not.
    pub fn may_send(&self, packet: &[u8]) -> Result<(), Blocked> {
        if !self.is_up() {
            return Err(Blocked::Down);
        }
        let no_credit = self.sent == self.send_limit && !frame::is_vl15(packet);
        if no_credit || self.control().is_some() { Err(Blocked::Full) } else { Ok(()) }
    }

    /// `packet` (without CRCs) was sent.
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
    /// If it is none of this version: the cable is then useless, and to be treated as pulled.
    pub fn receive<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Event<'a>, MessageError> {
        Ok(match Message::decode(datagram)? {
            Message::Hello(hello) => {
                self.peer = Some(hello);
                Event::Nothing
            }
            Message::Link(announcement) => {
                let change = self.machine.hear(announcement);
                self.changed(change).map_or(Event::Nothing, Event::Link)
            }
            Message::Credit(limit) => {
                self.send_limit = limit;
                Event::Credit
            }
            Message::Packet(bytes) => self.receive_packet(bytes).map_or(Event::Nothing, Event::Packet),
        })
    }

    /// Drops what comes while the link is down: it was sent before the other end knew.
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

    /// Credits count from the moment a link is up, at both ends.
    fn changed(&mut self, change: Option<LinkChange>) -> Option<LinkChange> {
        if let Some(change) = change {
            (self.sent, self.send_limit, self.received, self.receive_limit, self.told_limit) = (0, 0, 0, 0, 0);
            self.counters.link_downed += u64::from(change == LinkChange::Down);
        }
        change
    }
}
