//! A message that arrives in segments (RMPP; IBA vol. 1, 13.6).

use std::time::{Duration, Instant};

use iba::mad::MadHeader;
use iba::rmpp::{RmppMad, RmppStatus, RmppType};
use umad_protocol::Datagram;
use zerocopy::transmute;

use super::send::SendKey;
use crate::agents::{Agent, AgentTid};
use crate::rmpp::{Receiver, Step, answer};

/// MAD of an RMPP transaction, and the agent that it is for.
pub(super) struct Arrival<'a> {
    /// Mark of the agent.
    pub(super) tid: AgentTid,
    pub(super) agent: &'a Agent,
    /// Send that the MAD answers, if that exists.
    pub(super) answers: SendKey,
    /// Bytes of headers that each segment of the transaction repeats.
    pub(super) headers: usize,
    pub(super) segment: &'a RmppMad,
    pub(super) datagram: &'a Datagram,
}

impl Arrival<'_> {
    /// Returns the key of the message that this segment belongs to.
    pub(super) fn transfer(&self) -> TransferKey {
        let MadHeader { class, method, transaction_id, .. } = self.segment.header;
        TransferKey {
            agent: self.tid,
            transaction: transaction_id.get(),
            class: class.get(),
            method: method.get(),
            slid: self.datagram.slid.get(),
            sqp: self.datagram.sqp.get(),
        }
    }

    /// Returns the ABORT with `status` that answers this MAD.
    pub(super) fn abort(&self, status: RmppStatus) -> Datagram {
        self.reply().with(answer(self.segment, self.headers, RmppType::ABORT, status, 0, 0))
    }

    fn reply(&self) -> Reply {
        Reply { dlid: self.datagram.slid.get(), dqp: self.datagram.sqp.get(), sqp: self.agent.qpn }
    }
}

/// A message that arrives in segments.
#[derive(Debug)]
pub(super) struct Transfer {
    receiver: Receiver,
    deadline: Instant,
    /// Segment that came first. An ABORT that ends the message answers it.
    segment: RmppMad,
    reply: Reply,
}

impl Transfer {
    /// Creates the message that begins with `arrival` at time `now`.
    pub(super) fn new(now: Instant, arrival: &Arrival<'_>) -> Self {
        let receiver = Receiver::new(arrival.headers);
        Self { receiver, deadline: now + TOTAL_TIME, segment: *arrival.segment, reply: arrival.reply() }
    }

    /// Returns the time at which the message is forgotten.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, segment: &RmppMad) -> Step {
        self.receiver.take(segment)
    }

    /// Returns the ACK that answers `arrival`.
    pub(super) fn acknowledgement(&self, arrival: &Arrival<'_>) -> Datagram {
        arrival.reply().with(self.receiver.acknowledgement(arrival.segment))
    }

    /// Keeps a complete message for a while, so that a repeated last segment gets its ACK again.
    pub(super) fn linger(&mut self, now: Instant) {
        self.deadline = now + LINGER;
    }

    /// Returns the ABORT to send when the deadline passes; `None` for a complete message.
    pub(super) fn expired(&self) -> Option<Datagram> {
        let abort = |status| answer(&self.segment, self.receiver.headers(), RmppType::ABORT, status, 0, 0);
        (!self.receiver.is_complete()).then(|| self.reply.with(abort(RmppStatus::TOTAL_TIME_TOO_LONG)))
    }
}

/// Identity of a message that arrives in segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TransferKey {
    pub(super) agent: AgentTid,
    transaction: u64,
    class: u8,
    method: u8,
    slid: u16,
    sqp: u32,
}

/// Addresses of an answer to a MAD.
#[derive(Clone, Copy, Debug)]
struct Reply {
    dlid: u16,
    dqp: u32,
    sqp: u32,
}

impl Reply {
    fn with(self, mad: RmppMad) -> Datagram {
        Datagram::new(0, self.dlid, self.sqp, self.dqp, transmute!(mad))
    }
}

/// Longest time that a message may take to arrive, as in the kernel.
const TOTAL_TIME: Duration = Duration::from_secs(40);

/// Time for which a complete message acknowledges its last segment again, as in the kernel.
const LINGER: Duration = Duration::from_secs(10);
