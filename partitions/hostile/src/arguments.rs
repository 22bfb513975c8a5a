//! Arguments for hypercalls.
#![allow(clippy::cast_possible_truncation)] // places in what is shorter

use lhca_contract::Call;

/// Calls that there are, and some that there are not.
const CALLS: core::ops::RangeInclusive<u64> = 0..=Call::QUERY_EXITS.0 + 4;

/// The three arguments of a hypercall.
pub type Arguments = [u64; 3];

/// Values at the edges of what an argument can mean: a number, a port, an index, a handle, an address in `memory` bytes
/// of memory, of which those from `scratch` on are ours to lose.
#[must_use]
pub fn boundaries(memory: u64, scratch: u64) -> [u64; 24] {
    [
        0,
        1,
        2,
        3,
        31,
        32,
        255,
        256,
        0xffff,
        0x0001_0000, // the first handle of the first kind
        0x0001_0100, // and of the second
        0x0001_0200, // and of the third
        0x0001_0001,
        0xffff_ffff,
        1 << 32,
        scratch,
        scratch + 4,
        scratch + 8,
        memory - 8,
        memory,
        memory + 8,
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ]
}

/// Every call with every triple of boundary values, but for the one that ends the partition.
pub fn every_call(values: [u64; 24]) -> impl Iterator<Item = (Call, Arguments)> {
    let triples = move || {
        let pairs = move |a| values.into_iter().flat_map(move |b| values.into_iter().map(move |c| [a, b, c]));
        values.into_iter().flat_map(pairs)
    };
    CALLS.map(Call).filter(|&call| call != Call::EXIT).flat_map(move |call| triples().map(move |triple| (call, triple)))
}

/// Numbers that look random, the same ones for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        // The state counts; what is given is mixed from it.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A call, and arguments that are boundary values, small numbers, addresses of memory that is ours to lose
    /// (`scratch`), or anything that is no address of memory which we still need.
    pub fn call(&mut self, values: &[u64; 24], scratch: core::ops::Range<u64>) -> (Call, Arguments) {
        let call = loop {
            let call = Call(self.below(CALLS.end() + 2));
            if call != Call::EXIT {
                break call;
            }
        };
        let argument = |random: &mut Self| match random.below(4) {
            0 => values[random.below(values.len() as u64) as usize],
            1 => random.below(64),
            2 => scratch.start + (random.below(scratch.end - scratch.start) & !7),
            _ => match random.number() >> random.below(64) {
                needed if (64..scratch.end).contains(&needed) => needed | 1 << 32,
                other => other,
            },
        };
        (call, [argument(self), argument(self), argument(self)])
    }
}
