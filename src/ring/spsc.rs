//! The single-producer, single-consumer ring: wait-free on both sides.
//!
//! # Idea
//!
//! A block of the ring is one cache line (for a payload of up to 56 bytes) whose first word counts *all* messages ever
//! published up to and including the last one in this block. The consumer polls the count word of the block that it
//! waits on, and the payload comes with the same line: one transfer moves up to seven `u64`, and no tail is shared. It
//! descends from Lamport's ring (1977) and FastForward (Giacomoni et al., 2008), which put the hand-off into the slot.
//!
//! # States and edges
//!
//! Message t lies in block `t / M mod B`, place `t mod M`. Only the producer writes counts, payloads and `tail`; only the
//! consumer writes `head`. So every prefix of a call is a valid state:
//!
//! * **publish edge**: count := t + 1 (Release), after the payload; read (Acquire) by the consumer, before the payload.
//!   The store is the commit: killed before it, the producer has not sent; its successor overwrites the payload.
//! * **take edge**: head := h + 1 (Release), after the payload was copied out; read (Acquire) by the producer, before it
//!   overwrites. The store is the commit: killed before it, the consumer has not received.
//! * Counts only grow, over all laps, so the count of an older lap is never taken for this lap's: it is at most h.
//! * `tail` is a hint, stored when the producer leaves a block: it never passes the true position, and the true position
//!   lies in the block that it points into, or (killed in between) in the next.
//!
//! # What a hostile peer can do
//!
//! Own positions are private. A count is used only if it lies between h and the end of the block, and a head only if it
//! is at most t and at least t - capacity; anything else is [`Fault::Corrupt`], and no address ever depends on it.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use static_assertions::const_assert;

use crate::error::Fault;
use crate::layout::{BLOCKS, Block, COUNT, Geometry, HEAD, LINE, TAIL};
use crate::memory::Memory;
use crate::ring::{Consume, Peers, PopError, Produce, PushError};
use crate::sync::Ordering;

/// The block of a payload type.
const fn block<T>() -> Block {
    Block::of(size_of::<T>())
}

/// How far the producer asks for lines ahead, in bytes: of 1 to 12 lines, 4 were best (docs/PROTOCOL.md).
const AHEAD: usize = 4 * LINE;

/// Where the next message lies. Private to one side, so it is always in range.
#[derive(Debug)]
struct Position<T> {
    /// Message number; wraps after 2^64, which is never.
    number: Cell<u64>,
    /// Offset in the region of the message's place.
    place: Cell<usize>,
    end: usize,
    payload: PhantomData<fn(T) -> T>,
}

impl<T> Position<T> {
    /// Distance from the block's first place to its last.
    const LAST: usize = (block::<T>().messages - 1) * block::<T>().stride;

    fn at(number: u64, geometry: &Geometry) -> Self {
        let Block { messages, stride, .. } = block::<T>();
        let place = block::<T>().offset(number, geometry) + COUNT + (number % messages as u64) as usize * stride;
        Self { number: Cell::new(number), place: Cell::new(place), end: geometry.end, payload: PhantomData }
    }

    /// Offset of the block that `place` lies in, which is that of its count.
    #[inline(always)]
    fn block_of(place: usize) -> usize {
        // Blocks of several messages are lines, and so aligned.
        if block::<T>().messages == 1 { place - COUNT } else { place & !(LINE - 1) }
    }

    /// Messages from here to the end of the block.
    #[inline(always)]
    fn left(&self) -> u64 {
        let place = self.place.get();
        ((Self::block_of(place) + COUNT + Self::LAST - place) / block::<T>().stride) as u64 + 1
    }

    /// Moves to the message behind the one at `last`, which lies in the block of the current one and has the number
    /// before `number`; says whether that leaves the block.
    ///
    /// The caller passes what it has in registers: stores to the region might, for all the compiler knows, have changed
    /// the cells.
    #[inline(always)]
    fn move_to(&self, number: u64, last: usize) -> bool {
        let block_offset = Self::block_of(last);
        self.number.set(number);
        if last != block_offset + COUNT + Self::LAST {
            self.place.set(last + block::<T>().stride);
            return false;
        }
        let next = block_offset + block::<T>().size;
        self.place.set(if next == self.end { BLOCKS } else { next } + COUNT);
        true
    }

