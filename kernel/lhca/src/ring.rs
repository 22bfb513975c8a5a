//! The hypervisor's end of a ring in a partition's memory. Its own index is remembered here; the partition's is read anew
//! each time, and may be anything.
//!
//! An end's two control words, its index and the index at which it wants to be told, are 64 bits that only it writes, and
//! are read and written as such. What an end has done is published by itself, so that a batch is published once.

use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use lhca_contract::Status;
use lhca_contract::ring::{
    ALIGNMENT, CONSUMED, DATA_EVENT, MAX_LOG_ENTRIES, MIN_LOG_ENTRIES, PRODUCED, SPACE_EVENT, notify,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use crate::guest::{BadAddress, Guest, RingWords};

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

/// An end's control words: how far it is, and the other's index at which it wants to be told.
#[derive(Clone, Copy, Debug, Default)]
struct Control {
    index: u32,
    event: u32,
}

impl Control {
    fn from_word(word: u64) -> Self {
        let [index, event]: [u32; 2] = transmute!(word);
        Self { index, event }
    }

    fn to_word(self) -> u64 {
        transmute!([self.index, self.event])
    }
}

/// A ring of entries `E`, in memory `R`.
#[derive(Debug)]
struct Area<E, R> {
    memory: R,
    /// One less than the number of entries, a power of two.
    mask: u32,
    entries: PhantomData<fn(E)>,
}

impl<E: FromBytes + IntoBytes + Immutable, R: Deref<Target = RingWords>> Area<E, R> {
    /// The words of an entry.
    const WORDS: usize = {
        assert!(size_of::<E>().is_multiple_of(WORD), "entries are of whole words");
        size_of::<E>() / WORD
    };

    /// The ring of 2 to the power `log_entries` entries at `base`.
    fn new<G: Guest<Ring = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        if !(MIN_LOG_ENTRIES..=MAX_LOG_ENTRIES).contains(&log_entries) {
            return Err(Status::BAD_ARGUMENT);
        }
        if !base.is_multiple_of(ALIGNMENT as u64) {
            return Err(Status::BAD_ADDRESS);
        }
        let memory = guest.ring(base, Self::WORDS << log_entries).map_err(|BadAddress| Status::BAD_ADDRESS)?;
        Ok(Self { memory, mask: (1 << log_entries) - 1, entries: PhantomData })
    }

    /// How far an index is behind another, if that is possible.
    #[inline(always)]
    fn distance(&self, from: u32, to: u32) -> Result<u32, Jumped> {
        let distance = to.wrapping_sub(from);
        if distance <= self.mask + 1 { Ok(distance) } else { Err(Jumped) }
    }

    /// The producer's control words, as they are.
    #[inline(always)]
    fn producer(&self) -> Control {
        Control::from_word(self.memory.control[PRODUCED / WORD].load(Ordering::Acquire))
    }

    #[inline(always)]
    fn set_producer(&self, control: Control) {
        self.memory.control[PRODUCED / WORD].store(control.to_word(), Ordering::Release);
    }

    /// The consumer's control words, as they are.
    #[inline(always)]
    fn consumer(&self) -> Control {
        Control::from_word(self.memory.control[CONSUMED / WORD].load(Ordering::Acquire))
    }

    #[inline(always)]
    fn set_consumer(&self, control: Control) {
        self.memory.control[CONSUMED / WORD].store(control.to_word(), Ordering::Release);
    }

    /// The words of the entry with free-running index `index`, which the partition may change meanwhile.
    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&[AtomicU64]> {
        let start = (index & self.mask) as usize * Self::WORDS;
        self.memory.entries.get(start..start + Self::WORDS)
    }
}

/// The end that empties a ring.
#[derive(Debug)]
pub(crate) struct Consumer<E, R> {
    area: Area<E, R>,
    /// Consumed so far.
    consumed: Index,
    /// How far that was when the partition was last asked whether it wants to be told.
    told: Index,
    /// At which index of the partition's it is to ring.
    event: Index,
    /// The partition's index when it was last looked at, which was possible.
    produced: Index,
}

