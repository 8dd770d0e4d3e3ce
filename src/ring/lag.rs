//! Staying behind: letting messages gather, or room.
//!
//! A consumer that catches up with each message takes the line away from the producer while it writes the next one, and
//! both become slow; so does a producer of the MPMC ring that waits for each slot of a full one. A side that makes a pause
//! when it has caught up does not. Whether it pays is a matter of trial, because two sides in each other's way are so slow
//! that they look like an exchange of single messages: a side pauses shortly, looks at nothing but the other side's hint
//! meanwhile, and goes on as long as that shows that messages (or room) come in quickly and are still few. It tries
//!
//! * where it finds the ring empty, or full, for as long as what went by since it last did is worth;
//! * after so many messages, whatever it finds, and ever less often where nothing comes of it.
//!
//! So an exchange of a few messages at a time pays next to nothing, nor do a small or an idle ring.

use crate::sync::{Ordering, PlainAtomicU64, spin_loop};

/// log2 of the processor's pauses in the first round, at most; each further round is twice as long ...
const FIRST: u32 = 3;
/// ... up to this one.
const LAST: u32 = 7;
/// log2 of the messages that have to go by for each pause of the first round: the least that leaves exchanges of two or
/// three alone.
const WORTH: u32 = 1;
/// Enough messages, or room for so many, to go on with.
const GOAL: u64 = 256;
/// Messages (SPSC: blocks of them) from one trial to the next, at least. In models it is always time for one.
pub(super) const DISTANCE: u64 = if cfg!(loom) { 0 } else { 64 };
/// How much rarer trials become where nothing comes of them.
const RARER: u64 = 64;

/// How far one handle stays behind. Its accesses are Relaxed: hints to itself, which threads may share.
#[derive(Debug)]
pub(super) struct Lag {
    /// The number of the message at which the ring was last found empty, or full.
    met: PlainAtomicU64,
    /// The number of the message at which there is a trial, whatever is found.
    due: PlainAtomicU64,
    /// How far it is from one of these to the next ...
    distance: PlainAtomicU64,
    /// ... at least.
    least: u64,
    capacity: u64,
}

impl Lag {
    /// From message `number` on, with at least `least` messages between two trials.
    pub(super) fn new(number: u64, capacity: u64, least: u64) -> Self {
        let [met, due, distance] = [number, number.wrapping_add(least), least].map(PlainAtomicU64::new);
        Self { met, due, distance, least, capacity }
    }

    /// Whether message `number` is a reason to [`Lag::keep`] behind.
    #[inline(always)]
    pub(super) fn is_due(&self, number: u64) -> bool {
        number.wrapping_sub(self.due.load(Ordering::Relaxed)) <= u64::MAX / 2
    }

    /// Stays behind, or does not, before message `number`; says how many messages are there then, or have room. `hint` is
    /// the first one that is not known to be, or to have.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&self, number: u64, hint: impl Fn() -> u64) -> u64 {
        let mut there = self.there(number, &hint);
        let mut distance = there.max(self.least);
        if there < self.goal() {
            there = self.gather(number, FIRST, &hint);
            if there >> FIRST == 0 {
                distance = (self.least * RARER).min(self.distance.load(Ordering::Relaxed) * 2);
            }
        }
        self.distance.store(distance, Ordering::Relaxed);
        self.due.store(number.wrapping_add(distance), Ordering::Relaxed);
        there
    }

    /// Makes a pause where the ring is empty, or full, at message `number`, unless this call has made one; says whether it
    /// did, so that it is worth looking again. `hint` as above.
    pub(super) fn pause(&self, number: u64, paused: &mut bool, hint: impl Fn() -> u64) -> bool {
        if *paused {
            return false;
        }
        let went_by = number.wrapping_sub(self.met.load(Ordering::Relaxed));
        self.met.store(number, Ordering::Relaxed);
        let worth = (went_by >> WORTH).checked_ilog2().unwrap_or(0);
        if worth > 0 {
            *paused = true;
            self.gather(number, worth.min(FIRST), &hint);
        }
        *paused
    }

    fn goal(&self) -> u64 {
        GOAL.min(self.capacity / 2)
    }

    /// A hint may be behind.
    fn there(&self, number: u64, hint: &impl Fn() -> u64) -> u64 {
        Some(hint().wrapping_sub(number)).filter(|there| *there <= self.capacity).unwrap_or(0)
    }

    /// Pauses as long as messages come in quickly and are few; says how many are there then.
    fn gather(&self, number: u64, first: u32, hint: &impl Fn() -> u64) -> u64 {
        let mut there = 0;
        for round in first..=LAST {
            let pauses = 1 << round;
            // None in models: they would let the other thread finish what it is about.
            for _ in 0..if cfg!(loom) { 0 } else { pauses } {
                spin_loop();
            }
            let before = there;
            there = self.there(number, hint);
            if there >= self.goal() || there < before + pauses / 4 {
                break;
            }
        }
        there
    }
}
