//! The MAD layer of one port, as in the kernel: it delivers each MAD to its agent, sends requests again, reports those
//! without a response, and segments and reassembles the messages of classes with RMPP.
//!
//! Time and datagrams come in as arguments; MADs for the fabric and for programs go out through an [`Outlet`].

mod outlet;
mod segments;
mod send;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use iba::mad::Mad;
use iba::rmpp::RmppMad;
use rustix::io::Errno;
use umad_protocol::{Datagram, TIMED_OUT};
use zerocopy::byteorder::U32;
use zerocopy::{IntoBytes, transmute_ref};

use crate::abi::UserMadHeader;
use crate::agents::{AgentTid, Agents, FileId, Registration, is_response};
use crate::rmpp;
use send::{Send, SendKey};
use transfer::{Arrival, Transfer, TransferKey};

pub(crate) use outlet::{Message, Outlet};

/// MAD layer of one port.
#[derive(Debug)]
pub(crate) struct Port {
    agents: Agents,
    /// Requests without a response, and messages without acknowledgement, so far.
    sends: HashMap<SendKey, Send>,
    /// Messages that arrive in segments.
    transfers: HashMap<TransferKey, Transfer>,
    timers: BTreeSet<(Instant, Timer)>,
}

/// Subject of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Send(SendKey),
    Transfer(TransferKey),
}

impl Port {
    /// Creates a port without agents, whose marks begin after `mark`. Processes need different marks: a peer remembers
    /// the transactions of an earlier process for a while, and takes equal ones for repeated.
    pub(crate) fn new(mark: u16) -> Self {
        let (sends, transfers, timers) = Default::default();
        Self { agents: Agents::new(mark), sends, transfers, timers }
    }

    /// Adds an agent to `file` and returns its number there.
    ///
    /// # Errors
    ///
    /// ENOMEM if the file has 32 agents; EINVAL if another agent has one of the methods.
    pub(crate) fn register(&mut self, file: FileId, request: Registration) -> Result<u32, Errno> {
        self.agents.register(file, request)
    }

    /// Removes agent `id` of `file`, and its transactions.
    ///
    /// # Errors
    ///
    /// EINVAL if the file has no such agent.
    pub(crate) fn unregister(&mut self, file: FileId, id: u32) -> Result<(), Errno> {
        self.agents.unregister(file, id)?;
        self.forget_orphans();
        Ok(())
    }

    /// Removes all agents of `file`.
    pub(crate) fn close(&mut self, file: FileId) {
        self.agents.close(file);
        self.forget_orphans();
    }

    /// Removes the transactions of removed agents.
    fn forget_orphans(&mut self) {
        let Self { agents, sends, transfers, timers } = self;
        sends.retain(|_, send| agents.get(send.agent()).is_some());
        transfers.retain(|key, _| agents.get(key.agent).is_some());
        timers.retain(|(_, timer)| match timer {
            Timer::Send(key) => sends.contains_key(key),
            Timer::Transfer(key) => transfers.contains_key(key),
        });
    }

    /// Sends `mad`, which a program wrote to `file` after `header`.
    ///
    /// # Errors
    ///
    /// EINVAL if the agent is missing, the MAD is too short or too long, or the same transaction is under way.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        file: FileId,
        header: UserMadHeader,
        mad: &[u8],
        out: &mut impl Outlet,
    ) -> Result<(), Errno> {
        let (tid, agent) = self.agents.find(file, header.agent.get()).ok_or(Errno::INVAL)?;
        let (key, mut send) = Send::new(now, (tid, &agent), header, mad)?;
        if self.sends.contains_key(&key) {
            return Err(Errno::INVAL);
        }
        send.transmit(out);
        if let Some(deadline) = send.start(now) {
            self.timers.insert((deadline, Timer::Send(key)));
            self.sends.insert(key, send);
        }
        Ok(())
    }

    /// Takes a datagram from the fabric.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &Datagram, out: &mut impl Outlet) {
        let mad: &Mad = transmute_ref!(&datagram.mad);
        if datagram.is_timed_out() {
            return self.attempt_over(now, SendKey::of_sent(&mad.header, datagram.dlid.get()), out);
        }
        let key = SendKey::of_answered(&mad.header, datagram.slid.get());
        let is_response = is_response(&mad.header);
        let mut mad = *mad;
        let agent = if is_response {
            mad.header.transaction_id = key.tid.into();
            let tid = AgentTid::of(key.tid);
            self.agents.get(tid).map(|agent| (tid, agent))
        } else {
            self.agents.taker(&mad)
        };
        let Some((tid, agent)) = agent else { return };
        let segment: &RmppMad = transmute_ref!(&mad);
        let headers = rmpp::header_len(mad.header.class).filter(|_| segment.rmpp.is_active());
        let bytes = match headers {
            Some(headers) if agent.does_rmpp => {
                let arrival = Arrival { tid, agent: &agent, answers: key, headers, segment, datagram };
                match self.receive_segment(now, &arrival, out) {
                    Some(message) => message,
                    None => return,
                }
            }
            _ => mad.as_bytes().to_vec(),
        };
        if is_response {
            let was_awaited = self.finish(key).is_some();
            // A program that does RMPP itself sees each segment of a response, the first of which ended the request.
            let is_segment = headers.is_some() && !agent.does_rmpp;
            if !was_awaited && !is_segment {
                return;
            }
        }
        out.deliver(agent.file, Message { header: UserMadHeader::received(agent.id, datagram), mad: bytes });
    }

    /// Handles the deadlines up to `now`, and returns the next one.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut impl Outlet) -> Option<Instant> {
        while let Some(&(deadline, timer)) = self.timers.first() {
            if deadline > now {
                return Some(deadline);
            }
            match timer {
                Timer::Send(key) => self.attempt_over(now, key, out),
                Timer::Transfer(key) => self.expire_transfer(key, out),
            }
        }
        None
    }

    /// Ends one attempt at a send: sends again, or reports the timeout to the program.
    fn attempt_over(&mut self, now: Instant, key: SendKey, out: &mut impl Outlet) {
        let Some(mut send) = self.finish(key) else { return };
        if send.retry(out) {
            let deadline = send.start(now).unwrap_or(send.deadline());
            self.timers.insert((deadline, Timer::Send(key)));
            self.sends.insert(key, send);
        } else {
            self.report(&send, out);
        }
    }

    /// Reports to the program that no response came.
    fn report(&self, send: &Send, out: &mut impl Outlet) {
        if let Some(agent) = self.agents.get(send.agent()) {
            let mut header = send.header();
            header.status = U32::new(TIMED_OUT);
            out.deliver(agent.file, Message { header, mad: send.common_header().as_bytes().to_vec() });
        }
    }

    /// Removes a send.
    fn finish(&mut self, key: SendKey) -> Option<Send> {
        let send = self.sends.remove(&key)?;
        self.timers.remove(&(send.deadline(), Timer::Send(key)));
        Some(send)
    }

    /// Ends a send that the peer refuses. Reports it if the program waits for a response.
    fn abort(&mut self, key: SendKey, out: &mut impl Outlet) {
        if let Some(send) = self.finish(key)
            && send.expects_response()
        {
            self.report(&send, out);
        }
    }

    /// Starts the time of the send `key` again.
    fn restart(&mut self, now: Instant, key: SendKey) {
        if let Some(send) = self.sends.get_mut(&key) {
            let before = send.deadline();
            if let Some(deadline) = send.start(now) {
                self.timers.remove(&(before, Timer::Send(key)));
                self.timers.insert((deadline, Timer::Send(key)));
            }
        }
    }
}