    /// Steps over `count` messages of this block, at least one; says whether that leaves the block.
    #[inline(always)]
    fn advance(&self, count: u64) -> bool {
        debug_assert!(0 < count && count <= self.left());
        let last = self.place.get() + (count as usize - 1) * block::<T>().stride;
        self.move_to(self.number.get().wrapping_add(count), last)
    }
}

const_assert!(BLOCKS % LINE == 0);

/// The producing side.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    memory: Memory,
    next: Position<T>,
    /// First number for which there may be no room; grows with every look at `head`, `next <= limit`.
    limit: Cell<u64>,
    capacity: u64,
}

/// The consuming side.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    memory: Memory,
    next: Position<T>,
    /// First number that is not known to be published; `next <= published`, at most at the end of next's block.
    published: Cell<u64>,
    geometry: Geometry,
}

impl<T> Producer<T> {
    /// The producing side of the ring in `memory`, continuing where the last producer stopped.
    ///
    /// # Safety
    /// * `memory` is valid for as long as `self`, and as long as `geometry` says;
    /// * `geometry` was computed for `size_of::<T>()`, and `T` has no padding;
    /// * nobody else produces (the sender's lease).
    pub(crate) unsafe fn resume(memory: Memory, geometry: &Geometry) -> Result<Self, Fault> {
        let capacity = geometry.capacity;
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let tail = find_tail::<T>(memory, geometry, head)?;
        // A predecessor that was killed while it left a block did not say so.
        memory.word(TAIL).store(tail - tail % block::<T>().messages as u64, Ordering::Release);
        let next = Position::at(tail, geometry);
        Ok(Self { memory, next, limit: Cell::new(head.wrapping_add(capacity)), capacity })
    }

    /// Publishes `message`, unless the ring is full.
    #[inline(always)]
    pub(crate) fn push(&self, message: &T) -> Result<(), PushError> {
        if self.next.number.get() == self.limit.get() {
            self.look_at_head()?;
        }
        // SAFETY: `next` is in range and below the limit, so the place is free; one message fits the block.
        unsafe { self.write(core::slice::from_ref(message)) };
        Ok(())
    }

