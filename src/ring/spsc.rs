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
use crate::memory::{Anchor, Memory};
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
    /// Message number; wraps after 2^64, which is never. The one field that changes with every message.
    number: Cell<u64>,
    /// Number of the first message behind the block.
    edge: Cell<u64>,
    /// Offset in the region of the block, which is that of its count.
    block: Cell<usize>,
    /// Message n of the block lies at `bias + n * stride`, modulo 2^64.
    bias: Cell<usize>,
    end: usize,
    payload: PhantomData<fn(T) -> T>,
}

impl<T> Position<T> {
    /// Messages in a block.
    const MESSAGES: usize = block::<T>().messages;

    fn at(number: u64, geometry: &Geometry) -> Self {
        let first = number - number % Self::MESSAGES as u64;
        let position = Self {
            number: Cell::new(number),
            edge: Cell::new(0),
            block: Cell::new(0),
            bias: Cell::new(0),
            end: geometry.end,
            payload: PhantomData,
        };
        position.enter(block::<T>().offset(number, geometry), first);
        position
    }

    /// Enters the block at `offset`, whose first message has the number `first`.
    #[inline(always)]
    fn enter(&self, offset: usize, first: u64) {
        self.block.set(offset);
        self.bias.set((offset + COUNT).wrapping_sub((first as usize).wrapping_mul(block::<T>().stride)));
        self.edge.set(first.wrapping_add(Self::MESSAGES as u64));
    }

    /// Enters the next block, all messages of this one being done.
    #[inline(always)]
    fn enter_next(&self) {
        let next = self.block.get() + block::<T>().size;
        self.enter(if next == self.end { BLOCKS } else { next }, self.number.get());
    }

    /// Offset in the region of message `number`, which lies in the block.
    #[inline(always)]
    fn place(&self, number: u64) -> usize {
        self.bias.get().wrapping_add((number as usize).wrapping_mul(block::<T>().stride))
    }

    /// Messages from here to the end of the block; 0 only until it is left.
    #[inline(always)]
    fn left(&self) -> u64 {
        self.edge.get().wrapping_sub(self.number.get())
    }
}

const_assert!(BLOCKS % LINE == 0);

/// The producing side.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    anchor: Anchor,
    next: Position<T>,
    /// First message that takes more than being stored: the last one of the block, or the one at `limit`, whichever comes
    /// first; `next <= stop`.
    stop: Cell<u64>,
    /// First number for which there may be no room; grows with every look at `head`, `next <= limit`.
    limit: Cell<u64>,
    capacity: u64,
}

/// The consuming side.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    anchor: Anchor,
    next: Position<T>,
    /// First number that is not known to be published; `next <= published`, at most at the end of next's block.
    published: Cell<u64>,
    geometry: Geometry,
}

impl<T> Produce<T> for Producer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, _: &impl Peers) -> Result<Self, Fault> {
        let memory = anchor.memory()?;
        let capacity = geometry.capacity;
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let tail = find_tail::<T>(memory, geometry, head)?;
        // A predecessor that was killed while it left a block did not say so.
        memory.word(TAIL).store(tail - tail % block::<T>().messages as u64, Ordering::Release);
        let next = Position::at(tail, geometry);
        let limit = Cell::new(head.wrapping_add(capacity));
        Ok(Self { anchor, next, stop: Cell::new(tail), limit, capacity })
    }

    #[inline(always)]
    fn push(&self, message: &T, peers: &impl Peers) -> Result<(), PushError> {
        let memory = self.anchor.memory().map_err(PushError::Fault)?;
        if !peers.is_open(&memory) {
            return Err(PushError::Closed);
        }
        let plain = self.next.number.get() != self.stop.get();
        if !plain {
            self.look_for_room(memory)?;
        }
        // SAFETY: `next` is at most `stop`, hence below the edge, and below the limit: that was looked at if it is `stop`.
        unsafe { self.write(memory, core::slice::from_ref(message)) };
        if !plain {
            self.go_on(memory);
        }
        peers.published(&memory, 1);
        Ok(())
    }

    /// Publication is per block, front first.
    fn push_slice(&self, messages: &[T], peers: &impl Peers) -> Result<usize, PushError> {
        let memory = self.anchor.memory().map_err(PushError::Fault)?;
        if !peers.is_open(&memory) {
            return Err(PushError::Closed);
        }
        let mut rest = messages;
        while !rest.is_empty() {
            match self.look_for_room(memory) {
                Ok(()) => {}
                // What was sent was sent; the next call meets the error again.
                Err(_) if rest.len() < messages.len() => break,
                Err(error) => return Err(error),
            }
            let count = rest.len().min(self.room() as usize);
            let (front, behind) = rest.split_at(count);
            // A whole block has its own branch because there the compiler knows how many messages it copies.
            if let Some(whole) = front.get(..Position::<T>::MESSAGES) {
                // SAFETY: `count` is at most `room`.
                unsafe { self.write(memory, whole) };
            } else {
                // SAFETY: as above.
                unsafe { self.write(memory, front) };
            }
            self.go_on(memory);
            rest = behind;
        }
        let sent = messages.len() - rest.len();
        peers.published(&memory, sent);
        Ok(sent)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.len_in(self.anchor.memory()?)
    }

    fn recover(&self, _: &impl Peers) {}
}

