//! The algorithms, one room a flavor. A ring borrows words; it knows neither files nor waiting.

#![allow(unsafe_code)] // one of the rooms: whoever resumes a position vouches for the memory

use core::mem::MaybeUninit;

use crate::error::Fault;
use crate::layout::Geometry;
use crate::memory::{Anchor, Memory};

mod lag;
pub(crate) mod mpmc;
pub(crate) mod spsc;

/// No room, or a reason why there never will be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    /// Nobody is there to receive.
    Closed,
    Fault(Fault),
}

/// No message, or a reason why there never will be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PopError {
    Empty,
    Fault(Fault),
}

/// Who works on a ring: its index among the peers, what it knows about the others, and how it tells them.
pub(crate) trait Peers {
    /// Whether this is the process that opened the handle; a child of it has no mapping.
    fn check(&self) -> Result<(), Fault>;

    /// Whether there are receivers, or may come some; asked before each message.
    fn is_open(&self, memory: &Memory) -> bool;

    /// Whether receivers can write to nothing but the lines before the blocks.
    fn is_one_way(&self) -> bool;

    /// So many messages were published, or taken: the other side may be waiting for that.
    fn published(&self, memory: &Memory, count: usize);

    /// This peer's index.
    fn index(&self) -> usize;

    /// Whether everybody takes part in [`Peers::barrier`].
    fn has_barrier(&self) -> bool;

    /// A memory barrier on every thread of every peer; `false` if the kernel refused it.
    fn barrier(&self) -> bool;

    /// Whether the kernel says that nobody holds that index.
    fn is_dead(&self, index: usize) -> bool;

    /// Whether the coarse clock has ticked since this was last asked: for what costs too much to do at each poll.
    fn has_ticked(&self) -> bool;

    /// As [`Peers::is_dead`], for those who ask again and again: the kernel answers once a tick, about whichever index comes
    /// first, and otherwise it is `false`.
    fn is_known_dead(&self, index: usize) -> bool {
        self.has_ticked() && self.is_dead(index)
    }

    /// Room was made that no receiver will tell the senders about.
    fn made_room(&self);

    /// So many messages were made that no sender will tell the receivers about.
    fn made_messages(&self, count: usize);
}

/// The producing side of a ring.
pub(crate) trait Produce<T>: Sized {
    /// The producing side of the ring at `anchor`, continuing where the last producer stopped.
    ///
    /// # Safety
    /// * the memory of `anchor` is valid for as long as `self`, and as long as `geometry` says;
    /// * `geometry` was computed for this flavor and `size_of::<T>()`, and `T` has no padding;
    /// * the caller holds the lease of `peers.index()`.
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault>;

    /// Publishes `message` and tells the other side, unless the ring is full or closed.
    fn push(&self, message: &T, peers: &impl Peers) -> Result<(), PushError>;

    /// Publishes messages from the front of the slice, at least one, and tells the other side; says how many.
    fn push_slice(&self, messages: &[T], peers: &impl Peers) -> Result<usize, PushError>;

    /// Messages in the ring.
    fn len(&self) -> Result<u64, Fault>;

    /// Whether no message is in the ring.
    fn is_empty(&self) -> Result<bool, Fault> {
        Ok(self.len()? == 0)
    }

    /// Whether there is no room for a message.
    fn is_full(&self) -> Result<bool, Fault>;

    /// Whether everything that was sent was taken for good.
    fn is_drained(&self) -> Result<bool, Fault> {
        self.is_empty()
    }

    /// Takes back what dead peers left behind.
    fn recover(&self, peers: &impl Peers);
}

/// The consuming side of a ring.
pub(crate) trait Consume<T>: Sized {
    /// The consuming side of the ring at `anchor`, continuing where the last consumer stopped.
    ///
    /// # Safety
    /// As [`Produce::resume`].
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault>;

    /// Takes a message to `place` and tells the other side, unless the ring is empty. All its bytes are initialized then,
    /// but they may be no valid `T`.
    fn pop(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<(), PopError>;

    /// Takes as many messages as are there, at most `messages.len()`, and tells the other side. `check` gets each, with all
    /// its bytes initialized, and makes it a valid one.
    ///
    /// The first message that `check` refuses ends the batch; if it is the very first, it is taken, and its fault returned.
    fn pop_slice(
        &self,
        messages: &mut [T],
        peers: &impl Peers,
        check: impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<usize, PopError>;

    /// Messages in the ring.
    fn len(&self) -> Result<u64, Fault>;

    /// Whether no message is in the ring.
    fn is_empty(&self) -> Result<bool, Fault> {
        Ok(self.len()? == 0)
    }

    /// Whether there is no room for a message.
    fn is_full(&self) -> Result<bool, Fault>;

    /// Takes back what dead peers left behind; says whether no message can come of what others have taken.
    fn recover(&self, peers: &impl Peers) -> bool;
}
