//! Letting messages gather, or room.
//!
//! A consumer that catches up with each message takes the line away from the producer while it writes the next one, and
//! both become slow; so does a producer of the MPMC ring that waits for each slot of a full one. A side that makes a pause
//! before it says *empty* or *full* does not. The pause grows while many messages go by between two such moments, and is
//! never longer than what went by is worth, nor than the ring is large: an exchange of a few messages at a time does not
//! pay it, nor do a small or an idle ring. [`stay_behind`] is for a consumer that keeps up and never finds the ring empty.

use crate::sync::{Ordering, PlainAtomicU64, spin_loop};

/// log2 of the pauses at most (docs/PROTOCOL.md). None in models: it would let the other thread finish what it is about.
const MAX: u64 = if cfg!(loom) { 0 } else { 5 };

/// log2 of the messages that have to go by for each pause: the least that leaves exchanges of two or three alone.
const WORTH: u64 = 1;

/// How far one handle stays behind. Its accesses are Relaxed: hints to itself, which threads may share.
#[derive(Debug)]
pub(super) struct Lag {
    /// The number of the message at which the ring was last found empty, or full.
    met: PlainAtomicU64,
    /// log2 of the pauses made then; 0 for none.
    size: PlainAtomicU64,
    capacity: u64,
}

/// The longest pause.
pub(super) fn stay_behind() {
    make(MAX);
}

fn make(size: u64) {
    if size > 0 {
        for _ in 0..1_u32 << size {
            spin_loop();
        }
    }
}

impl Lag {
    pub(super) fn new(number: u64, capacity: u64) -> Self {
        Self { met: PlainAtomicU64::new(number), size: PlainAtomicU64::new(0), capacity }
    }

    /// Makes a pause where the ring is empty, or full, at message `number`, unless this call has made one; says whether it
    /// did, so that it is worth looking again.
    pub(super) fn pause(&self, number: u64, paused: &mut bool) -> bool {
        if *paused {
            return false;
        }
        let went_by = number.wrapping_sub(self.met.load(Ordering::Relaxed));
        let worth = u64::from((went_by >> WORTH).checked_ilog2().unwrap_or(0));
        let size = self.size.load(Ordering::Relaxed);
        // Where a whole ring has gone by, a longer pause would let the other side wait.
        let size = if went_by < self.capacity { size + 1 } else { size };
        let size = size.min(worth).min(MAX);
        self.met.store(number, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        *paused = size > 0;
        make(size);
        *paused
    }
}