impl<E: FromBytes + IntoBytes + Immutable, R: Deref<Target = RingWords>> Consumer<E, R> {
    /// This end of the ring of 2 to the power `log_entries` entries at `base`.
    pub(crate) fn new<G: Guest<Ring = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let area = Area::new(guest, base, log_entries)?;
        Ok(Self {
            area,
            consumed: Index::default(),
            told: Index::default(),
            event: Index::default(),
            produced: Index::default(),
        })
    }

    /// Whether there is an entry to be consumed. The partition's index is looked at only once all that it gave is consumed.
    #[inline(always)]
    pub(crate) fn has_entry(&self) -> Result<bool, Jumped> {
        Ok(self.has_seen_entry() || self.see(self.area.producer())?)
    }

    /// Whether there is an entry that was there when the partition's index was last looked at.
    #[inline(always)]
    pub(crate) fn has_seen_entry(&self) -> bool {
        self.produced.get() != self.consumed.get()
    }

    #[inline(always)]
    fn see(&self, producer: Control) -> Result<bool, Jumped> {
        let distance = self.area.distance(self.consumed.get(), producer.index)?;
        self.produced.set(producer.index);
        Ok(distance != 0)
    }

    /// Asks to be rung for the next entry; says whether one is there already.
    #[inline(always)]
    pub(crate) fn arm(&self) -> bool {
        self.event.set(self.consumed.get());
        self.store();
        fence(Ordering::SeqCst);
        self.has_entry() == Ok(true)
    }

    /// The words of the next entry, which the partition may change meanwhile.
    #[inline(always)]
    pub(crate) fn entry(&self) -> Option<&[AtomicU64]> {
        self.area.entry(self.consumed.get())
    }

    /// A copy of the next entry. Each word is read once.
    pub(crate) fn peek(&self) -> Option<E> {
        let mut entry = E::new_zeroed();
        for (bytes, word) in entry.as_mut_bytes().chunks_exact_mut(WORD).zip(self.entry()?) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        Some(entry)
    }

    /// A copy of the next entry, if there is one; if not, the partition rings when it adds one.
    pub(crate) fn next(&self) -> Option<E> {
        let waits = self.has_entry().ok()? || self.arm();
        self.peek().filter(|_| waits)
    }

    /// Is done with an entry.
    #[inline(always)]
    pub(crate) fn consume(&self) {
        self.consumed.set(self.consumed.get().wrapping_add(1));
    }

    /// Is done with all entries.
    pub(crate) fn consume_all(&self) {
        let produced = self.area.producer().index;
        if self.area.distance(self.consumed.get(), produced).is_ok() {
            self.consumed.set(produced);
        }
        self.produced.set(self.consumed.get());
    }

    /// Stores what was consumed, and when to be told, where the partition sees it. After that, and a fence, [`Self::asked`].
    #[inline(always)]
    pub(crate) fn store(&self) {
        self.area.set_consumer(Control { index: self.consumed.get(), event: self.event.get() });
    }

    /// [Stores](Self::store), and asks to be rung for the next entry.
    #[inline(always)]
    pub(crate) fn store_armed(&self) {
        let index = self.consumed.get();
        self.event.set(index);
        self.area.set_consumer(Control { index, event: index });
    }

    /// Looks at the partition's index, which after [`Self::store_armed`] and a fence misses no entry that it does not ring for.
    #[inline(always)]
    pub(crate) fn look(&self) {
        // An index that jumped is looked at again.
        let _ = self.see(self.area.producer());
    }

    /// Whether the partition wants to be told of what was stored since this was last asked.
    #[inline(always)]
    pub(crate) fn asked(&self) -> bool {
        let now = self.consumed.get();
        notify(self.area.producer().event, now, self.told.replace(now))
    }

    /// [Stores](Self::store), with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}

/// The end that fills a ring.
#[derive(Debug)]
pub(crate) struct Producer<E, R> {
    area: Area<E, R>,
    /// Produced so far.
    produced: Index,
    /// How far that was when the partition was last asked whether it wants to be told.
    told: Index,
    /// At which index of the partition's it is to ring.
    event: Index,
    /// The partition's index when it was last looked at, which was possible.
    consumed: Index,
}

impl<E: FromBytes + IntoBytes + Immutable, R: Deref<Target = RingWords>> Producer<E, R> {
    /// This end of the ring of 2 to the power `log_entries` entries at `base`.
    pub(crate) fn new<G: Guest<Ring = R>>(guest: &G, base: u64, log_entries: u8) -> Result<Self, Status> {
        let area = Area::new(guest, base, log_entries)?;
        Ok(Self {
            area,
            produced: Index::default(),
            told: Index::default(),
            event: Index::default(),
            consumed: Index::default(),
        })
    }

    /// Whether there is room for an entry. The partition's index is looked at only once all room that it gave is used.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.has_seen_room() || {
            let consumed = self.area.consumer().index;
            if self.area.distance(consumed, self.produced.get()).is_ok() {
                self.consumed.set(consumed);
            }
            self.has_seen_room()
        }
    }

    #[inline(always)]
    fn has_seen_room(&self) -> bool {
        self.produced.get().wrapping_sub(self.consumed.get()) <= self.area.mask
    }

    /// Asks to be rung when the partition makes room; says whether there is some already.
    pub(crate) fn arm(&self) -> bool {
        self.event.set(self.area.consumer().index);
        self.store();
        fence(Ordering::SeqCst);
        self.has_room()
    }

    /// Adds an entry, which there is room for, by its words.
    #[inline(always)]
    pub(crate) fn put(&self, words: &[u64]) {
        let Some(entry) = self.area.entry(self.produced.get()) else { return };
        for (place, word) in entry.iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        self.produced.set(self.produced.get().wrapping_add(1));
    }

    /// Stores what was added, and when to be told, where the partition sees it. After that, and a fence, [`Self::asked`].
    #[inline(always)]
    pub(crate) fn store(&self) {
        self.area.set_producer(Control { index: self.produced.get(), event: self.event.get() });
    }

    /// Whether the partition wants to be told of what was stored since this was last asked.
    #[inline(always)]
    pub(crate) fn asked(&self) -> bool {
        let now = self.produced.get();
        notify(self.area.consumer().event, now, self.told.replace(now))
    }

    /// [Stores](Self::store), with the fence.
    pub(crate) fn publish(&self) {
        self.store();
        fence(Ordering::SeqCst);
    }
}

const _: () = {
    assert!(PRODUCED.is_multiple_of(WORD) && SPACE_EVENT == PRODUCED + 4, "one word, the producer's");
    assert!(CONSUMED.is_multiple_of(WORD) && DATA_EVENT == CONSUMED + 4, "one word, the consumer's");
};
