//! The hypervisor's end of a ring in a partition's memory. Its own index is remembered here; the partition's is read anew
//! each time, and may be anything. What an end has done is published by itself, so that a batch is published once.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use lhca_contract::Status;
use lhca_contract::ring::{
    ALIGNMENT, CONSUMED, DATA_EVENT, MAX_LOG_ENTRIES, MIN_LOG_ENTRIES, PRODUCED, SPACE_EVENT, notify,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::guest::{BadAddress, Guest, Ring};

/// Bytes of a word in which rings are reached.
const WORD: usize = 8;

/// The partition's index is none that it can have: it has left the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jumped;

/// A free-running index. The engine's lock keeps it; it is an atomic only so that a queue can be shared by its users.
#[derive(Debug, Default)]
struct Index(AtomicU32);

impl Index {
    #[inline(always)]
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set(&self, index: u32) {
        self.0.store(index, Ordering::Relaxed);
    }

    #[inline(always)]
    fn replace(&self, index: u32) -> u32 {
        let before = self.get();
        self.set(index);
        before
    }
}

/// The control word at `offset`.
#[inline(always)]
fn word<R: Ring>(ring: &R, offset: usize) -> &AtomicU32 {
    &ring.control()[offset / size_of::<AtomicU32>()]
}

/// How far an index is behind another, if that is possible.
#[inline(always)]
fn distance<R: Ring>(ring: &R, from: u32, to: u32) -> Result<u32, Jumped> {
    let distance = to.wrapping_sub(from);
    if distance <= ring.mask() + 1 { Ok(distance) } else { Err(Jumped) }
}

/// The ring of 2 to the power `log_entries` entries at `base`.
fn ring<G: Guest, E>(guest: &G, base: u64, log_entries: u8) -> Result<G::Ring<E>, Status> {
    const { assert!(size_of::<E>().is_multiple_of(WORD), "entries are of whole words") };
    if !(MIN_LOG_ENTRIES..=MAX_LOG_ENTRIES).contains(&log_entries) {
        return Err(Status::BAD_ARGUMENT);
    }
    if !base.is_multiple_of(ALIGNMENT as u64) {
        return Err(Status::BAD_ADDRESS);
    }
    guest.ring(base, log_entries).map_err(|BadAddress| Status::BAD_ADDRESS)
}

/// The end that empties a ring.
#[derive(Debug)]
pub(crate) struct Consumer<R> {
    ring: R,
    /// Consumed so far.
    consumed: Index,
    /// How far that was when the partition was last asked whether it wants to be told.
    told: Index,
    /// The partition's index when it was last looked at, which was possible.
    produced: Index,
}

impl<R: Ring> Consumer<R> {
    /// This end of the ring of 2 to the power `log_entries` entries at `base`.
    pub(crate) fn new<G: Guest<Ring<R::Entry> = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let ring = ring::<G, R::Entry>(guest, base, log_entries)?;
        Ok(Self { ring, consumed: Index::default(), told: Index::default(), produced: Index::default() })
    }

    /// Whether there is an entry to be consumed. The partition's index is looked at only once all that it gave is consumed.
    #[inline(always)]
    pub(crate) fn has_entry(&self) -> Result<bool, Jumped> {
        Ok(self.has_seen_entry() || self.look()?)
    }

    /// Whether there is an entry that was there when the partition's index was last looked at.
    #[inline(always)]
    pub(crate) fn has_seen_entry(&self) -> bool {
        self.produced.get() != self.consumed.get()
    }

    /// Looks at the partition's index: after [`Self::ask`], [`Self::store`] and a fence, this misses no entry that it does not
    /// ring for. Whether there is an entry.
    #[inline(always)]
    pub(crate) fn look(&self) -> Result<bool, Jumped> {
        let (consumed, produced) = (self.consumed.get(), word(&self.ring, PRODUCED).load(Ordering::Acquire));
        if produced == consumed {
            return Ok(false);
        }
        distance(&self.ring, consumed, produced)?;
        self.produced.set(produced);
        Ok(true)
    }

    /// Asks to be rung for the next entry.
    #[inline(always)]
    pub(crate) fn ask(&self) {
        word(&self.ring, DATA_EVENT).store(self.consumed.get(), Ordering::Relaxed);
    }

    /// Asks to be rung for the next entry; says whether one is there already.
    pub(crate) fn arm(&self) -> bool {
        self.ask();
        self.publish();
        self.look() == Ok(true)
    }

    /// The words of the next entry, which the partition may change meanwhile.
    #[inline(always)]
    pub(crate) fn entry(&self) -> &[AtomicU64] {
        self.ring.entry(self.consumed.get())
    }

    /// A copy of the next entry. Each word is read once.
    pub(crate) fn peek(&self) -> R::Entry
    where
        R::Entry: FromBytes + IntoBytes,
    {
        let mut entry = R::Entry::new_zeroed();
        for (bytes, word) in entry.as_mut_bytes().chunks_exact_mut(WORD).zip(self.entry()) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        entry
    }

    /// A copy of the next entry, if there is one; if not, the partition rings when it adds one.
    pub(crate) fn next(&self) -> Option<R::Entry>
    where
        R::Entry: FromBytes + IntoBytes,
    {
        (self.has_entry().ok()? || self.arm()).then(|| self.peek())
    }

    /// Is done with an entry.
    #[inline(always)]
    pub(crate) fn consume(&self) {
        self.consumed.set(self.consumed.get().wrapping_add(1));
    }

    /// Is done with all entries.
    pub(crate) fn consume_all(&self) {
        // An index that jumped leaves none.
        let _ = self.look();
        self.consumed.set(self.produced.get());
    }

    /// Stores what was consumed where the partition sees it. After that, and a fence, [`Self::asked`].
    #[inline(always)]
    pub(crate) fn store(&self) {
        word(&self.ring, CONSUMED).store(self.consumed.get(), Ordering::Release);
    }

    /// Whether the partition wants to be told of what was stored since this was last asked.
    #[inline(always)]
    pub(crate) fn asked(&self) -> bool {
        let now = self.consumed.get();
        notify(word(&self.ring, SPACE_EVENT).load(Ordering::Relaxed), now, self.told.replace(now))
    }

    /// [Stores](Self::store), with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}

/// The end that fills a ring.
#[derive(Debug)]
pub(crate) struct Producer<R> {
    ring: R,
    /// Produced so far.
    produced: Index,
    /// How far that was when the partition was last asked whether it wants to be told.
    told: Index,
    /// As far as there was room, by the partition's index when it was last looked at, which was possible.
    end: Index,
}

impl<R: Ring> Producer<R> {
    /// This end of the ring of 2 to the power `log_entries` entries at `base`.
    pub(crate) fn new<G: Guest<Ring<R::Entry> = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let ring = ring::<G, R::Entry>(guest, base, log_entries)?;
        let end = Index(AtomicU32::new(ring.mask() + 1));
        Ok(Self { ring, produced: Index::default(), told: Index::default(), end })
    }

    /// Whether there is room for an entry. The partition's index is looked at only once all room that it gave is used.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.has_seen_room() || {
            let consumed = word(&self.ring, CONSUMED).load(Ordering::Acquire);
            if distance(&self.ring, consumed, self.produced.get()).is_ok() {
                self.end.set(consumed.wrapping_add(self.ring.mask() + 1));
            }
            self.has_seen_room()
        }
    }

    #[inline(always)]
    fn has_seen_room(&self) -> bool {
        self.produced.get() != self.end.get()
    }

    /// Asks to be rung when the partition makes room; says whether there is some already.
    pub(crate) fn arm(&self) -> bool {
        let consumed = word(&self.ring, CONSUMED).load(Ordering::Relaxed);
        word(&self.ring, SPACE_EVENT).store(consumed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.has_room()
    }

    /// Adds an entry, which there is room for, by its words.
    #[inline(always)]
    pub(crate) fn put(&self, words: &[u64]) {
        let produced = self.produced.get();
        for (place, word) in self.ring.entry(produced).iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        self.produced.set(produced.wrapping_add(1));
    }

    /// Stores what was added where the partition sees it. After that, and a fence, [`Self::asked`].
    #[inline(always)]
    pub(crate) fn store(&self) {
        word(&self.ring, PRODUCED).store(self.produced.get(), Ordering::Release);
    }

    /// Whether the partition wants to be told of what was stored since this was last asked.
    #[inline(always)]
    pub(crate) fn asked(&self) -> bool {
        let now = self.produced.get();
        notify(word(&self.ring, DATA_EVENT).load(Ordering::Relaxed), now, self.told.replace(now))
    }

    /// [Stores](Self::store), with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}
