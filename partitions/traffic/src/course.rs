//! Schedule of the exchange.

use heapless::Vec;
use iba::Lid;
use lhca_contract::SendEntry;

use crate::{Key, Tag};

/// The most that one can exchange datagrams with.
pub const MAX_PEERS: usize = 64;

/// The longest payload.
const MAX_PAYLOAD: usize = 4096;

const MILLISECOND: u64 = 1_000_000;
/// Interval of calls.
const CALL_EVERY: u64 = 200 * MILLISECOND;
/// Time after which a datagram that has not returned is lost: none waits so long on its way, and none may be dropped.
const LOST_AFTER: u64 = 20_000 * MILLISECOND;

/// Plan of the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Our LID.
    pub own: Lid,
    /// The group's.
    pub group: Lid,
    /// Number of ports that return datagrams.
    pub peers: usize,
    /// Number of them that send themselves, and report their end.
    pub senders: usize,
    /// From one size to the next, in bytes; not 0.
    pub step: usize,
}

/// Next act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Send(Message),
    /// Compare what the port counted with what passed: at the beginning, and at the end.
    Measure,
    /// Nothing until something arrives, or this time, in nanoseconds.
    Wait(u64),
    /// All is done.
    Done,
    /// A datagram did not return from this port.
    Lost(Lid),
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whom to.
    pub to: To,
    /// Its immediate data.
    pub tag: Tag,
    /// The length of its payload.
    pub size: usize,
    /// Payload.
    pub key: Key,
}

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// All.
    Group,
    /// One, with a global route header or without one.
    Peer(SendEntry),
}

/// Outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Datagrams sent to one.
    pub unicast: u32,
    /// Datagrams sent to the group.
    pub multicast: u32,
    /// Datagrams that came back right.
    pub returned: u32,
    /// Datagrams of others that came right.
    pub served: u32,
    /// Datagrams that were not as they should have been.
    pub wrong: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Call,
    Unicast(usize),
    Multicast(usize),
    Finish,
    WaitForOthers,
    Done,
}

struct Peer {
    lid: Lid,
    address: SendEntry,
}

/// One's way through a [`Plan`].
pub struct Course {
    plan: Plan,
    stage: Stage,
    peers: Vec<Peer, MAX_PEERS>,
    /// Those who said that they are done.
    finished: Vec<Lid, MAX_PEERS>,
    /// The last datagram, unless it was a call, and a bit for each peer that has not returned it.
    last: Option<Message>,
    awaited: u64,
    deadline: u64,
    number: u16,
    totals: Totals,
}

