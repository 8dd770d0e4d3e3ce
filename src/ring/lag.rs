//! Staying behind: letting messages gather, or room.
//!
//! A consumer that catches up with each message takes the line away from the producer while it writes the next one, and
//! both become slow; so does a producer of the MPMC ring that waits for each slot of a full one. A side that makes a pause
//! when it has caught up does not. There are two kinds:
//!
//! * [`Lag::pause`], before a side says *empty* or *full*, grows while many messages go by between two such moments, and is
//!   never longer than what went by is worth, nor than the ring is large: an exchange of a few messages at a time does not
//!   pay it, nor do a small or an idle ring.
//! * [`Lag::keep`] is a trial, once in a while, for two sides that meet at each message: they are so slow that nothing goes
//!   by, and look like an exchange of single messages. One of them rests, looks at nothing but the other's hint meanwhile,
//!   and goes on as long as that shows that messages (or room) come in quickly and are still few. Trials become rarer where
//!   little comes of them. A ring that is not large has none: there, one lap is hardly longer than a meeting.

use crate::sync::{Ordering, PlainAtomicU64, spin_loop};

/// log2 of the pauses before *empty* or *full*, at most (docs/PROTOCOL.md). None in models: it would let the other thread
/// finish what it is about.
const MAX: u64 = if cfg!(loom) { 0 } else { 5 };
/// log2 of the messages that have to go by for each pause: the least that leaves exchanges of two or three alone.
const WORTH: u64 = 1;

/// Messages (SPSC: blocks of them) from one trial to the next, at least.
pub(super) const DISTANCE: u64 = 64;
/// For a ring without trials.
const NEVER: u64 = u64::MAX / 2;
/// How much rarer trials become.
const RARER: u64 = 64;
/// log2 of the pauses in a trial before its first look ...
const FIRST: u64 = if cfg!(loom) { 0 } else { 3 };
/// ... and between two later ones ...
const NEXT: u64 = if cfg!(loom) { 0 } else { 4 };
/// ... of which there are so many at most.
const LOOKS: u64 = 16;
/// Messages between two looks, at least, in a stream that is worth waiting for ...
const QUICK: u64 = 2;
/// ... but for so many looks in a row: a batch tells of its messages a few at a time.
const MISSES: u64 = 2;
/// Enough messages, or room for so many, to go on with; half of them are no reason for a trial.
const GOAL: u64 = 256;
/// Fewer after a trial, and it was in vain: an exchange of some messages at a time, or a slow stream.
const ENOUGH: u64 = GOAL / 4;

/// How far one handle stays behind. Its accesses are Relaxed: hints to itself, which threads may share.
#[derive(Debug)]
pub(super) struct Lag {
    /// The number of the message at which the ring was last found empty, or full.
    met: PlainAtomicU64,
    /// log2 of the pauses made then; 0 for none.
    size: PlainAtomicU64,
    /// The number of the message at which there is a trial.
    due: PlainAtomicU64,
    /// How far it is from one trial to the next ...
    distance: PlainAtomicU64,
    /// ... at least.
    least: u64,
    capacity: u64,
}

/// From one trial to the next, for who looks for nothing else then.
pub(super) fn distance(capacity: u64) -> u64 {
    if capacity > GOAL { DISTANCE } else { NEVER }
}

fn make(size: u64) {
    if size > 0 {
        for _ in 0..1_u32 << size {
            spin_loop();
        }
    }
}

impl Lag {
    /// From message `number` on, with at least `least` messages between two trials.
    pub(super) fn new(number: u64, capacity: u64, least: u64) -> Self {
        let [met, due, distance] = [number, number.wrapping_add(least), least].map(PlainAtomicU64::new);
        Self { met, size: PlainAtomicU64::new(0), due, distance, least, capacity }
    }

    /// Whether message `number` is a reason to [`Lag::keep`] behind.
    #[inline(always)]
    pub(super) fn is_due(&self, number: u64) -> bool {
        number.wrapping_sub(self.due.load(Ordering::Relaxed)) <= u64::MAX / 2
    }

    /// Looks whether messages, or room, are few from `number` on, and rests if that helps, so that this call needs no other
    /// pause; says how many there are then. `hint` is the first one that is not known to be, or to have any.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&self, number: u64, paused: &mut bool, hint: impl Fn() -> u64) -> u64 {
        // A hint may be behind.
        let look = || Some(hint().wrapping_sub(number)).filter(|there| *there <= self.capacity).unwrap_or(0);
        let mut there = look();
        let mut distance = (there / 2).max(self.least);
        if there <= GOAL / 2 && self.capacity > GOAL && !*paused {
            *paused = true;
            there = gather(look);
            if there < ENOUGH {
                distance = (self.least * RARER).min(self.distance.load(Ordering::Relaxed) * 2);
            }
        }
        self.distance.store(distance, Ordering::Relaxed);
        self.due.store(number.wrapping_add(distance), Ordering::Relaxed);
        there
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

/// Rests as long as messages come in quickly and are few; says how many are there then.
fn gather(look: impl Fn() -> u64) -> u64 {
    let (mut there, mut size, mut misses) = (0, FIRST, 0);
    for _ in 0..LOOKS {
        make(size);
        let before = there;
        there = look();
        misses = if there < before + QUICK { misses + 1 } else { 0 };
        if there >= GOAL || misses > MISSES {
            break;
        }
        size = NEXT;
    }
    there
}