    /// Publishes as many of `messages` as there is room for, at least one; publication is per block, front first.
    pub(crate) fn push_slice(&self, messages: &[T]) -> Result<usize, PushError> {
        let mut sent = 0;
        while sent < messages.len() {
            if self.next.number.get() == self.limit.get() {
                match self.look_at_head() {
                    Ok(()) => {}
                    // What was sent was sent; the next call meets the error again.
                    Err(_) if sent > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let room = self.limit.get().wrapping_sub(self.next.number.get()).min(self.next.left());
            let count = (messages.len() - sent).min(room as usize);
            // SAFETY: `count` places are free and lie in this block.
            unsafe { self.write(&messages[sent..sent + count]) };
            sent += count;
        }
        Ok(sent)
    }

    /// # Safety
    /// The places of `messages` (not empty) lie below the limit, and in the block of `next`.
    #[inline(always)]
    unsafe fn write(&self, messages: &[T]) {
        let number = self.next.number.get().wrapping_add(messages.len() as u64);
        let mut place = self.next.place.get();
        // SAFETY: a block of the ring begins with its count word.
        let word = unsafe { self.memory.word_unchecked(Position::<T>::block_of(place)) };
        for message in messages {
            // SAFETY: the place lies in a block of the ring, by the caller's promise; T has no padding.
            unsafe { self.memory.store(place, message) };
            place += block::<T>().stride;
        }
        // Release: the publish edge.
        word.store(number, Ordering::Release);
        if self.next.move_to(number, place - block::<T>().stride) {
            // SAFETY: `TAIL` lies in every region.
            let tail = unsafe { self.memory.word_unchecked(TAIL) };
            // Release: whoever starts from the hint sees the counts up to it.
            tail.store(number, Ordering::Release);
            self.fetch_ahead(number);
        }
    }

    /// Asks for the ownership of the lines that will be written soon, so that their transfers overlap. Only where the
    /// consumer is known to be done: to take a line away from it would cost more than it gains.
    #[inline(always)]
    fn fetch_ahead(&self, number: u64) {
        const { assert!(AHEAD % LINE == 0) };
        let messages = (AHEAD / block::<T>().size + 2) as u64 * block::<T>().messages as u64;
        if self.limit.get().wrapping_sub(number) <= messages {
            return;
        }
        let start = Position::<T>::block_of(self.next.place.get()) + AHEAD;
        for line in (start..start + block::<T>().size).step_by(LINE) {
            self.memory.prefetch(if line < self.next.end { line } else { line - self.next.end + BLOCKS });
        }
    }

    /// Moves the limit, or says why it stays.
    #[cold]
    #[inline(never)]
    fn look_at_head(&self) -> Result<(), PushError> {
        let tail = self.next.number.get();
        let length = self.len().map_err(PushError::Fault)?;
        if length == self.capacity {
            return Err(PushError::Full);
        }
        self.limit.set(tail.wrapping_add(self.capacity - length));
        Ok(())
    }

    /// Messages in the ring.
    pub(crate) fn len(&self) -> Result<u64, Fault> {
        // Acquire: the take edge.
        let head = self.memory.word(HEAD).load(Ordering::Acquire);
        let length = self.next.number.get().wrapping_sub(head);
        if length > self.capacity {
            let expected = self.next.number.get();
            return Err(Fault::Corrupt { what: "the receiver's position", expected, found: head });
        }
        Ok(length)
    }
}

impl<T> Consumer<T> {
    /// The consuming side of the ring in `memory`, continuing where the last consumer stopped.
    ///
    /// # Safety
    /// * `memory` is valid for as long as `self`, and as long as `geometry` says;
    /// * `geometry` was computed for `size_of::<T>()`, and `T` has no padding;
    /// * nobody else consumes (the receiver's lease).
    pub(crate) unsafe fn resume(memory: Memory, geometry: &Geometry) -> Result<Self, Fault> {
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let next = Position::at(head, geometry);
        Ok(Self { memory, next, published: Cell::new(head), geometry: *geometry })
    }

    /// Takes a message, unless the ring is empty. All its bytes are initialized, but they may be no valid `T`.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Result<MaybeUninit<T>, PopError> {
        if self.next.number.get() == self.published.get() {
            self.look_at_count()?;
        }
        let (number, place) = (self.next.number.get().wrapping_add(1), self.next.place.get());
        // SAFETY: the place lies in a block of the ring, and the message in it is published.
        let message = unsafe { self.memory.load(place) };
        self.next.move_to(number, place);
        self.commit(number);
        Ok(message)
    }

    /// Takes as many messages as are there, at most `limit`, and hands each to `put` with its index. All their bytes are
    /// initialized.
    ///
    /// A message that `put` refuses stays in the ring if there were others before it, else it is taken and its fault
    /// returned: so nothing but that one message is lost on its account.
    pub(crate) fn pop_slice(
        &self,
        limit: usize,
        mut put: impl FnMut(usize, MaybeUninit<T>) -> Result<(), Fault>,
    ) -> Result<usize, PopError> {
        let mut taken = 0;
        let mut refused = None;
        while taken < limit && refused.is_none() {
            if self.next.number.get() == self.published.get() {
                match self.look_at_count() {
                    Ok(()) => {}
                    // What was taken was taken; the next call meets the error again.
                    Err(_) if taken > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let there = self.published.get().wrapping_sub(self.next.number.get());
            let end = taken + (limit - taken).min(there as usize);
            let mut offset = self.next.place.get();
            let start = taken;
            while taken < end {
                // SAFETY: `published` is at most the end of this block, so the message lies in it.
                match put(taken, unsafe { self.memory.load(offset) }) {
                    Ok(()) => taken += 1,
                    Err(fault) => {
                        refused = Some(fault);
                        break;
                    }
                }
                offset += block::<T>().stride;
            }
            if taken > start {
                self.next.advance((taken - start) as u64);
            }
        }
        match refused {
            Some(fault) if taken == 0 => {
                self.next.advance(1);
                self.commit(self.next.number.get());
                Err(PopError::Fault(fault))
            }
            _ => {
                self.commit(self.next.number.get());
                Ok(taken)
            }
        }
    }

    /// The take edge.
    #[inline(always)]
    fn commit(&self, number: u64) {
        // SAFETY: `HEAD` lies in every region.
        let head = unsafe { self.memory.word_unchecked(HEAD) };
        // Release: the payload was copied before.
        head.store(number, Ordering::Release);
    }

    /// Learns what is published in the block of `next`.
    #[inline(always)]
    fn look_at_count(&self) -> Result<(), PopError> {
        // SAFETY: a block of the ring begins with its count word.
        let word = unsafe { self.memory.word_unchecked(Position::<T>::block_of(self.next.place.get())) };
        // Acquire: the publish edge.
        let count = word.load(Ordering::Acquire);
        let next = self.next.number.get();
        if count <= next {
            return Err(PopError::Empty);
        }
        if count - next > self.next.left() {
            return Err(PopError::Fault(corrupt_count(next + self.next.left(), count)));
        }
        self.published.set(count);
        Ok(())
    }

    /// Messages in the ring.
    pub(crate) fn len(&self) -> Result<u64, Fault> {
        let head = self.next.number.get();
        find_tail::<T>(self.memory, &self.geometry, head).map(|tail| tail.wrapping_sub(head))
    }
}

#[cold]
fn corrupt_count(expected: u64, found: u64) -> Fault {
    Fault::Corrupt { what: "the sender's count of messages", expected, found }
}

/// The number of the next message to send: from the hint or from `head`, whichever is further, along the counts.
///
/// Ends after at most one lap, whatever a peer wrote.
pub(crate) fn find_tail<T>(memory: Memory, geometry: &Geometry, head: u64) -> Result<u64, Fault> {
    let hint = memory.word(TAIL).load(Ordering::Acquire);
    // The consumer may have emptied the block that the producer has not left yet.
    let position = Position::<T>::at(hint.max(head), geometry);
    loop {
        let next = position.number.get();
        if next.wrapping_sub(head) > geometry.capacity {
            return Err(Fault::Corrupt { what: "the sender's position", expected: head, found: next });
        }
        let count = memory.word(Position::<T>::block_of(position.place.get())).load(Ordering::Acquire);
        if count <= next {
            return Ok(next);
        }
        if count - next > position.left() {
            return Err(corrupt_count(next + position.left(), count));
        }
        if !position.advance(count - next) {
            return Ok(count);
        }
    }
}

impl<T> Produce<T> for Producer<T> {
    unsafe fn resume(memory: Memory, geometry: &Geometry, _: &impl Peers) -> Result<Self, Fault> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { Self::resume(memory, geometry) }
    }

    #[inline(always)]
    fn push(&self, message: &T, _: &impl Peers) -> Result<(), PushError> {
        self.push(message)
    }

    fn push_slice(&self, messages: &[T], _: &impl Peers) -> Result<usize, PushError> {
        self.push_slice(messages)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.len()
    }

    fn recover(&self, _: &impl Peers) {}
}

impl<T> Consume<T> for Consumer<T> {
    unsafe fn resume(memory: Memory, geometry: &Geometry, _: &impl Peers) -> Result<Self, Fault> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { Self::resume(memory, geometry) }
    }

    #[inline(always)]
    fn pop(&self, _: &impl Peers) -> Result<MaybeUninit<T>, PopError> {
        self.pop()
    }

    fn pop_slice(
        &self,
        limit: usize,
        _: &impl Peers,
        put: impl FnMut(usize, MaybeUninit<T>) -> Result<(), Fault>,
    ) -> Result<usize, PopError> {
        self.pop_slice(limit, put)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.len()
    }

    fn recover(&self, _: &impl Peers) -> bool {
        true
    }
}