impl<T> Producer<T> {
    /// # Safety
    /// There are no more messages than `room` says. `go_on` follows if they reach `stop`.
    #[inline(always)]
    unsafe fn write(&self, memory: Memory, messages: &[T]) {
        let number = self.next.number.get();
        let mut place = self.next.place(number);
        // SAFETY: a block of the ring begins with its count word.
        let count = unsafe { memory.word_unchecked(self.next.block.get()) };
        for message in messages {
            // SAFETY: the place lies in a block of the ring, by the caller's promise; T has no padding.
            unsafe { memory.store(place, message) };
            place += block::<T>().stride;
        }
        let number = number.wrapping_add(messages.len() as u64);
        // Release: the publish edge.
        count.store(number, Ordering::Release);
        self.next.number.set(number);
    }

    /// Sees to it that there is room for at least one message.
    #[inline(always)]
    fn look_for_room(&self, memory: Memory) -> Result<(), PushError> {
        if self.next.number.get() == self.limit.get() { self.look_at_head(memory) } else { Ok(()) }
    }

    /// Places that are known to be free in this block.
    #[inline(always)]
    fn room(&self) -> u64 {
        self.limit.get().wrapping_sub(self.next.number.get()).min(self.next.left())
    }

    /// Leaves the block if it is full, and moves `stop`.
    #[inline(always)]
    fn go_on(&self, memory: Memory) {
        if self.next.left() == 0 {
            self.leave_block(memory);
        }
        let number = self.next.number.get();
        let plain = self.limit.get().wrapping_sub(number).min(self.next.left() - 1);
        self.stop.set(number.wrapping_add(plain));
    }

    #[inline(always)]
    fn leave_block(&self, memory: Memory) {
        let number = self.next.number.get();
        self.next.enter_next();
        // SAFETY: `TAIL` lies in every region.
        let tail = unsafe { memory.word_unchecked(TAIL) };
        // Release: whoever starts from the hint sees the counts up to it.
        tail.store(number, Ordering::Release);
        // Ask for the ownership of the lines that will be written soon, so that their transfers overlap. Only where the
        // consumer is known to be done: to take a line away from it would cost more than it gains.
        const { assert!(AHEAD % LINE == 0) };
        let messages = ((AHEAD / block::<T>().size + 2) * Position::<T>::MESSAGES) as u64;
        if self.limit.get().wrapping_sub(number) <= messages {
            return;
        }
        let start = self.next.block.get() + AHEAD;
        for line in (start..start + block::<T>().size).step_by(LINE) {
            memory.prefetch(if line < self.next.end { line } else { line - self.next.end + BLOCKS });
        }
    }

    /// Moves the limit, or says why it stays.
    #[cold]
    #[inline(never)]
    fn look_at_head(&self, memory: Memory) -> Result<(), PushError> {
        let tail = self.next.number.get();
        let length = self.len_in(memory).map_err(PushError::Fault)?;
        if length == self.capacity {
            return Err(PushError::Full);
        }
        self.limit.set(tail.wrapping_add(self.capacity - length));
        Ok(())
    }

    /// Messages in the ring.
    fn len_in(&self, memory: Memory) -> Result<u64, Fault> {
        // Acquire: the take edge.
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let length = self.next.number.get().wrapping_sub(head);
        if length > self.capacity {
            let expected = self.next.number.get();
            return Err(Fault::Corrupt { what: "the receiver's position", expected, found: head });
        }
        Ok(length)
    }
}