impl Course {
    /// The beginning.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            stage: Stage::Call,
            peers: Vec::new(),
            finished: Vec::new(),
            last: None,
            awaited: 0,
            deadline: 0,
            number: 0,
            totals: Totals::default(),
        }
    }

    /// Our LID.
    #[must_use]
    pub fn own(&self) -> Lid {
        self.plan.own
    }

    /// Returns the outcome so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns the act at the time `now`.
    pub fn next(&mut self, now: u64) -> Step {
        if self.awaited != 0 {
            let first = self.peers.get(self.awaited.trailing_zeros() as usize).map_or(Lid::default(), |peer| peer.lid);
            return if now >= self.deadline { Step::Lost(first) } else { Step::Wait(self.deadline) };
        }
        match self.stage {
            Stage::Call => self.call(now),
            Stage::Unicast(nth) => match self.unicast(nth) {
                Some((peer, size, to)) => {
                    self.stage = Stage::Unicast(nth + 1);
                    self.totals.unicast += 1;
                    self.send(now, to, self.peers[peer].lid, size, 1 << peer)
                }
                None => self.go_on(now, Stage::Multicast(0)),
            },
            Stage::Multicast(nth) => match self.size(nth) {
                Some(size) => {
                    self.stage = Stage::Multicast(nth + 1);
                    self.totals.multicast += 1;
                    self.send(now, To::Group, self.plan.group, size, self.all())
                }
                None => self.go_on(now, Stage::Finish),
            },
            Stage::Finish => {
                self.stage = Stage::WaitForOthers;
                self.number = Tag::FINISH;
                self.send(now, To::Group, self.plan.group, 0, self.all())
            }
            Stage::WaitForOthers if self.finished.len() < self.plan.senders => Step::Wait(u64::MAX),
            Stage::WaitForOthers => {
                self.stage = Stage::Done;
                Step::Measure
            }
            Stage::Done => Step::Done,
        }
    }

    /// Something that we sent came back from `from`, which `address` leads to.
    pub fn returned(&mut self, from: Lid, tag: Tag, payload: &[u8], address: &SendEntry) {
        let place = self.peers.iter().position(|peer| peer.lid == from);
        if tag.number == Tag::CALL {
            if place.is_none() && self.stage == Stage::Call {
                // More than there is room for are more than were expected.
                let _ = self.peers.push(Peer { lid: from, address: *address });
            }
            return;
        }
        let right =
            |message: &Message| message.tag == tag && message.size == payload.len() && message.key.holds(payload);
        let bit = place.map_or(0, |place| 1 << place);
        if self.awaited & bit != 0 && self.last.as_ref().is_some_and(right) {
            self.awaited &= !bit;
            self.totals.returned += 1;
        } else {
            self.totals.wrong += 1;
        }
    }

    /// Something of another's came: to be sent back as it is.
    pub fn requested(&mut self, from: Lid, tag: Tag, payload: &[u8], to_group: bool) {
        let receiver = if to_group { self.plan.group } else { self.plan.own };
        let key = Key { sender: from, receiver, number: tag.number };
        match tag.number {
            _ if tag.sender != from || !key.holds(payload) => self.totals.wrong += 1,
            Tag::CALL => {}
            Tag::FINISH => _ = self.finished.push(from),
            _ => self.totals.served += 1,
        }
    }

    fn call(&mut self, now: u64) -> Step {
        if self.peers.len() >= self.plan.peers {
            self.stage = Stage::Unicast(0);
            return Step::Measure;
        }
        if now < self.deadline {
            return Step::Wait(self.deadline);
        }
        self.deadline = now + CALL_EVERY;
        let tag = Tag { sender: self.plan.own, number: Tag::CALL };
        let key = Key { sender: self.plan.own, receiver: self.plan.group, number: Tag::CALL };
        Step::Send(Message { to: To::Group, tag, size: 0, key })
    }

    fn go_on(&mut self, now: u64, stage: Stage) -> Step {
        self.stage = stage;
        self.next(now)
    }

    fn all(&self) -> u64 {
        self.peers.iter().fold(0, |bits, _| bits << 1 | 1)
    }

    /// The `nth` datagram to one: each of the peers has its turn before the next size.
    fn unicast(&self, nth: usize) -> Option<(usize, usize, To)> {
        let peer = nth % self.peers.len();
        let round = nth / self.peers.len();
        let size = self.size(round / 2)?;
        let mut address = self.peers[peer].address;
        address.flags.set(lhca_contract::WorkFlags::GRH, !round.is_multiple_of(2));
        Some((peer, size, To::Peer(address)))
    }

    /// The `nth` size. Those between the first and the last are by up to three bytes smaller than the step makes them,
    /// so that every padding occurs.
    fn size(&self, nth: usize) -> Option<usize> {
        let size = (nth * self.plan.step).saturating_sub(nth % 4);
        (size <= MAX_PAYLOAD).then_some(size)
    }

    fn send(&mut self, now: u64, to: To, receiver: Lid, size: usize, awaited: u64) -> Step {
        let (sender, number) = (self.plan.own, self.number);
        let message = Message { to, tag: Tag { sender, number }, size, key: Key { sender, receiver, number } };
        self.number = number.wrapping_add(1);
        self.last = Some(message);
        self.awaited = awaited;
        self.deadline = now + LOST_AFTER;
        Step::Send(message)
    }
}
