//! Sleeping until the other side has done something, without costing it anything while nobody sleeps.
//!
//! Each side owns one **event word** in which it tells the other side about itself:
//!
//! ```text
//! bit 0      SLEEPING   I may be asleep: wake me when you have done something
//! bit 1      CLOSED     I have dropped my handle
//! bits 2..   epoch      changes with every wake-up, so that a late sleeper does not fall asleep
//! ```
//!
//! # Why no wake-up is lost
//!
//! ```text
//! waker                                   waiter
//! W1  publish (store to the ring)         S1  event |= SLEEPING
//! W2  light barrier                       S2  heavy barrier
//! W3  load event                          S3  look at the ring again
//! W4  SLEEPING? next epoch, wake          S4  sleep if event is still what S1 left
//! ```
//!
//! This is the store-buffer pattern: W1 before W3, S1 before S3, and at least one of W3 and S3 must see the other side's
//! store. Two barriers do that, and which ones is the region's [`Barrier`]:
//!
//! * `Membarrier`: the heavy one is the system call `membarrier`, which runs a full barrier on every running thread of
//!   the waker's process (one that does not run passes one in the scheduler). It lands before W1, and then S3 sees W1; or
//!   after W1, and then W3, which the light barrier keeps behind W1 in program order, comes after S1. The light barrier
//!   constrains the compiler only.
//! * `Fence`: both are `SeqCst` fences, for which C++ [atomics.fences] promises the same.
//!
//! If W3 sees the bit but the waiter has not slept yet, W4 has changed the epoch and S4 returns at once. A waker that is
//! killed between W1 and W4 leaves a sleeper behind: therefore sleepers sleep in slices, and look at the ring and at the
//! other side's lease after each. A waiter that is killed leaves its bit behind, which costs the other side one wake-up
//! in vain.
//!
//! In an MPMC region several peers share an event word. Then a wake-up keeps the bit as long as it woke as many as it
//! wanted, an announcement moves the epoch, and nobody retracts; whoever was woken and dies before it has taken the
//! message leaves it to the others' next slice, or to the next message's wake-up. CLOSED is not used there, because the
//! end of one peer is not the end of its role: a count of those attached lies beside the word.
//!
//! `tests/model_wait.rs` explores all of this, also with each barrier left out, and then finds the lost wake-up.

use core::time::Duration;

use crate::sync::{AtomicU32, Ordering, compiler_fence, fence};
use crate::sys::{futex, membarrier};

/// The owner of the word may be asleep.
pub(crate) const SLEEPING: u32 = 1;
/// The owner of the word has dropped its handle.
pub(crate) const CLOSED: u32 = 2;
/// One wake-up.
const EPOCH: u32 = 4;

/// What a handle does while it has to wait.
///
/// Whichever it is, nothing is polled once a handle sleeps, and a crash of the other side is noticed within 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// Poll for ever: the lowest latency, for one core.
    Spin,
    /// Poll for about 20 us, then yield, then sleep in the kernel. On a machine with one core it does not poll.
    #[default]
    Adaptive,
    /// Sleep in the kernel at once.
    Park,
}

/// Who pays for the order between publishing and looking for sleepers; fixed when the region is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The waiter, by a system call.
    Membarrier,
    /// Both, by a fence.
    Fence,
}

impl Barrier {
    /// W2: between publishing and looking for sleepers.
    #[inline(always)]
    pub(crate) fn light(self) {
        match self {
            Self::Membarrier => compiler_fence(Ordering::SeqCst),
            Self::Fence => costly_fence(),
        }
    }

    /// W2, where publishing was an exchange. On x86-64 that is a full barrier by itself; elsewhere a load may be satisfied
    /// before the exchange's store is visible.
    #[inline(always)]
    pub(crate) fn light_after_exchange(self) {
        if cfg!(target_arch = "x86_64") && !cfg!(loom) {
            compiler_fence(Ordering::SeqCst);
        } else {
            self.light();
        }
    }

    /// S2: between announcing sleep and looking at the ring.
    fn heavy(self) {
        match self {
            // Refused only in a sandbox that was entered since; then a wake-up may be missed, and the slice ends.
            Self::Membarrier => {
                let _ = membarrier::issue();
            }
            Self::Fence => fence(Ordering::SeqCst),
        }
    }
}

/// Tells the compiler that the branch to it is the rare one.
#[cold]
fn costly_fence() {
    fence(Ordering::SeqCst);
}

