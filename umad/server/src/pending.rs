//! Requests that clients wait for answers to.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use iba::mad::{Class, Mad, MadHeader, Method};
use iba::rmpp::{RmppMad, RmppType};
use umad_protocol::{Datagram, TIMED_OUT};
use zerocopy::{transmute, transmute_ref};

use super::slot::Slot;

/// How long a request may remain without an answer. A client with ibsim's library never gives up by itself, and one
/// with ours does so earlier if it wishes to.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Requests that wait for answers, of all clients.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: HashMap<Key, (Duration, Datagram)>,
    /// In the order of their time, as that is the same for all. One whose request was answered, or made anew, is stale.
    deadlines: VecDeque<(Duration, Key)>,
}

/// What a request and its answer have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: Slot,
    transaction: u64,
    class: u8,
}

impl Key {
    fn new(client: Slot, header: &MadHeader) -> Self {
        // The uppermost bits are the server's, and not yet there in what a client sent.
        let transaction = header.transaction_id.get() & 0x0000_ffff_ffff_ffff;
        Self { client, transaction, class: header.class.get() }
    }
}

impl Pending {
    /// Remembers a request of `client`; the same one again has its time anew.
    pub(super) fn insert(&mut self, now: Duration, client: Slot, request: &Datagram) {
        let mad: &Mad = transmute_ref!(&request.mad);
        let key = Key::new(client, &mad.header);
        let deadline = now.saturating_add(PATIENCE);
        self.requests.insert(key, (deadline, *request));
        self.deadlines.push_back((deadline, key));
    }

    /// Forgets the request of `client` that a MAD with this header answers.
    pub(super) fn answered(&mut self, client: Slot, header: &MadHeader) {
        self.requests.remove(&Key::new(client, header));
    }

    /// Forgets all requests of `client`.
    pub(super) fn forget(&mut self, client: Slot) {
        self.requests.retain(|key, _| key.client != client);
    }

    /// The next request whose time is up at `now`, as it goes back to its client.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Slot, Datagram)> {
        while let Some((deadline, key)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            // A request that was made again has a later time than this entry.
            if self.requests.get(&key).is_some_and(|&(at, _)| at == deadline)
                && let Some((_, request)) = self.requests.remove(&key)
            {
                return Some((key.client, timed_out(request)));
            }
        }
        None
    }

    /// When the next request's time is up at the latest.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadlines.front().map(|&(deadline, _)| deadline)
    }
}

/// A request as it goes back because nobody answers it.
pub(super) fn timed_out(mut request: Datagram) -> Datagram {
    request.status = TIMED_OUT.into();
    request
}

/// Whether a MAD that a client sends answers another.
pub(super) fn is_response(header: &MadHeader) -> bool {
    header.method.is_response() || header.method == Method::TRAP_REPRESS
}

/// Whether its sender waits for an answer to this MAD.
pub(super) fn expects_answer(mad: &[u8; 256]) -> bool {
    let mad: RmppMad = transmute!(*mad);
    let MadHeader { class, method, .. } = mad.header;
    let has_rmpp = class == Class::SUBN_ADM || class == Class::DEV_MGT || (0x30..=0x4f).contains(&class.get());
    let is_about_segments = has_rmpp && mad.rmpp.is_active() && mad.rmpp.kind != RmppType::DATA;
    !is_response(&mad.header) && !matches!(method, Method::SEND | Method::TRAP) && !is_about_segments
}
