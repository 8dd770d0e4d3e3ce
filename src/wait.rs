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
//! in vain. `tests/model_wait.rs` explores all of this, also with each barrier left out, and then finds the lost wake-up.

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
            Self::Fence => fence(Ordering::SeqCst),
        }
    }

    /// S2: between announcing sleep and looking at the ring.
    fn heavy(self) {
        match self {
            Self::Membarrier => membarrier::issue(),
            Self::Fence => fence(Ordering::SeqCst),
        }
    }
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
    // Release: pairs with the Acquire in `is_closed`, so "closed, and then still empty" is final.
    event.fetch_or(CLOSED, Ordering::Release);
}

/// Says that there is an owner, who is awake.
pub(crate) fn open(event: &AtomicU32) {
    // Relaxed: nothing is published by it.
    event.fetch_and(!(CLOSED | SLEEPING), Ordering::Relaxed);
}

/// Whether the owner has said that it is gone.
pub(crate) fn is_closed(event: &AtomicU32) -> bool {
    // Acquire: pairs with the Release in `close`.
    event.load(Ordering::Acquire) & CLOSED != 0
}
