//! Letting messages gather, or room.
//!
//! A consumer that catches up with each message takes the line away from the producer while it writes the next one, and
//! both become slow; so does a producer that waits for each slot of a full ring. A side that makes a pause before it says
//! *empty* or *full* does not. The pause grows while more than one message goes by between two such moments, and shrinks
//! otherwise, so an exchange of single messages never pays it, and neither does an idle ring; one that was in vain ends it,
//! because then the other side is not running.

use crate::sync::{Ordering, PlainAtomicU64, spin_loop};

/// log2 of the pauses at most (docs/PROTOCOL.md).
const MAX: u64 = if cfg!(loom) { 0 } else { 5 };

/// How far one handle stays behind. Its accesses are Relaxed: hints to itself, which threads may share.
#[derive(Debug)]
pub(super) struct Lag {
    /// The number of the message at which the ring was last found empty, or full.
    met: PlainAtomicU64,
    /// log2 of the pauses made then; 0 for none.
    size: PlainAtomicU64,
}

impl Lag {
    pub(super) fn new(number: u64) -> Self {
        Self { met: PlainAtomicU64::new(number), size: PlainAtomicU64::new(0) }
    }

    /// Makes a pause where the ring is empty, or full, at message `number`; says whether it did, so that it is worth looking
    /// again. At most one in a call, which begins with `paused` being `false`.
    pub(super) fn pause(&self, number: u64, paused: &mut bool) -> bool {
        let went_by = number.wrapping_sub(self.met.load(Ordering::Relaxed));
        let size = self.size.load(Ordering::Relaxed);
        let size = match *paused {
            true => 0,
            false if went_by > 1 => (size + 1).min(MAX),
            false => size.saturating_sub(1),
        };
        self.met.store(number, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        *paused = size > 0;
        if *paused {
            for _ in 0..1_u32 << size {
                spin_loop();
            }
        }
        *paused
    }
}