/// W3 and W4: wakes the owner of `event` if it may be asleep. The caller has published, and passed the light barrier.
#[inline(always)]
pub(crate) fn wake(event: &AtomicU32) {
    // Relaxed: ordered by the barriers of the module's proof.
    if event.load(Ordering::Relaxed) & SLEEPING != 0 {
        wake_sleeper(event);
    }
}

#[cold]
#[inline(never)]
fn wake_sleeper(event: &AtomicU32) {
    // An exact exchange, so that CLOSED is kept and only one waker clears the bit. It fails only if the owner changed
    // its own word, and an owner does that a few times a call; one that does it for ever gains nothing, because the
    // wake-up comes anyway.
    for _ in 0..8 {
        let seen = event.load(Ordering::Relaxed);
        if seen & SLEEPING == 0 {
            return;
        }
        let next = (seen & !SLEEPING).wrapping_add(EPOCH);
        if event.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            break;
        }
    }
    futex::wake_all(event);
}

/// W3 and W4 for a word on which several may sleep: wakes up to `count` of them.
///
/// The bit stays as long as as many slept as were woken, because there may be more; the first wake-up that finds fewer
/// clears it. So `count` messages wake `count` receivers, not all of them.
#[inline(always)]
pub(crate) fn wake_some(event: &AtomicU32, count: usize) {
    // Relaxed: ordered by the barriers of the module's proof.
    if event.load(Ordering::Relaxed) & SLEEPING != 0 {
        wake_sleepers(event, count);
    }
}

#[cold]
#[inline(never)]
fn wake_sleepers(event: &AtomicU32, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX).min(i32::MAX as u32);
    // It fails if somebody else wakes or falls asleep at the same time; if that goes on, the wake-up comes anyway.
    for _ in 0..8 {
        let seen = event.load(Ordering::Relaxed);
        if seen & SLEEPING == 0 {
            return;
        }
        let next = seen.wrapping_add(EPOCH);
        if event.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            if futex::wake(event, count) < count {
                // Exactly: whoever has announced itself since has moved the epoch, and keeps its bit.
                let _ = event.compare_exchange(next, next & !SLEEPING, Ordering::Relaxed, Ordering::Relaxed);
            }
            return;
        }
    }
    futex::wake(event, count);
}

/// S1 and S2 on a word on which several may sleep. Returns the word to sleep on.
///
/// Every announcement moves the epoch, so that no waker takes the bit away from a sleeper that it did not know of.
pub(crate) fn announce_among(event: &AtomicU32, barrier: Barrier) -> u32 {
    let mut seen = event.load(Ordering::Relaxed);
    let mut announced = seen;
    for _ in 0..64 {
        announced = (seen | SLEEPING).wrapping_add(EPOCH);
        // Relaxed: ordered by the barriers of the module's proof.
        match event.compare_exchange(seen, announced, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break,
            // After so many lost races the word is not what was announced, and nobody falls asleep on it.
            Err(found) => seen = found,
        }
    }
    barrier.heavy();
    announced
}

/// S1 and S2: tells the other side that this one may sleep. Returns the word to sleep on.
pub(crate) fn announce(event: &AtomicU32, barrier: Barrier) -> u32 {
    // Relaxed: ordered by the barriers of the module's proof.
    let announced = event.fetch_or(SLEEPING, Ordering::Relaxed) | SLEEPING;
    barrier.heavy();
    announced
}

/// S4: sleeps until woken, or for `slice` at the longest. May return for no reason.
pub(crate) fn sleep(event: &AtomicU32, announced: u32, slice: Duration) {
    futex::wait(event, announced, slice);
}

/// Takes back an announcement, which saves the other side a wake-up in vain.
pub(crate) fn retract(event: &AtomicU32) {
    // Relaxed: a bit that is seen late costs one such wake-up, nothing else.
    event.fetch_and(!SLEEPING, Ordering::Relaxed);
}

/// Says that the owner is gone. Everything that it published is visible to whoever sees the bit.
pub(crate) fn close(event: &AtomicU32) {
    // Release: pairs with the Acquire in `channel::endpoint`, so "closed, and then still empty" is final.
    event.fetch_or(CLOSED, Ordering::Release);
}

/// Says that there is an owner, who is awake.
pub(crate) fn open(event: &AtomicU32) {
    // Relaxed: nothing is published by it.
    event.fetch_and(!(CLOSED | SLEEPING), Ordering::Relaxed);
}
