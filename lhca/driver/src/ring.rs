//! Both ends of a ring. Own index and event index are remembered here; the hypervisor is trusted to keep the contract,
//! but a wrong index of its makes no more than wrong entries.
//!
//! Fences are those of `hca_driver::ring`: release before an index is published, acquire after the other's is read, and
//! a full fence between publishing an index and reading the other side's event index, which x86 would reorder.

use core::sync::atomic::{Ordering, fence};

use lhca_contract::ring::{CONSUMED, DATA_EVENT, PRODUCED, SPACE_EVENT, notify};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::Full;
use crate::memory::RingMemory;

/// Need of a notification of the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Told {
    Ring,
    Quiet,
}

impl Told {
    fn when(asked: bool) -> Self {
        if asked { Self::Ring } else { Self::Quiet }
    }
}

/// The end that fills a ring.
#[derive(Debug)]
pub(crate) struct Producer<E> {
    pub(crate) ring: RingMemory<E>,
    produced: u32,
    /// Of that, what the hypervisor sees.
    published: u32,
    consumed: u32,
}

impl<E: FromBytes + IntoBytes + Immutable> Producer<E> {
    pub(crate) fn new(ring: RingMemory<E>) -> Self {
        Self { ring, produced: 0, published: 0, consumed: 0 }
    }

    /// Adds an entry, which the hypervisor does not see before it is published.
    pub(crate) fn put(&mut self, entry: &E) -> Result<(), Full> {
        if self.room() == 0 {
            return Err(Full);
        }
        self.ring.write(self.produced, entry);
        self.produced = self.produced.wrapping_add(1);
        Ok(())
    }

    /// Publishes what was added.
    #[inline]
    pub(crate) fn publish(&mut self) -> Told {
        let before = core::mem::replace(&mut self.published, self.produced);
        self.ring.control(PRODUCED).store(self.produced, Ordering::Release);
        fence(Ordering::SeqCst);
        Told::when(notify(self.ring.control(DATA_EVENT).load(Ordering::Relaxed), self.produced, before))
    }

    /// Entries that there is room for.
    pub(crate) fn room(&mut self) -> u32 {
        if self.produced.wrapping_sub(self.consumed) >= self.ring.entries() {
            self.consumed = self.ring.control(CONSUMED).load(Ordering::Acquire);
        }
        self.ring.entries().saturating_sub(self.produced.wrapping_sub(self.consumed))
    }

    /// Asks for the interrupt when the next entry is consumed; says whether there is room already.
    pub(crate) fn arm(&mut self) -> bool {
        self.ring.control(SPACE_EVENT).store(self.consumed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.room() > 0
    }
}

/// The end that empties a ring.
#[derive(Debug)]
pub(crate) struct Consumer<E> {
    pub(crate) ring: RingMemory<E>,
    consumed: u32,
    produced: u32,
}

impl<E: FromBytes + IntoBytes + Immutable> Consumer<E> {
    pub(crate) fn new(ring: RingMemory<E>) -> Self {
        Self { ring, consumed: 0, produced: 0 }
    }

    pub(crate) fn pop(&mut self) -> Option<(E, Told)> {
        if !self.waiting() {
            return None;
        }
        let entry = self.ring.read(self.consumed);
        let before = self.consumed;
        self.consumed = before.wrapping_add(1);
        self.ring.control(CONSUMED).store(self.consumed, Ordering::Release);
        fence(Ordering::SeqCst);
        let asked = notify(self.ring.control(SPACE_EVENT).load(Ordering::Relaxed), self.consumed, before);
        Some((entry, Told::when(asked)))
    }

    /// Asks for the interrupt when the next entry is produced; says whether one is there already.
    pub(crate) fn arm(&mut self) -> bool {
        self.ring.control(DATA_EVENT).store(self.consumed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.waiting()
    }

    fn waiting(&mut self) -> bool {
        if self.produced == self.consumed {
            self.produced = self.ring.control(PRODUCED).load(Ordering::Acquire);
        }
        self.produced != self.consumed
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use lhca_contract::Completion;

    use super::*;
    use crate::memory::Line;

    #[test]
    fn indices_wrap_around() {
        let memory = || RingMemory::new(std::vec![Line::ZERO; RingMemory::<Completion>::lines(2)].leak(), 2);
        let start = u32::MAX - 5;
        let mut producer = Producer { ring: memory(), produced: start, published: start, consumed: start };
        let mut consumer = Consumer { ring: memory(), produced: start, consumed: start };
        producer.ring.control(CONSUMED).store(start, Ordering::Relaxed);
        for i in 0..20 {
            let entry = Completion { id: i, ..Completion::default() };
            // What the producer publishes is carried over to the consumer's ring, and back.
            let asked = i % 3 == 0;
            if asked {
                producer.ring.control(DATA_EVENT).store(producer.produced, Ordering::Relaxed);
                consumer.ring.control(SPACE_EVENT).store(consumer.consumed, Ordering::Relaxed);
            }
            producer.put(&entry).unwrap();
            assert_eq!(producer.publish(), Told::when(asked));
            consumer.ring.write(consumer.consumed, &producer.ring.read(consumer.consumed));
            consumer.ring.control(PRODUCED).store(producer.produced, Ordering::Relaxed);
            assert_eq!(consumer.pop(), Some((entry, Told::when(asked))));
            assert_eq!(consumer.pop(), None);
            producer.ring.control(CONSUMED).store(consumer.consumed, Ordering::Relaxed);
        }
        assert!(producer.produced < start, "it wrapped");
        for _ in 0..4 {
            assert!(producer.put(&Completion::default()).is_ok());
        }
        assert_eq!(producer.put(&Completion::default()), Err(Full));
    }
}
