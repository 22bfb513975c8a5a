//! Address space identifiers (ASIDs), by which a processor tells the cached translations of one guest from another's
//! (APM vol. 2, 15.16). There are few, so they are used again, after all translations were forgotten.

use super::vmcb::TlbControl;

/// The ASIDs of one processor.
#[derive(Debug)]
pub struct Asids {
    count: u32,
    next: u32,
    generation: u64,
}

/// The ASID that a guest has, on the processor that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asid {
    /// The number; 0 is the host's, and that of a guest that never ran.
    pub number: u32,
    generation: u64,
    cpu: usize,
}

impl Asids {
    /// A processor's `count` ASIDs, the host's (0) included; there are two at least.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        // Every ASID counts as given away: the first guest begins a generation, and with it a flush.
        Self { count, next: count, generation: 0 }
    }

    /// Sees to it that `held` is good on this processor, the `cpu`th, and says what must be flushed at entry.
    pub fn assign(&mut self, held: &mut Asid, cpu: usize) -> TlbControl {
        if held.number != 0 && held.generation == self.generation && held.cpu == cpu {
            return TlbControl::Keep;
        }
        let mut flush = TlbControl::Keep;
        if self.next >= self.count {
            self.generation += 1;
            self.next = 1;
            flush = TlbControl::FlushAll;
        }
        *held = Asid { number: self.next, generation: self.generation, cpu };
        self.next += 1;
        flush
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A model of the processors' caches: whose translations each ASID may have. No guest ever runs with another's.
        #[test]
        fn no_guest_meets_anothers_translations(
            count in 2_u32..6, runs in prop::collection::vec((0_usize..2, 0_usize..9, prop::bool::weighted(0.1)), 1..300)
        ) {
            let mut cpus = [Asids::new(count), Asids::new(count)];
            let mut caches = [HashMap::new(), HashMap::new()];
            let mut guests: Vec<(Asid, u32)> = vec![(Asid::default(), 0); 9];
            for (cpu, guest, restart) in runs {
                let (held, life) = &mut guests[guest];
                if restart {
                    // Another guest in its place, whose memory is elsewhere.
                    *held = Asid::default();
                    *life += 1;
                }
                if cpus[cpu].assign(held, cpu) == TlbControl::FlushAll {
                    caches[cpu].clear();
                }
                prop_assert!((1..count).contains(&held.number));
                let owner = *caches[cpu].entry(held.number).or_insert((guest, *life));
                prop_assert_eq!(owner, (guest, *life));
            }
        }
    }

    #[test]
    fn a_guest_that_stays_keeps_its_translations() {
        let mut asids = Asids::new(3);
        let mut held = Asid::default();
        assert_eq!(asids.assign(&mut held, 0), TlbControl::FlushAll, "whatever the processor did before");
        assert_eq!(asids.assign(&mut held, 0), TlbControl::Keep);
        let mut other = Asid::default();
        assert_eq!(asids.assign(&mut other, 0), TlbControl::Keep);
        assert_ne!(held.number, other.number);
        assert_eq!(asids.assign(&mut Asid::default(), 0), TlbControl::FlushAll);
        assert_eq!(asids.assign(&mut held, 0), TlbControl::Keep, "a new number, not used since the flush");
    }
}
