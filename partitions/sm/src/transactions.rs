//! Requests to others: a window of them on the way, each repeated until it is answered or given up.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use iba::mad::{Mad, MadHeader};
use iba::smp::Smp;
use iba::{Lid, TransactionId};
use zerocopy::transmute;

use crate::config::Config;
use crate::outlet::{Address, Outlet};

/// Requests; `Q` says what each was for.
#[derive(Debug)]
pub(crate) struct Transactions<Q> {
    window: usize,
    timeout: Duration,
    retries: u32,
    /// The last transaction's id.
    last: u32,
    waiting: VecDeque<Request<Q>>,
    sent: BTreeMap<u32, Sent<Q>>,
}

#[derive(Debug)]
struct Request<Q> {
    question: Q,
    to: Address,
    mad: Mad,
}

impl<Q> Request<Q> {
    fn smp(question: Q, dlid: Lid, smp: Smp) -> Self {
        Self { question, to: Address::smi(dlid), mad: transmute!(smp) }
    }
}

#[derive(Debug)]
struct Sent<Q> {
    request: Request<Q>,
    deadline: Duration,
    repeats: u32,
}

impl<Q> Transactions<Q> {
    /// None yet. Ids begin behind `first`, so that answers to a predecessor's requests are not taken for ours.
    pub(crate) fn new(config: &Config, first: u32) -> Self {
        let Config { window, timeout, retries, .. } = *config;
        Self { window, timeout, retries, last: first, waiting: VecDeque::new(), sent: BTreeMap::new() }
    }

    /// Puts a request to the end of the queue: `smp` to `dlid`.
    pub(crate) fn ask(&mut self, question: Q, dlid: Lid, smp: Smp) {
        self.waiting.push_back(Request::smp(question, dlid, smp));
    }

    /// As [`Transactions::ask`], of a class other than subnet management: `mad` to `to`.
    pub(crate) fn ask_general(&mut self, question: Q, to: Address, mad: Mad) {
        self.waiting.push_back(Request { question, to, mad });
    }

    /// As [`Transactions::ask`], before all others that wait.
    pub(crate) fn ask_first(&mut self, question: Q, dlid: Lid, smp: Smp) {
        self.waiting.push_front(Request::smp(question, dlid, smp));
    }

    /// Forgets all requests; answers to them mean nothing any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.sent.clear();
    }

    /// Returns the number of pending requests.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// Returns `true` if no request is pending.
    pub(crate) fn is_idle(&self) -> bool {
        self.len() == 0
    }

    /// Sends what the window has room for.
    pub(crate) fn send(&mut self, now: Duration, out: &mut impl Outlet) {
        while self.sent.len() < self.window
            && let Some(mut request) = self.waiting.pop_front()
        {
            self.last = self.last.wrapping_add(1);
            // The upper half is left alone: programs that share a port tell their answers apart by it.
            request.mad.header.transaction_id = TransactionId::new(self.last.into());
            transmit(&request, out);
            self.sent.insert(self.last, Sent { request, deadline: now + self.timeout, repeats: 0 });
        }
    }

    /// Returns the purpose of the request to which a datagram from `from` responds; `None` if there is none.
    pub(crate) fn answer(&mut self, from: Lid, answer: &MadHeader) -> Option<Q> {
        let id = u32::try_from(answer.transaction_id.get() & 0xffff_ffff).ok()?;
        let Request { to, mad, .. } = &self.sent.get(&id)?.request;
        let what = |header: &MadHeader| (header.class, header.attribute_id, header.attribute_modifier);
        let is_stranger = to.lid != Lid::PERMISSIVE && to.lid != from;
        if is_stranger || what(&mad.header) != what(answer) {
            return None;
        }
        self.sent.remove(&id).map(|sent| sent.request.question)
    }

    /// Repeats requests that are not answered in time; gives one that was repeated often enough.
    pub(crate) fn expire(&mut self, now: Duration, out: &mut impl Outlet) -> Option<Q> {
        while let Some((&id, sent)) = self.sent.iter_mut().find(|(_, sent)| sent.deadline <= now) {
            if sent.repeats == self.retries {
                return self.sent.remove(&id).map(|sent| sent.request.question);
            }
            sent.repeats += 1;
            sent.deadline = now + self.timeout;
            transmit(&sent.request, out);
        }
        None
    }

    /// When [`Transactions::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.sent.values().map(|sent| sent.deadline).min()
    }
}

fn transmit<Q>(request: &Request<Q>, out: &mut impl Outlet) {
    out.send(&request.to, zerocopy::transmute_ref!(&request.mad));
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use iba::attr::{NodeInfo, PortInfo};
    use iba::mad::{Attribute, Method};

    use super::*;
    use crate::route::Route;

    #[derive(Default)]
    struct Sent(Vec<Smp>);

    impl Outlet for Sent {
        fn send(&mut self, _: &Address, mad: &[u8; 256]) {
            self.0.push(zerocopy::transmute!(*mad));
        }
    }

    fn milliseconds(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn only_what_was_asked_is_answered_and_only_once() {
        let config = Config { window: 2, timeout: milliseconds(100), retries: 1, ..Config::default() };
        let mut requests = Transactions::new(&config, u32::MAX);
        let mut out = Sent::default();
        for port in 0..3 {
            requests.ask(port, Lid::PERMISSIVE, Route::default().request(Method::GET, PortInfo::ID, port));
        }
        requests.send(milliseconds(0), &mut out);
        assert_eq!(out.0.len(), 2, "as many as the window has room for");
        let answer = out.0[1];
        let mut other = answer;
        other.header.attribute_id = NodeInfo::ID;
        assert_eq!(requests.answer(Lid::new(9), &other.header), None, "another attribute");
        other = answer;
        other.header.attribute_modifier = 2.into();
        assert_eq!(requests.answer(Lid::new(9), &other.header), None, "another port");
        other = answer;
        other.header.transaction_id = TransactionId::new(7);
        assert_eq!(requests.answer(Lid::new(9), &other.header), None, "another transaction");
        // What a server in between adds to the upper half of the transaction's id does no harm.
        other = answer;
        other.header.transaction_id = TransactionId::new(answer.header.transaction_id.get() | 0xab << 32);
        assert_eq!(requests.answer(Lid::new(9), &other.header), Some(1));
        assert_eq!(requests.answer(Lid::new(9), &other.header), None, "it is answered already");
        // The first one is repeated, and then given up; the third comes after the second.
        requests.send(milliseconds(50), &mut out);
        assert_eq!((out.0.len(), requests.deadline()), (3, Some(milliseconds(100))));
        assert_eq!(requests.expire(milliseconds(100), &mut out), None);
        assert_eq!(requests.expire(milliseconds(150), &mut out), None);
        assert_eq!(out.0[3..], [out.0[0], out.0[2]]);
        assert_eq!(requests.expire(milliseconds(200), &mut out), Some(0));
        assert_eq!(requests.expire(milliseconds(249), &mut out), None);
        assert_eq!(requests.expire(milliseconds(250), &mut out), Some(2));
        assert!(requests.is_idle());
    }
}
