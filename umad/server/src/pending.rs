//! Requests of clients that wait for a response.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use iba::mad::{Class, Mad, MadHeader, Method};
use iba::rmpp::{RmppMad, RmppType};
use umad_protocol::{Datagram, TIMED_OUT};
use zerocopy::{transmute, transmute_ref};

use super::slot::Slot;

/// Time that a request may remain without a response. A client with ibsim's library never gives up by itself; one with
/// Portico's has timeouts of its own.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Requests of all clients that wait for a response.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: HashMap<Key, (Duration, Datagram)>,
    /// Deadlines in order, because each request has the same time. An entry is stale if its request got a response or
    /// was sent again.
    deadlines: VecDeque<(Duration, Key)>,
}

/// Fields that a request and its response share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: Slot,
    transaction: u64,
    class: u8,
}

impl Key {
    fn new(client: Slot, header: &MadHeader) -> Self {
        // The upper 16 bits are the server's mark, which a MAD from a client does not have yet.
        let transaction = header.transaction_id.get() & 0x0000_ffff_ffff_ffff;
        Self { client, transaction, class: header.class.get() }
    }
}

impl Pending {
    /// Adds a request of `client`. If it is pending already, its time starts again.
    pub(super) fn insert(&mut self, now: Duration, client: Slot, request: &Datagram) {
        let mad: &Mad = transmute_ref!(&request.mad);
        let key = Key::new(client, &mad.header);
        let deadline = now.saturating_add(PATIENCE);
        self.requests.insert(key, (deadline, *request));
        self.deadlines.push_back((deadline, key));
    }

    /// Removes the request of `client` that a response with this header answers.
    pub(super) fn answered(&mut self, client: Slot, header: &MadHeader) {
        self.requests.remove(&Key::new(client, header));
    }

    /// Removes all requests of `client`.
    pub(super) fn forget(&mut self, client: Slot) {
        self.requests.retain(|key, _| key.client != client);
    }

    /// Removes the next request whose deadline is not after `now`, and returns it as it goes back to its client.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Slot, Datagram)> {
        while let Some((deadline, key)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            // A request that was sent again has a later deadline than this entry.
            if self.requests.get(&key).is_some_and(|&(at, _)| at == deadline)
                && let Some((_, request)) = self.requests.remove(&key)
            {
                return Some((key.client, timed_out(request)));
            }
        }
        None
    }

    /// Returns the first deadline; it may be stale.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadlines.front().map(|&(deadline, _)| deadline)
    }
}

/// Returns a request as it goes back without a response.
pub(super) fn timed_out(mut request: Datagram) -> Datagram {
    request.status = TIMED_OUT.into();
    request
}

/// Returns `true` if a MAD is a response or a TrapRepress.
pub(super) fn is_response(header: &MadHeader) -> bool {
    header.method.is_response() || header.method == Method::TRAP_REPRESS
}

/// Returns `true` if the sender of this MAD waits for a response.
pub(super) fn expects_answer(mad: &[u8; 256]) -> bool {
    let mad: RmppMad = transmute!(*mad);
    let MadHeader { class, method, .. } = mad.header;
    let has_rmpp = class == Class::SUBN_ADM || class == Class::DEV_MGT || (0x30..=0x4f).contains(&class.get());
    let is_about_segments = has_rmpp && mad.rmpp.is_active() && mad.rmpp.kind != RmppType::DATA;
    !is_response(&mad.header) && !matches!(method, Method::SEND | Method::TRAP) && !is_about_segments
}
