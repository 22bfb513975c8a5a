//! Packets that went by paths, and are not yet counted at the ports that they passed: one sum in place of four ports'
//! counters for each packet.

use alloc::vec::Vec;

use super::member::At;

/// Greatest number of paths with deferred counts, so that a sender that resolves paths forever uses no more memory.
const MOST: usize = 1024;

/// The name of a deferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeferredId(u16);

/// Packets on one path that the ports have not counted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeferredCount {
    /// The ports, and whether packets are sent there; else they are received.
    pub(super) passes: [(At, bool); 4],
    pub(super) packets: u64,
    /// Of four bytes.
    pub(super) words: u64,
}

/// All deferred. There is room for as many as there may be.
#[derive(Debug)]
pub(super) struct DeferredCounters {
    all: Vec<DeferredCount>,
    /// Those with packets.
    full: Vec<DeferredId>,
}

impl Default for DeferredCounters {
    fn default() -> Self {
        Self { all: Vec::with_capacity(MOST), full: Vec::with_capacity(MOST) }
    }
}

impl DeferredCounters {
    /// A new deferred, unless there are too many.
    pub(super) fn open(&mut self, passes: [(At, bool); 4]) -> Option<DeferredId> {
        let id = u16::try_from(self.all.len()).ok().filter(|&id| usize::from(id) < MOST)?;
        self.all.push(DeferredCount { passes, packets: 0, words: 0 });
        Some(DeferredId(id))
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.all.clear();
        self.full.clear();
    }

    /// Returns `true` if packets are not counted yet.
    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.full.is_empty()
    }

    #[inline(always)]
    pub(super) fn pass(&mut self, id: DeferredId, words: u64) {
        let Some(deferred) = self.all.get_mut(usize::from(id.0)) else { return };
        if deferred.packets == 0 {
            self.full.push(id);
        }
        deferred.packets = deferred.packets.wrapping_add(1);
        deferred.words = deferred.words.wrapping_add(words);
    }

    /// Takes what one deferred has.
    pub(super) fn take(&mut self) -> Option<DeferredCount> {
        let deferred = self.all.get_mut(usize::from(self.full.pop()?.0))?;
        let taken = *deferred;
        (deferred.packets, deferred.words) = (0, 0);
        Some(taken)
    }
}
