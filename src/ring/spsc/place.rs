//! Where a side is: in which block of the ring, and at which of its messages.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::error::Fault;
use crate::layout::{BLOCKS, Block, COUNT, Geometry};
use crate::memory::Memory;
use crate::sync::{AtomicU64, Ordering};

/// The block of a payload type.
pub(super) const fn block<T>() -> Block {
    Block::of(size_of::<T>())
}

/// The block that a side is in. Private to it, so it is always in range.
#[derive(Debug)]
pub(super) struct Place<T> {
    /// Number of the first message behind the block.
    pub(super) edge: u64,
    /// Offset in the region of the block, which is that of its count.
    block: usize,
    payload: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T> Place<T> {
    /// Messages in a block.
    pub(super) const MESSAGES: usize = block::<T>().messages;

    /// Of message `number`.
    pub(super) fn of(number: u64, geometry: &Geometry) -> Self {
        Self::at(block::<T>().offset(number, geometry), number - number % Self::MESSAGES as u64)
    }

    /// The block at `offset`, whose first message has the number `first`.
    #[inline(always)]
    fn at(offset: usize, first: u64) -> Self {
        let edge = first.wrapping_add(Self::MESSAGES as u64);
        Self { edge, block: offset, payload: PhantomData }
    }

    /// The block behind this one, in a ring that ends at offset `end`.
    #[inline(always)]
    pub(super) fn behind(&self, end: usize) -> Self {
        let next = self.block + block::<T>().size;
        Self::at(if next == end { BLOCKS } else { next }, self.edge)
    }

    /// The place of message `number`, which lies in this block or is the first one behind it.
    #[inline(always)]
    pub(super) fn from(self, number: u64, end: usize) -> Self {
        if self.left(number) == 0 { self.behind(end) } else { self }
    }

    /// Offset in the region of message `number`, which lies in this block.
    #[inline(always)]
    pub(super) fn offset(&self, number: u64) -> usize {
        // A constant where a block is one message.
        let place = if Self::MESSAGES == 1 { 0 } else { number.wrapping_sub(self.first()) as usize };
        (self.block + COUNT).wrapping_add(place.wrapping_mul(block::<T>().stride))
    }

    /// Number of its first message.
    #[inline(always)]
    pub(super) fn first(&self) -> u64 {
        self.edge.wrapping_sub(Self::MESSAGES as u64)
    }

    /// Messages from `number` to the end of the block.
    #[inline(always)]
    pub(super) fn left(&self, number: u64) -> u64 {
        self.edge.wrapping_sub(number)
    }

    /// Offset of what lies `distance` bytes behind the start of this block, in a ring that ends at offset `end`.
    #[inline(always)]
    pub(super) fn ahead(&self, distance: usize, end: usize) -> usize {
        let offset = self.block + distance;
        if offset < end { offset } else { offset - end + BLOCKS }
    }

    /// Messages that may lie in the blocks up to `distance` bytes behind the start of one, and in the block there.
    pub(super) const fn within(distance: usize) -> u64 {
        ((distance / block::<T>().size + 2) * Self::MESSAGES) as u64
    }

    /// Messages from `number` to the end of the block, if its first ones are done already; else 0.
    #[inline(always)]
    pub(super) fn begun(&self, number: u64) -> usize {
        let left = self.left(number) as usize;
        if left < Self::MESSAGES { left } else { 0 }
    }

    #[inline(always)]
    pub(super) fn count<'m>(&self, memory: &'m Memory) -> &'m AtomicU64 {
        // SAFETY: a block of the ring begins with its count word.
        unsafe { memory.word_unchecked(self.block) }
    }

    /// Stores messages from `number` on, and publishes them.
    ///
    /// # Safety
    /// They are free, and lie in this block.
    #[inline(always)]
    pub(super) unsafe fn write(&self, memory: Memory, number: u64, messages: &[T]) {
        let mut offset = self.offset(number);
        for message in messages {
            // SAFETY: the place lies in a block of the ring, by the caller's promise; T has no padding.
            unsafe { memory.store(offset, message) };
            offset += block::<T>().stride;
        }
        // Release: the publish edge.
        self.count(&memory).store(number.wrapping_add(messages.len() as u64), Ordering::Release);
    }

    /// Copies messages from `next` on to `places`, up to the first one that `check` refuses, and moves `next` behind them.
    ///
    /// # Safety
    /// They are published, and lie in this block.
    #[inline(always)]
    pub(super) unsafe fn read(
        &self,
        memory: Memory,
        next: &mut u64,
        places: &mut [T],
        check: &impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<(), Fault> {
        let first = *next;
        let mut offset = self.offset(first);
        for (before, place) in places.iter_mut().enumerate() {
            // SAFETY: the message is published and lies in this block, by the caller's promise.
            let message = unsafe { memory.load_value(offset) };
            *place = check(message).inspect_err(|_| *next = first.wrapping_add(before as u64))?;
            offset += block::<T>().stride;
        }
        *next = first.wrapping_add(places.len() as u64);
        Ok(())
    }
}
