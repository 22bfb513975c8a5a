//! Packets that went by paths, and are not yet counted at the ports that they passed: one sum in place of four ports'
//! counters for each packet.

use alloc::vec::Vec;

use super::member::At;

/// Tallies at most, so that who finds paths again and again takes no more memory.
const MOST: usize = 1024;

/// The name of a tally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TallyId(u16);

/// What went by one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// The ports, and whether packets are sent there; else they are received.
    pub(super) passes: [(At, bool); 4],
    pub(super) packets: u64,
    /// Of four bytes.
    pub(super) words: u64,
}

/// All tallies. There is room for as many as there may be.
#[derive(Debug)]
pub(super) struct Tallies {
    all: Vec<Tally>,
    /// Those with packets.
    full: Vec<TallyId>,
}

impl Default for Tallies {
    fn default() -> Self {
        Self { all: Vec::with_capacity(MOST), full: Vec::with_capacity(MOST) }
    }
}

impl Tallies {
    /// A new tally, unless there are too many.
    pub(super) fn open(&mut self, passes: [(At, bool); 4]) -> Option<TallyId> {
        let id = u16::try_from(self.all.len()).ok().filter(|&id| usize::from(id) < MOST)?;
        self.all.push(Tally { passes, packets: 0, words: 0 });
        Some(TallyId(id))
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.all.clear();
        self.full.clear();
    }

    /// Whether there is anything to count.
    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.full.is_empty()
    }

    #[inline(always)]
    pub(super) fn pass(&mut self, id: TallyId, words: u64) {
        let Some(tally) = self.all.get_mut(usize::from(id.0)) else { return };
        if tally.packets == 0 {
            self.full.push(id);
        }
        tally.packets = tally.packets.wrapping_add(1);
        tally.words = tally.words.wrapping_add(words);
    }

    /// Takes what one tally has.
    pub(super) fn take(&mut self) -> Option<Tally> {
        let tally = self.all.get_mut(usize::from(self.full.pop()?.0))?;
        let taken = *tally;
        (tally.packets, tally.words) = (0, 0);
        Some(taken)
    }
}
