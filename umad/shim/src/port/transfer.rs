//! Messages that arrive in segments, and what answers those that leave so.

use std::time::{Duration, Instant};

use iba::mad::MadHeader;
use iba::rmpp::{RmppHeader, RmppMad, RmppStatus, RmppType};
use umad_protocol::Datagram;
use zerocopy::transmute;

use super::send::SendKey;
use super::{Outlet, Port, Timer};
use crate::agents::{Agent, AgentTid};
use crate::rmpp::{Outcome, Receiver, Step, answer};

/// How long a message may take to arrive. The kernel's figure.
const TOTAL_TIME: Duration = Duration::from_secs(40);

/// How long the acknowledgement of the last segment can be had again. The kernel's figure.
const LINGER: Duration = Duration::from_secs(10);

/// What tells messages that arrive in segments apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TransferKey {
    pub(super) agent: AgentTid,
    transaction: u64,
    class: u8,
    method: u8,
    slid: u16,
    sqp: u32,
}

/// A message that arrives in segments.
#[derive(Debug)]
pub(super) struct Transfer {
    receiver: Receiver,
    deadline: Instant,
    /// The first segment that came, and its sender: who is told when it takes too long.
    segment: RmppMad,
    reply: Reply,
}

/// Where an answer to a MAD goes.
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

/// A MAD of an RMPP transaction.
pub(super) struct Arrival<'a> {
    /// Who it is for.
    pub(super) tid: AgentTid,
    pub(super) agent: &'a Agent,
    /// The send that it answers, if there is one.
    pub(super) answers: SendKey,
    /// Bytes of headers that each of its segments repeats.
    pub(super) headers: usize,
    pub(super) segment: &'a RmppMad,
    pub(super) datagram: &'a Datagram,
}

impl Arrival<'_> {
    fn transfer(&self) -> TransferKey {
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

    fn reply(&self) -> Reply {
        Reply { dlid: self.datagram.slid.get(), dqp: self.datagram.sqp.get(), sqp: self.agent.qpn }
    }

    fn abort(&self, status: RmppStatus) -> Datagram {
        self.reply().with(answer(self.segment, self.headers, RmppType::ABORT, status, 0, 0))
    }
}

impl Port {
    /// Takes a MAD of an RMPP transaction; gives the whole message where this one completes it.
    pub(super) fn receive_segment(
        &mut self,
        now: Instant,
        arrival: &Arrival<'_>,
        out: &mut impl Outlet,
    ) -> Option<Vec<u8>> {
        let RmppHeader { version, kind, status, .. } = arrival.segment.rmpp;
        let fault = match kind {
            _ if version != RmppHeader::VERSION => RmppStatus::BAD_VERSION,
            RmppType::DATA => return self.receive_data(now, arrival, out),
            RmppType::ACK if status == RmppStatus::NORMAL => return self.receive_ack(now, arrival, out),
            RmppType::ACK => RmppStatus::ILLEGAL_STATUS,
            RmppType::STOP | RmppType::ABORT => {
                self.forget_transfer(arrival.transfer());
                self.abort(arrival.answers, out);
                return None;
            }
            _ => RmppStatus::BAD_TYPE,
        };
        out.transmit(arrival.abort(fault));
        self.abort(arrival.answers, out);
        None
    }

    /// Takes a segment of a message.
    fn receive_data(&mut self, now: Instant, arrival: &Arrival<'_>, out: &mut impl Outlet) -> Option<Vec<u8>> {
        // Who answers in many segments is answering: the request's time starts again.
        self.restart(now, arrival.answers);
        let key = arrival.transfer();
        if arrival.segment.rmpp.segment.get() == 1 && !self.transfers.contains_key(&key) {
            let receiver = Receiver::new(arrival.headers);
            let deadline = now + TOTAL_TIME;
            let transfer = Transfer { receiver, deadline, segment: *arrival.segment, reply: arrival.reply() };
            self.transfers.insert(key, transfer);
            self.timers.insert((deadline, Timer::Transfer(key)));
        }
        let transfer = self.transfers.get_mut(&key)?;
        let step = transfer.receiver.take(arrival.segment);
        match step {
            Step::Wait => None,
            Step::Acknowledge => {
                out.transmit(arrival.reply().with(transfer.receiver.acknowledgement(arrival.segment)));
                None
            }
            Step::Complete(message) => {
                out.transmit(arrival.reply().with(transfer.receiver.acknowledgement(arrival.segment)));
                self.timers.remove(&(transfer.deadline, Timer::Transfer(key)));
                transfer.deadline = now + LINGER;
                self.timers.insert((transfer.deadline, Timer::Transfer(key)));
                Some(message)
            }
            Step::Abort(status) => {
                self.forget_transfer(key);
                out.transmit(arrival.abort(status));
                None
            }
        }
    }

    /// Takes an acknowledgement of segments that we sent. Never a message.
    fn receive_ack(&mut self, now: Instant, arrival: &Arrival<'_>, out: &mut impl Outlet) -> Option<Vec<u8>> {
        let key = arrival.answers;
        let send = self.sends.get_mut(&key)?;
        let rmpp = &arrival.segment.rmpp;
        match send.acknowledge(rmpp.segment.get(), rmpp.length_or_window.get()) {
            Outcome::Stale => {}
            Outcome::Progress => {
                send.transmit(out);
                self.restart(now, key);
            }
            Outcome::Complete if send.expects_response() => self.restart(now, key),
            Outcome::Complete => {
                self.finish(key);
            }
            Outcome::Abort(status) => {
                out.transmit(arrival.abort(status));
                self.abort(key, out);
            }
        }
        None
    }

    /// A message took too long to arrive, or need not be acknowledged again.
    pub(super) fn transfer_over(&mut self, key: TransferKey, out: &mut impl Outlet) {
        if let Some(Transfer { receiver, segment, reply, .. }) = self.forget_transfer(key)
            && !receiver.is_complete()
        {
            let status = RmppStatus::TOTAL_TIME_TOO_LONG;
            out.transmit(reply.with(answer(&segment, receiver.headers(), RmppType::ABORT, status, 0, 0)));
        }
    }

    fn forget_transfer(&mut self, key: TransferKey) -> Option<Transfer> {
        let transfer = self.transfers.remove(&key)?;
        self.timers.remove(&(transfer.deadline, Timer::Transfer(key)));
        Some(transfer)
    }
}
