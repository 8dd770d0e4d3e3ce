//! The two kinds of ring behind one type: with a message a slot, and with up to a batch of them.

use core::mem::MaybeUninit;

use super::consume::{self, Taken};
use super::produce;
use crate::error::Fault;
use crate::layout::Geometry;
use crate::memory::Anchor;
use crate::ring::{Consume, Peers, PopError, Produce, PushError};

/// The producing side of either kind.
#[derive(Debug)]
pub(crate) enum Producer<T> {
    Single(produce::Producer<T, false>),
    Packed(produce::Producer<T, true>),
}

/// The consuming side of either kind.
#[derive(Debug)]
pub(crate) enum Consumer<T> {
    Single(consume::Consumer<T, false>),
    Packed(consume::Consumer<T, true>),
}

macro_rules! either {
    ($side:expr, $ring:ident => $call:expr) => {
        match $side {
            Self::Single($ring) => $call,
            Self::Packed($ring) => $call,
        }
    };
}

/// [`Produce::push`] as a call: inlined beside the other kind, it would slow that down.
#[inline(never)]
fn push_outlined<T>(ring: &produce::Producer<T, true>, message: &T, peers: &impl Peers) -> Result<(), PushError> {
    ring.push(message, peers)
}

/// [`Consume::pop`] as a call, for the same reason.
#[inline(never)]
fn pop_outlined<T>(
    ring: &consume::Consumer<T, true>,
    place: &mut MaybeUninit<T>,
    peers: &impl Peers,
) -> Result<(), PopError> {
    ring.pop(place, peers)
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Single(ring) => Self::Single(ring.clone()),
            Self::Packed(ring) => Self::Packed(ring.clone()),
        }
    }
}

impl<T> Clone for Consumer<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Single(ring) => Self::Single(ring.clone()),
            Self::Packed(ring) => Self::Packed(ring.clone()),
        }
    }
}

impl<T> Produce<T> for Producer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        if geometry.packed {
            // SAFETY: the caller's promise is the one that is asked for.
            unsafe { produce::Producer::resume(anchor, geometry, peers) }.map(Self::Packed)
        } else {
            // SAFETY: as above.
            unsafe { produce::Producer::resume(anchor, geometry, peers) }.map(Self::Single)
        }
    }

    #[inline(always)]
    fn push(&self, message: &T, peers: &impl Peers) -> Result<(), PushError> {
        match self {
            Self::Single(ring) => ring.push(message, peers),
            Self::Packed(ring) => push_outlined(ring, message, peers),
        }
    }

    fn push_slice(&self, messages: &[T], peers: &impl Peers) -> Result<usize, PushError> {
        either!(self, ring => ring.push_slice(messages, peers))
    }

    fn len(&self) -> Result<u64, Fault> {
        either!(self, ring => ring.len())
    }

    fn is_empty(&self) -> Result<bool, Fault> {
        either!(self, ring => ring.is_empty())
    }

    fn is_full(&self) -> Result<bool, Fault> {
        either!(self, ring => ring.is_full())
    }

    fn is_drained(&self) -> Result<bool, Fault> {
        either!(self, ring => ring.is_drained())
    }

    fn recover(&self, peers: &impl Peers) {
        either!(self, ring => ring.recover(peers));
    }
}

impl<T> Consume<T> for Consumer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        if geometry.packed {
            // SAFETY: the caller's promise is the one that is asked for.
            unsafe { consume::Consumer::resume(anchor, geometry, peers) }.map(Self::Packed)
        } else {
            // SAFETY: as above.
            unsafe { consume::Consumer::resume(anchor, geometry, peers) }.map(Self::Single)
        }
    }

    #[inline(always)]
    fn pop(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<(), PopError> {
        match self {
            Self::Single(ring) => ring.pop(place, peers),
            Self::Packed(ring) => pop_outlined(ring, place, peers),
        }
    }

    fn pop_slice(
        &self,
        messages: &mut [T],
        peers: &impl Peers,
        check: impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<usize, PopError> {
        either!(self, ring => ring.pop_slice(messages, peers, check))
    }

    fn len(&self) -> Result<u64, Fault> {
        either!(self, ring => ring.len())
    }

    fn is_empty(&self) -> Result<bool, Fault> {
        either!(self, ring => ring.is_empty())
    }

    fn is_full(&self) -> Result<bool, Fault> {
        either!(self, ring => ring.is_full())
    }

    fn recover(&self, peers: &impl Peers) -> bool {
        either!(self, ring => ring.recover(peers))
    }
}

impl<T> Consumer<T> {
    /// As [`Consume::pop`], but the message stays in its slot until it is acknowledged.
    pub(crate) fn take_guarded(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<Taken, PopError> {
        match self {
            Self::Single(ring) => ring.take_guarded(place, peers),
            Self::Packed(_) => Err(PopError::Fault(peers.check().err().unwrap_or(Fault::Packed))),
        }
    }

    /// Ends a guard: the message is done with, or is to be delivered again.
    pub(crate) fn end_guard(&self, taken: &Taken, acknowledged: bool, peers: &impl Peers) -> Result<(), Fault> {
        match self {
            Self::Single(ring) => ring.end_guard(taken, acknowledged, peers),
            // There was none to begin with.
            Self::Packed(_) => Err(Fault::Packed),
        }
    }
}
