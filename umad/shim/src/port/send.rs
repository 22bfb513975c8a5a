//! Sends of a program: repeated until a response comes or no retries are left.

use std::time::{Duration, Instant};

use iba::mad::{Mad, MadHeader};
use iba::rmpp::RmppMad;
use rustix::io::Errno;
use umad_protocol::{Datagram, MAD_LEN};
use zerocopy::transmute;

use super::outlet::Outlet;
use crate::abi::UserMadHeader;
use crate::agents::{Agent, AgentTid, is_response};
use crate::rmpp::{Outcome, RMPP_OFFSET, Sender, header_len};

/// Longest time to wait for an acknowledgement of segments, as in the kernel.
const ACK_TIME: Duration = Duration::from_secs(2);

/// Permissive LID, for a directed route from the client's node.
const PERMISSIVE: u16 = 0xffff;

/// Identity of a send, by which a MAD that answers it finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SendKey {
    /// Transaction id.
    pub(super) tid: u64,
    class: u8,
    /// Destination LID of a response: transaction ids of different requesters may be equal.
    peer: Option<u16>,
}

impl SendKey {
    /// Bits of a transaction id that this library keeps. A server may change the others in a request.
    const OURS: u64 = 0x0000_ffff_ffff_ffff;

    /// Returns the key of a MAD with this header to `dlid`.
    pub(super) fn of_sent(header: &MadHeader, dlid: u16) -> Self {
        Self::new(header, is_response(header), dlid)
    }

    /// Returns the key of the send that a MAD with this header from `slid` answers.
    pub(super) fn of_answered(header: &MadHeader, slid: u16) -> Self {
        Self::new(header, !is_response(header), slid)
    }

    fn new(header: &MadHeader, sent_response: bool, peer: u16) -> Self {
        let tid = header.transaction_id.get();
        let class = header.class.get();
        if sent_response {
            Self { tid, class, peer: Some(peer) }
        } else {
            Self { tid: tid & Self::OURS, class, peer: None }
        }
    }
}

/// MAD or message on its way.
#[derive(Debug)]
pub(super) struct Send {
    /// Agent that sends.
    agent: AgentTid,
    /// Header that the program wrote.
    header: UserMadHeader,
    /// End of the present attempt.
    deadline: Instant,
    sqp: u32,
    retries_left: u32,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Single(Mad),
    Segmented { first: MadHeader, sender: Sender },
}

impl Send {
    /// Prepares `mad` for sending by `agent`, and marks the transaction id of a request as the agent's.
    ///
    /// # Errors
    ///
    /// EINVAL if `mad` is too short or too long.
    pub(super) fn new(
        now: Instant,
        (tid, agent): (AgentTid, &Agent),
        header: UserMadHeader,
        mad: &[u8],
    ) -> Result<(SendKey, Self), Errno> {
        if mad.len() < RMPP_OFFSET {
            return Err(Errno::INVAL);
        }
        let mut bytes = [0; MAD_LEN];
        let front = mad.len().min(MAD_LEN);
        bytes[..front].copy_from_slice(&mad[..front]);
        let mut first: RmppMad = transmute!(bytes);
        if !is_response(&first.header) {
            first.header.transaction_id = tid.mark(first.header.transaction_id.get()).into();
        }
        // The program sets only this flag; the library makes the rest of the RMPP header.
        let is_rmpp = agent.does_rmpp && first.rmpp.is_active();
        let body = match header_len(first.header.class).filter(|_| is_rmpp) {
            Some(headers) => {
                let data = mad.get(headers..).ok_or(Errno::INVAL)?;
                Body::Segmented { first: first.header, sender: Sender::new(first, headers, data).ok_or(Errno::INVAL)? }
            }
            None if mad.len() <= MAD_LEN => Body::Single(transmute!(first)),
            None => return Err(Errno::INVAL),
        };
        let key = SendKey::of_sent(&first.header, header.lid.get());
        let (sqp, retries_left) = (agent.qpn, header.retries.get());
        Ok((key, Self { agent: tid, header, deadline: now, sqp, retries_left, body }))
    }

    /// Sends the MAD, or the segments that the window allows.
    pub(super) fn transmit(&mut self, out: &mut impl Outlet) {
        let dlid = self.header.lid.get();
        // LID 0 leaves the choice to the server.
        let slid = if dlid == PERMISSIVE { PERMISSIVE } else { 0 };
        let mut transmit = |mad| out.transmit(Datagram::new(slid, dlid, self.sqp, self.header.qpn.get(), mad));
        match &mut self.body {
            Body::Single(mad) => transmit(transmute!(*mad)),
            Body::Segmented { sender, .. } => {
                while let Some(segment) = sender.next() {
                    transmit(transmute!(segment));
                }
            }
        }
    }

    /// Sends again; returns `false` if no retries are left.
    pub(super) fn retry(&mut self, out: &mut impl Outlet) -> bool {
        let Some(left) = self.retries_left.checked_sub(1) else { return false };
        self.retries_left = left;
        if let Body::Segmented { sender, .. } = &mut self.body {
            sender.rewind();
        }
        self.transmit(out);
        true
    }

    /// Returns `true` if the program waits for a response.
    pub(super) fn expects_response(&self) -> bool {
        self.header.timeout_ms.get() != 0
    }

    /// Returns the agent that sends.
    pub(super) fn agent(&self) -> AgentTid {
        self.agent
    }

    /// Returns the header that the program wrote.
    pub(super) fn header(&self) -> UserMadHeader {
        self.header
    }

    /// Returns the end of the present attempt.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Starts the time of an attempt at `now`, and returns its end; `None`, without a change, if no answer is expected.
    pub(super) fn start(&mut self, now: Instant) -> Option<Instant> {
        self.deadline = now + self.attempt_time()?;
        Some(self.deadline)
    }

    /// Returns the time to wait from now on; `None` if no answer is expected.
    fn attempt_time(&self) -> Option<Duration> {
        let response = self.expects_response().then(|| Duration::from_millis(self.header.timeout_ms.get().into()));
        match &self.body {
            Body::Segmented { sender, .. } if !sender.is_acknowledged() => {
                Some(response.unwrap_or(ACK_TIME).min(ACK_TIME))
            }
            _ => response,
        }
    }

    /// Takes an acknowledgement of the segments up to `segment`, which allows those up to `window`.
    pub(super) fn acknowledge(&mut self, segment: u32, window: u32) -> Outcome {
        let Body::Segmented { sender, .. } = &mut self.body else { return Outcome::Stale };
        let outcome = sender.acknowledge(segment, window);
        if outcome == Outcome::Progress {
            self.retries_left = self.header.retries.get();
        }
        outcome
    }

    /// Returns the common MAD header.
    pub(super) fn common_header(&self) -> &MadHeader {
        match &self.body {
            Body::Single(mad) => &mad.header,
            Body::Segmented { first, .. } => first,
        }
    }
}
