//! The hypervisor's end of a ring in a partition's memory. It keeps its own index here; it reads the partition's index
//! anew each time, and that may be any value. Indices are published apart from the work, once for a batch.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use lhca_contract::Status;
use lhca_contract::ring::{
    ALIGNMENT, CONSUMED, DATA_EVENT, MAX_LOG_ENTRIES, MIN_LOG_ENTRIES, PRODUCED, SPACE_EVENT, notify,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::guest::{BadAddress, Guest, Ring};

/// Bytes of a word: the unit of access to rings.
const WORD: usize = 8;

/// The partition's index is outside of the ring: the partition breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideRing;

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

/// Returns the control word at `offset`, in bytes.
#[inline(always)]
fn word<R: Ring>(ring: &R, offset: usize) -> &AtomicU32 {
    &ring.control()[offset / size_of::<AtomicU32>()]
}

/// Returns the distance of an index to a later one.
///
/// # Errors
/// It is greater than the ring.
#[inline(always)]
fn distance<R: Ring>(ring: &R, from: u32, to: u32) -> Result<u32, OutsideRing> {
    let distance = to.wrapping_sub(from);
    if distance <= ring.mask() + 1 { Ok(distance) } else { Err(OutsideRing) }
}

/// Opens the ring of 2 to the power `log_entries` entries at `base`.
///
/// # Errors
/// The size, the alignment or the address is refused.
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

/// The consumer's end of a ring.
#[derive(Debug)]
pub(crate) struct Consumer<R> {
    ring: R,
    /// Number of entries consumed, wrapping.
    consumed: Index,
    /// Own index at the last check for a notification.
    checked: Index,
    /// The partition's index as last read, checked.
    produced: Index,
}

impl<R: Ring> Consumer<R> {
    /// Opens this end of the ring of 2 to the power `log_entries` entries at `base`.
    ///
    /// # Errors
    /// As [`ring`].
    pub(crate) fn new<G: Guest<Ring<R::Entry> = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let ring = ring::<G, R::Entry>(guest, base, log_entries)?;
        Ok(Self { ring, consumed: Index::default(), checked: Index::default(), produced: Index::default() })
    }

    /// Returns `true` if there is an entry. Reads the partition's index only when all entries known so far are
    /// consumed.
    ///
    /// # Errors
    /// The partition's index is outside of the ring.
    #[inline(always)]
    pub(crate) fn has_entry(&self) -> Result<bool, OutsideRing> {
        Ok(self.has_known_entry() || self.refresh()?)
    }

    /// Returns `true` if an entry known from the last read of the partition's index is left.
    #[inline(always)]
    pub(crate) fn has_known_entry(&self) -> bool {
        self.produced.get() != self.consumed.get()
    }

    /// Reads the partition's index and returns `true` if there is an entry. After [`Self::request_notification`],
    /// [`Self::store`] and a fence it misses no entry that the partition does not notify for.
    ///
    /// # Errors
    /// The partition's index is outside of the ring.
    #[inline(always)]
    pub(crate) fn refresh(&self) -> Result<bool, OutsideRing> {
        let (consumed, produced) = (self.consumed.get(), word(&self.ring, PRODUCED).load(Ordering::Acquire));
        if produced == consumed {
            return Ok(false);
        }
        distance(&self.ring, consumed, produced)?;
        self.produced.set(produced);
        Ok(true)
    }

    /// Requests a notification for the next entry.
    #[inline(always)]
    pub(crate) fn request_notification(&self) {
        word(&self.ring, DATA_EVENT).store(self.consumed.get(), Ordering::Relaxed);
    }

    /// Requests a notification for the next entry. Returns `true` if an entry is there already.
    pub(crate) fn arm(&self) -> bool {
        self.request_notification();
        self.publish();
        self.refresh() == Ok(true)
    }

    /// Returns the words of the next entry, which the partition may change at any time.
    #[inline(always)]
    pub(crate) fn entry(&self) -> &[AtomicU64] {
        self.ring.entry(self.consumed.get())
    }

    /// Copies the next entry. Each word is read once.
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

    /// Copies the next entry, if there is one; if not, the partition notifies when it adds one.
    pub(crate) fn next(&self) -> Option<R::Entry>
    where
        R::Entry: FromBytes + IntoBytes,
    {
        (self.has_entry().ok()? || self.arm()).then(|| self.peek())
    }

    /// Consumes an entry.
    #[inline(always)]
    pub(crate) fn consume(&self) {
        self.consumed.set(self.consumed.get().wrapping_add(1));
    }

    /// Consumes all entries.
    pub(crate) fn consume_all(&self) {
        // After a refused index no new entry is known.
        let _ = self.refresh();
        self.consumed.set(self.produced.get());
    }

    /// Stores the own index in the ring. A fence and [`Self::wants_notification`] follow.
    #[inline(always)]
    pub(crate) fn store(&self) {
        word(&self.ring, CONSUMED).store(self.consumed.get(), Ordering::Release);
    }

    /// Returns `true` if the partition wants a notification for an index stored since the last call.
    #[inline(always)]
    pub(crate) fn wants_notification(&self) -> bool {
        let now = self.consumed.get();
        notify(word(&self.ring, SPACE_EVENT).load(Ordering::Relaxed), now, self.checked.replace(now))
    }

    /// Stores the own index in the ring, with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}

/// The producer's end of a ring.
#[derive(Debug)]
pub(crate) struct Producer<R> {
    ring: R,
    /// Number of entries produced, wrapping.
    produced: Index,
    /// Own index at the last check for a notification.
    checked: Index,
    /// Index up to which there is room, by the partition's index as last read.
    end: Index,
}

impl<R: Ring> Producer<R> {
    /// Opens this end of the ring of 2 to the power `log_entries` entries at `base`.
    ///
    /// # Errors
    /// As [`ring`].
    pub(crate) fn new<G: Guest<Ring<R::Entry> = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let ring = ring::<G, R::Entry>(guest, base, log_entries)?;
        let end = Index(AtomicU32::new(ring.mask() + 1));
        Ok(Self { ring, produced: Index::default(), checked: Index::default(), end })
    }

    /// Returns `true` if there is room for an entry. Reads the partition's index only when all room known so far is
    /// used.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.has_known_room() || {
            let consumed = word(&self.ring, CONSUMED).load(Ordering::Acquire);
            if distance(&self.ring, consumed, self.produced.get()).is_ok() {
                self.end.set(consumed.wrapping_add(self.ring.mask() + 1));
            }
            self.has_known_room()
        }
    }

    #[inline(always)]
    fn has_known_room(&self) -> bool {
        self.produced.get() != self.end.get()
    }

    /// Requests a notification when the partition makes room. Returns `true` if there is room already.
    pub(crate) fn arm(&self) -> bool {
        let consumed = word(&self.ring, CONSUMED).load(Ordering::Relaxed);
        word(&self.ring, SPACE_EVENT).store(consumed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.has_room()
    }

    /// Adds an entry by its words; there must be room.
    #[inline(always)]
    pub(crate) fn put(&self, words: &[u64]) {
        let produced = self.produced.get();
        for (place, word) in self.ring.entry(produced).iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        self.produced.set(produced.wrapping_add(1));
    }

    /// Stores the own index in the ring. A fence and [`Self::wants_notification`] follow.
    #[inline(always)]
    pub(crate) fn store(&self) {
        word(&self.ring, PRODUCED).store(self.produced.get(), Ordering::Release);
    }

    /// Returns `true` if the partition wants a notification for an index stored since the last call.
    #[inline(always)]
    pub(crate) fn wants_notification(&self) -> bool {
        let now = self.produced.get();
        notify(word(&self.ring, DATA_EVENT).load(Ordering::Relaxed), now, self.checked.replace(now))
    }

    /// Stores the own index in the ring, with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}
