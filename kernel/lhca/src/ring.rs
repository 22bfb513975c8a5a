//! The hypervisor's end of a ring in a partition's memory. Its own index is remembered here; the partition's is read anew
//! each time, and may be anything.

use core::marker::PhantomData;
use core::sync::atomic::{Ordering, fence};

use lhca_contract::Status;
use lhca_contract::ring::{
    ALIGNMENT, CONSUMED, DATA_EVENT, MAX_LOG_ENTRIES, MIN_LOG_ENTRIES, PRODUCED, SPACE_EVENT, bytes, entry_offset,
    notify,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::guest::{BadAddress, Guest, load, store};

/// A ring of entries `E`.
#[derive(Debug)]
pub(crate) struct Ring<E> {
    base: u64,
    log_entries: u8,
    /// Produced or consumed so far, by this end.
    own: u32,
    entries: PhantomData<fn(E)>,
}

/// The partition's index is none that it can have: it has left the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jumped;

impl<E: FromBytes + IntoBytes + Immutable> Ring<E> {
    /// The ring of 2 to the power `log_entries` entries at `base`.
    pub(crate) fn new(guest: &impl Guest, base: u64, log_entries: u8) -> Result<Self, Status> {
        if !(MIN_LOG_ENTRIES..=MAX_LOG_ENTRIES).contains(&log_entries) {
            return Err(Status::BAD_ARGUMENT);
        }
        let last = base.checked_add(bytes(log_entries, size_of::<E>()) as u64 - 4).ok_or(Status::BAD_ADDRESS)?;
        let inside = guest.word(base).and(guest.word(last)).is_ok();
        if !inside || !base.is_multiple_of(ALIGNMENT as u64) {
            return Err(Status::BAD_ADDRESS);
        }
        Ok(Self { base, log_entries, own: 0, entries: PhantomData })
    }

    fn index(&self, guest: &impl Guest, offset: usize) -> u32 {
        // The ring was found to be inside, and memory does not shrink; if it did, the ring would stand still.
        guest.word(self.base + offset as u64).map_or(self.own, |word| word.load(Ordering::Acquire))
    }

    fn publish(&self, guest: &impl Guest, offset: usize, value: u32) {
        if let Ok(word) = guest.word(self.base + offset as u64) {
            word.store(value, Ordering::Release);
        }
    }

    fn place(&self) -> u64 {
        self.base + entry_offset(self.log_entries, size_of::<E>(), self.own) as u64
    }

    /// How far the other end's index is from this one's, if that is possible.
    fn distance(&self, from: u32, to: u32) -> Result<u32, Jumped> {
        Some(to.wrapping_sub(from)).filter(|&distance| distance <= 1 << self.log_entries).ok_or(Jumped)
    }

    /// Entries that wait to be consumed.
    pub(crate) fn waiting(&self, guest: &impl Guest) -> Result<u32, Jumped> {
        self.distance(self.own, self.index(guest, PRODUCED))
    }

    /// Asks to be rung for the next entry; says whether one is there already.
    pub(crate) fn arm_data(&self, guest: &impl Guest) -> bool {
        self.publish(guest, DATA_EVENT, self.own);
        fence(Ordering::SeqCst);
        self.waiting(guest).is_ok_and(|waiting| waiting > 0)
    }

    /// A copy of the next entry.
    pub(crate) fn peek(&self, guest: &impl Guest) -> Result<E, BadAddress> {
        load(guest, self.place())
    }

    /// A copy of the next entry, if there is one; if not, the partition rings when it adds one.
    pub(crate) fn next(&self, guest: &impl Guest) -> Option<E> {
        let waiting = self.waiting(guest).ok()? > 0 || self.arm_data(guest);
        self.peek(guest).ok().filter(|_| waiting)
    }

    /// Consumes `count` entries; says whether the partition wants to be told.
    pub(crate) fn consume(&mut self, guest: &impl Guest, count: u32) -> bool {
        let before = self.own;
        self.own = before.wrapping_add(count);
        self.publish(guest, CONSUMED, self.own);
        fence(Ordering::SeqCst);
        notify(self.index(guest, SPACE_EVENT), self.own, before)
    }

    /// Entries that there is room for; none where the partition's index is impossible.
    pub(crate) fn room(&self, guest: &impl Guest) -> u32 {
        let held = self.distance(self.index(guest, CONSUMED), self.own);
        held.map_or(0, |held| (1 << self.log_entries) - held)
    }

    /// Asks to be rung when the partition makes room; says whether there is some already.
    pub(crate) fn arm_space(&self, guest: &impl Guest) -> bool {
        self.publish(guest, SPACE_EVENT, self.index(guest, CONSUMED));
        fence(Ordering::SeqCst);
        self.room(guest) > 0
    }

    /// Adds an entry, which there is room for; says whether the partition wants to be told.
    pub(crate) fn produce(&mut self, guest: &impl Guest, entry: &E) -> bool {
        if store(guest, self.place(), entry).is_err() {
            return false;
        }
        let before = self.own;
        self.own = before.wrapping_add(1);
        self.publish(guest, PRODUCED, self.own);
        fence(Ordering::SeqCst);
        notify(self.index(guest, DATA_EVENT), self.own, before)
    }
}