impl<T> Consume<T> for Consumer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, _: &impl Peers) -> Result<Self, Fault> {
        let memory = anchor.memory()?;
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let next = Position::at(head, geometry);
        Ok(Self { anchor, next, published: Cell::new(head), geometry: *geometry })
    }

    #[inline(always)]
    fn pop(&self, peers: &impl Peers) -> Result<MaybeUninit<T>, PopError> {
        let memory = self.anchor.memory().map_err(PopError::Fault)?;
        let number = self.next.number.get();
        if number == self.published.get() {
            self.look_at_count(memory)?;
        }
        // SAFETY: the message is published, and lies in the block of `next`, because `published` is at most its edge.
        let message = unsafe { memory.load(self.next.place(number)) };
        self.take(memory, number.wrapping_add(1));
        peers.published(&memory, 1);
        Ok(message)
    }

    /// A message that `check` refuses stays in the ring if there were others before it, else it is taken and its fault
    /// returned: so nothing but that one message is lost on its account.
    fn pop_slice(
        &self,
        messages: &mut [T],
        peers: &impl Peers,
        check: impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<usize, PopError> {
        let memory = self.anchor.memory().map_err(PopError::Fault)?;
        let mut taken = 0;
        let mut refused = None;
        while taken < messages.len() && refused.is_none() {
            let number = self.next.number.get();
            if number == self.published.get() {
                match self.look_at_count(memory) {
                    Ok(()) => {}
                    // What was taken was taken; the next call meets the error again.
                    Err(_) if taken > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let rest = &mut messages[taken..];
            let count = rest.len().min(self.published.get().wrapping_sub(number) as usize);
            // A whole block has its own branch because there the compiler knows how many messages it copies.
            let read = if count == Position::<T>::MESSAGES {
                // SAFETY: `count` messages are published in this block.
                unsafe { self.read(memory, &mut rest[..Position::<T>::MESSAGES], &check) }
            } else {
                // SAFETY: as above.
                unsafe { self.read(memory, &mut rest[..count], &check) }
            };
            let count = match read {
                Ok(()) => count,
                Err((before, fault)) => {
                    refused = Some(fault);
                    before
                }
            };
            self.next.number.set(number.wrapping_add(count as u64));
            taken += count;
        }
        let number = self.next.number.get();
        match refused {
            Some(fault) if taken == 0 => {
                self.take(memory, number.wrapping_add(1));
                peers.published(&memory, 1);
                Err(PopError::Fault(fault))
            }
            _ => {
                self.take(memory, number);
                peers.published(&memory, taken);
                Ok(taken)
            }
        }
    }

    fn len(&self) -> Result<u64, Fault> {
        let head = self.next.number.get();
        find_tail::<T>(self.anchor.memory()?, &self.geometry, head).map(|tail| tail.wrapping_sub(head))
    }

    fn recover(&self, _: &impl Peers) -> bool {
        true
    }
}

impl<T> Consumer<T> {
    /// Copies the next messages to `places`; stops at the first one that `check` refuses, and says how many came before it.
    ///
    /// # Safety
    /// At least as many messages as there are places are published in this block.
    #[inline(always)]
    unsafe fn read(
        &self,
        memory: Memory,
        places: &mut [T],
        check: &impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<(), (usize, Fault)> {
        let mut offset = self.next.place(self.next.number.get());
        for (before, place) in places.iter_mut().enumerate() {
            // SAFETY: the message is published and lies in this block, by the caller's promise.
            let message = unsafe { memory.load(offset) };
            *place = check(message).map_err(|fault| (before, fault))?;
            offset += block::<T>().stride;
        }
        Ok(())
    }

    /// The take edge: everything before `number` is taken.
    #[inline(always)]
    fn take(&self, memory: Memory, number: u64) {
        self.next.number.set(number);
        // SAFETY: `HEAD` lies in every region.
        let head = unsafe { memory.word_unchecked(HEAD) };
        // Release: the payload was copied before.
        head.store(number, Ordering::Release);
    }

    /// Learns what is published in the block of `next`, which is the next one if all of this one is taken.
    #[inline(always)]
    fn look_at_count(&self, memory: Memory) -> Result<(), PopError> {
        if self.next.left() == 0 {
            self.next.enter_next();
        }
        // SAFETY: a block of the ring begins with its count word.
        let word = unsafe { memory.word_unchecked(self.next.block.get()) };
        // Acquire: the publish edge.
        let count = word.load(Ordering::Acquire);
        let next = self.next.number.get();
        if count.wrapping_sub(next).wrapping_sub(1) >= self.next.left() {
            return Err(self.refuse(count));
        }
        self.published.set(count);
        Ok(())
    }

    /// Why `count` says of no message that it is there.
    #[cold]
    #[inline(never)]
    fn refuse(&self, count: u64) -> PopError {
        let next = self.next.number.get();
        if count <= next {
            return PopError::Empty;
        }
        PopError::Fault(corrupt_count(next.wrapping_add(self.next.left()), count))
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
        let count = memory.word(position.block.get()).load(Ordering::Acquire);
        if count <= next {
            return Ok(next);
        }
        if count - next > position.left() {
            return Err(corrupt_count(next + position.left(), count));
        }
        position.number.set(count);
        if position.left() > 0 {
            return Ok(count);
        }
        position.enter_next();
    }
}
