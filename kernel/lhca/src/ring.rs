//! The hypervisor's end of a ring in a partition's memory. Its own index is remembered here; the partition's is read anew
//! each time, and may be anything.

use core::cell::Cell;
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
    /// The other end's index when it was last looked at, which was possible.
    seen: Cell<u32>,
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
        Ok(Self { base, log_entries, own: 0, seen: Cell::new(0), entries: PhantomData })
    }

    #[inline(always)]
    fn index(&self, guest: &impl Guest, offset: usize) -> u32 {
        // The ring was found to be inside, and memory does not shrink; if it did, the ring would stand still.
        guest.word(self.base + offset as u64).map_or(self.own, |word| word.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn publish(&self, guest: &impl Guest, offset: usize, value: u32) {
        if let Ok(word) = guest.word(self.base + offset as u64) {
            word.store(value, Ordering::Release);
        }
    }

    #[inline(always)]
    fn place(&self) -> u64 {
        self.base + entry_offset(self.log_entries, size_of::<E>(), self.own) as u64
    }

    /// How far the other end's index is from this one's, if that is possible.
    #[inline(always)]
    fn distance(&self, from: u32, to: u32) -> Result<u32, Jumped> {
        Some(to.wrapping_sub(from)).filter(|&distance| distance <= 1 << self.log_entries).ok_or(Jumped)
    }

    /// Entries that wait to be consumed.
    #[inline(always)]
    pub(crate) fn waiting(&self, guest: &impl Guest) -> Result<u32, Jumped> {
        self.distance(self.own, self.index(guest, PRODUCED))
    }

    /// Whether there is an entry to be consumed. The partition's index is looked at only once all that it gave is consumed.
    #[inline(always)]
    pub(crate) fn has_entry(&self, guest: &impl Guest) -> Result<bool, Jumped> {
        if self.seen.get() == self.own {
            self.seen.set(self.own.wrapping_add(self.waiting(guest)?));
        }
        Ok(self.seen.get() != self.own)
    }

    /// Whether there is room for an entry. The partition's index is looked at only once all room that it gave is used.
    #[inline(always)]
    pub(crate) fn has_room(&self, guest: &impl Guest) -> bool {
        let is_full = self.own.wrapping_sub(self.seen.get()) >= 1 << self.log_entries;
        if is_full {
            let consumed = self.index(guest, CONSUMED);
            if self.distance(consumed, self.own).is_err() {
                return false;
            }
            self.seen.set(consumed);
        }
        self.own.wrapping_sub(self.seen.get()) < 1 << self.log_entries
    }

    /// Asks to be rung for the next entry; says whether one is there already.
    pub(crate) fn arm_data(&self, guest: &impl Guest) -> bool {
        self.publish(guest, DATA_EVENT, self.own);
        fence(Ordering::SeqCst);
        self.has_entry(guest) == Ok(true)
    }

    /// A copy of the next entry.
    #[inline(always)]
    pub(crate) fn peek(&self, guest: &impl Guest) -> Result<E, BadAddress> {
        load(guest, self.place())
    }

    /// A copy of the next entry, if there is one; if not, the partition rings when it adds one.
    pub(crate) fn next(&self, guest: &impl Guest) -> Option<E> {
        let waits = self.has_entry(guest).ok()? || self.arm_data(guest);
        self.peek(guest).ok().filter(|_| waits)
    }

    /// Consumes an entry; says whether the partition wants to be told.
    #[inline(always)]
    pub(crate) fn consume(&mut self, guest: &impl Guest) -> bool {
        self.consume_up_to(guest, self.own.wrapping_add(1))
    }

    /// Consumes all entries; says whether the partition wants to be told.
    pub(crate) fn consume_all(&mut self, guest: &impl Guest) -> bool {
        let waiting = self.waiting(guest).unwrap_or(0);
        self.seen.set(self.own.wrapping_add(waiting));
        self.consume_up_to(guest, self.seen.get())
    }

    #[inline(always)]
    fn consume_up_to(&mut self, guest: &impl Guest, end: u32) -> bool {
        let before = self.own;
        self.own = end;
        self.publish(guest, CONSUMED, self.own);
        fence(Ordering::SeqCst);
        notify(self.index(guest, SPACE_EVENT), self.own, before)
    }

    /// Asks to be rung when the partition makes room; says whether there is some already.
    pub(crate) fn arm_space(&self, guest: &impl Guest) -> bool {
        self.publish(guest, SPACE_EVENT, self.index(guest, CONSUMED));
        fence(Ordering::SeqCst);
        self.has_room(guest)
    }

    /// Adds an entry, which there is room for; says whether the partition wants to be told.
    #[inline(always)]
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
