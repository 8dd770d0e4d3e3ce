//! Choices that a failing run can repeat.

use crate::harness::seed;

/// A generator of Steele, Lea and Flood (SplitMix, 2014).
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// From the seed of this run, which is printed with every failure.
    pub(crate) fn seeded() -> Self {
        Self::new(seed())
    }

    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
