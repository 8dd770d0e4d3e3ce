//! The single-producer, single-consumer ring: wait-free on both sides.
//!
//! # Idea
//!
//! A block of the ring is one cache line (for a payload of up to 56 bytes) whose first word counts *all* messages ever
//! published up to and including the last one in this block. The consumer polls the count word of the block that it
//! waits on, and the payload comes with the same line: one transfer moves up to seven `u64`, and no tail has to be asked for each. It
//! descends from Lamport's ring (1977) and FastForward (Giacomoni et al., 2008), which put the hand-off into the slot.
//!
//! # States and edges
//!
//! Message t lies in block `t / M mod B`, place `t mod M`. Only the producer writes counts, payloads and `tail`; only the
//! consumer writes `head` (and, of messages that are published and not taken, words as they are). So every prefix of a
//! call is a valid state:
//!
//! * **publish edge**: count := t + 1 (Release), after the payload; read (Acquire) by the consumer, before the payload.
//!   The store is the commit: killed before it, the producer has not sent; its successor overwrites the payload.
//! * **take edge**: head := h + 1 (Release), after the payload was copied out; read (Acquire) by the producer, before it
//!   overwrites. The store is the commit: killed before it, the consumer has not received.
//! * Counts only grow, over all laps, so the count of an older lap is never taken for this lap's: it is at most h.
//! * `tail` is a hint: the first message of the block that the producer is in, or of one before it: some blocks behind, and
//!   (in a batch, or killed in one) as many more as that has. It never passes the true position. A consumer among many
//!   messages looks there for a block that is full, and if that has its count, all blocks before have theirs, because they
//!   were stored before it: so it takes all of them without asking for a line that the producer may be writing to. The
//!   count is the publish edge, wherever it stands.
//!
//! # What a hostile peer can do
//!
//! Own positions are private. A count is used only if it lies between h and the end of the block, and a head only if it
//! is at most t and at least t - capacity; anything else is [`Fault::Corrupt`]. To a consumer, a tail only says which count
//! is looked at. A producer that resumes starts from tail and head: where those were forged, within the ring, places count
//! as sent that never were. An address depends on all of them modulo the number of blocks only.

mod place;

use core::cell::Cell;
use core::mem::MaybeUninit;

use static_assertions::const_assert;

use self::place::{Place, block};
use crate::error::Fault;
use crate::layout::{BLOCKS, COUNT, Geometry, HEAD, LINE, TAIL};
use crate::memory::{Anchor, Memory};
use crate::ring::lag::{self, Lag};
use crate::ring::{Consume, Peers, PopError, Produce, PushError};
use crate::sync::Ordering;

/// How far the producer asks for lines ahead, in bytes (docs/PROTOCOL.md has the choice of this and of what follows).
const AHEAD_TO_WRITE: usize = 12 * LINE;

/// How far the consumer does: more than the processor has in flight by itself.
const AHEAD_TO_READ: usize = 16 * LINE;

/// How many blocks ahead the consumer rewrites: so many that no message is copied while that store is on its way.
const AHEAD_TO_REWRITE: usize = if cfg!(loom) { 1 } else { 2 };

/// How many blocks must be known to be behind the one that is read for that: nearer ones the producer may be at.
const FAR: u64 = if cfg!(loom) { 1 } else { 3 };
const_assert!(0 < AHEAD_TO_REWRITE && AHEAD_TO_REWRITE as u64 <= FAR);

/// How many blocks a consumer goes on by the counts before it looks at `tail`; in models it always does.
const DISTANCE: u64 = if cfg!(loom) { 0 } else { lag::DISTANCE };

/// log2 of the blocks that the producer leaves for each time that it stores `tail`: after each one, the consumer's looks would
/// be in its way each time (docs/PROTOCOL.md) ...
const HINT_EVERY: u32 = 2;
/// ... but each time in a ring of fewer blocks than this, where that would be too rare.
const FEW: u64 = 64;

const_assert!(BLOCKS % LINE == 0);

/// The producing side.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    anchor: Anchor,
    /// Number of the next message; wraps after 2^64, which is never. The one field that changes with every message.
    next: Cell<u64>,
    /// Of the next message: a block is left with its last one.
    place: Cell<Place<T>>,
    /// First message that takes more than being stored: the last one of the block, or the one at `limit`, whichever comes
    /// first; `next <= stop`.
    stop: Cell<u64>,
    /// First number for which there may be no room; grows with every look at `head`, `next <= limit`.
    limit: Cell<u64>,
    capacity: u64,
    lag: Lag,
    /// log2 of the blocks from one hint to the next.
    hint_every: u32,
    /// Where the last block ends.
    end: usize,
}

/// The consuming side.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    anchor: Anchor,
    /// As the producer's.
    next: Cell<u64>,
    /// Of the next message, or the block before it: `pop` leaves a block when the next one is looked at.
    place: Cell<Place<T>>,
    /// First message that takes more than being copied: the first one of the next block, or the one at `published`,
    /// whichever comes first; `next <= stop`.
    stop: Cell<u64>,
    /// First number that is not known to be published, `stop <= published`.
    published: Cell<u64>,
    /// [`FAR`], in messages; more than there can be where this side cannot write to blocks.
    far: u64,
    lag: Lag,
    geometry: Geometry,
}

impl<T> Produce<T> for Producer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, _: &impl Peers) -> Result<Self, Fault> {
        let memory = anchor.memory()?;
        let capacity = geometry.capacity;
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let tail = find_tail::<T>(memory, geometry, head)?;
        // A predecessor that was killed while it left a block did not say so.
        memory.word(TAIL).store(tail - tail % Place::<T>::MESSAGES as u64, Ordering::Release);
        let place = Cell::new(Place::of(tail, geometry));
        let limit = Cell::new(head.wrapping_add(capacity));
        let hint_every = if capacity < FEW * Place::<T>::MESSAGES as u64 { 0 } else { HINT_EVERY };
        let [next, stop] = [tail; 2].map(Cell::new);
        let lag = Lag::new(tail, capacity, lag::distance(capacity));
        Ok(Self { anchor, next, place, stop, limit, capacity, lag, hint_every, end: geometry.end })
    }

    #[inline(always)]
    fn push(&self, message: &T, peers: &impl Peers) -> Result<(), PushError> {
        let memory = self.anchor.memory().map_err(PushError::Fault)?;
        if !peers.is_open(&memory) {
            return Err(PushError::Closed);
        }
        let number = self.next.get();
        let plain = number != self.stop.get();
        if !plain && number == self.limit.get() {
            self.look_at_head(memory)?;
        }
        // SAFETY: `next` is at most `stop`, hence in the block, and below the limit: that was looked at if it is `stop`.
        unsafe { self.place.get().write(memory, number, core::slice::from_ref(message)) };
        let next = number.wrapping_add(1);
        if plain {
            self.next.set(next);
        } else {
            let place = self.step(memory, self.place.get(), next);
            self.arrive(memory, place, next);
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
        let mut next = self.next.get();
        let wanted = messages.len() as u64;
        if self.limit.get().wrapping_sub(next) < wanted {
            match self.look_at_head(memory) {
                // What there is known to be room for is sent; the next call meets the error again.
                Err(error) if self.limit.get() == next => return Err(error),
                _ => {}
            }
        }
        let sent = wanted.min(self.limit.get().wrapping_sub(next)) as usize;
        // Private until the end: whoever dies before has published what a successor finds by the counts.
        let mut place = self.place.get();
        let (front, wholes) = messages[..sent].split_at(place.begun(next).min(sent));
        let wholes = wholes.chunks_exact(Place::<T>::MESSAGES);
        let back = wholes.remainder();
        if !front.is_empty() {
            // SAFETY: there is room for all messages, and no more of them in front than are left in the block.
            unsafe { place.write(memory, next, front) };
            next = next.wrapping_add(front.len() as u64);
            place = self.step(memory, place, next);
        }
        for whole in wholes {
            // SAFETY: there is room for all messages, and the block is free from its first place on.
            unsafe { place.write(memory, next, &whole[..Place::<T>::MESSAGES]) };
            next = place.edge;
            place = self.step(memory, place, next);
        }
        if !back.is_empty() {
            // SAFETY: as above, and they are fewer than a block takes.
            unsafe { place.write(memory, next, back) };
            next = next.wrapping_add(back.len() as u64);
        }
        self.arrive(memory, place, next);
        peers.published(&memory, sent);
        Ok(sent)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.len_in(self.anchor.memory()?)
    }

    fn is_full(&self) -> Result<bool, Fault> {
        Ok(self.len()? == self.capacity)
    }

    fn recover(&self, _: &impl Peers) {}
}

impl<T> Producer<T> {
    /// The place of message `next`, which follows one in `place`.
    #[inline(always)]
    fn step(&self, memory: Memory, place: Place<T>, next: u64) -> Place<T> {
        if place.left(next) > 0 {
            return place;
        }
        let place = place.behind(self.end);
        // Ask for the ownership of the lines that will be written soon, so that their transfers overlap. Only where the
        // consumer is known to be done: to take a line away from it would cost more than it gains.
        if self.limit.get().wrapping_sub(next) > Place::<T>::within(AHEAD_TO_WRITE) {
            for line in (AHEAD_TO_WRITE..AHEAD_TO_WRITE + block::<T>().size).step_by(LINE) {
                memory.prefetch_to_write(place.ahead(line, self.end));
            }
        }
        place
    }

    /// Goes on from message `next`.
    #[inline(always)]
    fn arrive(&self, memory: Memory, place: Place<T>, next: u64) {
        let hint = |place: Place<T>| (place.first() / Place::<T>::MESSAGES as u64) >> self.hint_every;
        if hint(place) != hint(self.place.get()) {
            // SAFETY: `TAIL` lies in every region.
            let tail = unsafe { memory.word_unchecked(TAIL) };
            // Release: whoever starts from the hint sees the counts up to it.
            tail.store(place.first(), Ordering::Release);
        }
        self.place.set(place);
        self.next.set(next);
        let plain = self.limit.get().wrapping_sub(next).min(place.left(next) - 1);
        self.stop.set(next.wrapping_add(plain));
    }

    /// Moves the limit, or says why it stays.
    #[cold]
    #[inline(never)]
    fn look_at_head(&self, memory: Memory) -> Result<(), PushError> {
        let tail = self.next.get();
        let mut paused = false;
        if self.lag.is_due(tail) {
            let head = memory.word(HEAD);
            // Relaxed: a hint.
            self.lag.keep(tail, &mut paused, || head.load(Ordering::Relaxed).wrapping_add(self.capacity));
        }
        loop {
            let length = self.len_in(memory).map_err(PushError::Fault)?;
            if length < self.capacity {
                self.limit.set(tail.wrapping_add(self.capacity - length));
                return Ok(());
            }
            if !self.lag.pause(tail, &mut paused) {
                return Err(PushError::Full);
            }
        }
    }

    /// Messages in the ring.
    fn len_in(&self, memory: Memory) -> Result<u64, Fault> {
        // Acquire: the take edge.
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let next = self.next.get();
        let length = next.wrapping_sub(head);
        if length > self.capacity {
            return Err(Fault::Corrupt { what: "the receiver's position", expected: next, found: head });
        }
        Ok(length)
    }
}

impl<T> Consume<T> for Consumer<T> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        let memory = anchor.memory()?;
        let head = memory.word(HEAD).load(Ordering::Acquire);
        let place = Cell::new(Place::of(head, geometry));
        let [next, stop, published] = [head; 3].map(Cell::new);
        Ok(Self {
            anchor,
            next,
            place,
            stop,
            published,
            far: if peers.is_one_way() { u64::MAX } else { FAR * Place::<T>::MESSAGES as u64 },
            lag: Lag::new(head, geometry.capacity, DISTANCE * Place::<T>::MESSAGES as u64),
            geometry: *geometry,
        })
    }

    #[inline(always)]
    fn pop(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<(), PopError> {
        let memory = self.anchor.memory().map_err(PopError::Fault)?;
        let number = self.next.get();
        if number == self.stop.get() {
            self.look(memory)?;
        }
        // SAFETY: the message is published, and lies in the block of `place`, because it is below `stop`.
        unsafe { memory.load(self.place.get().offset(number), place) };
        self.take(memory, number.wrapping_add(1));
        peers.published(&memory, 1);
        Ok(())
    }

    /// A message that `check` refuses stays in the ring if there were others before it, else it is taken and its fault
    /// returned: so nothing but that one message is lost on its account.
    #[inline(always)]
    fn pop_slice(
        &self,
        messages: &mut [T],
        peers: &impl Peers,
        check: impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<usize, PopError> {
        let memory = self.anchor.memory().map_err(PopError::Fault)?;
        let start = self.next.get();
        let there = self.look_ahead(memory, messages.len())?;
        let messages = &mut messages[..there];
        // Private until the end: whoever dies before has taken nothing.
        let (mut next, mut place, known) = (start, self.place.get(), self.published.get());
        let (front, wholes) = messages.split_at_mut(place.begun(next).min(there));
        let mut wholes = wholes.chunks_exact_mut(Place::<T>::MESSAGES);
        // SAFETY: so many messages are published, and lie in this block.
        let mut read = unsafe { place.read(memory, &mut next, front, &check) };
        place = place.from(next, self.geometry.end);
        while let (Ok(()), Some(whole)) = (&read, wholes.next()) {
            self.prepare(memory, place, next, known);
            // SAFETY: as above.
            read = unsafe { place.read(memory, &mut next, &mut whole[..Place::<T>::MESSAGES], &check) };
            place = place.from(next, self.geometry.end);
        }
        let back = wholes.into_remainder();
        if read.is_ok() && !back.is_empty() {
            self.prepare(memory, place, next, known);
            // SAFETY: as above.
            read = unsafe { place.read(memory, &mut next, back, &check) };
        }
        let taken = next.wrapping_sub(start) as usize;
        self.place.set(place);
        self.halt(place, next);
        match read {
            Err(fault) if taken == 0 => {
                self.take(memory, next.wrapping_add(1));
                peers.published(&memory, 1);
                Err(PopError::Fault(fault))
            }
            _ => {
                self.take(memory, next);
                peers.published(&memory, taken);
                Ok(taken)
            }
        }
    }

    fn len(&self) -> Result<u64, Fault> {
        let head = self.next.get();
        find_tail::<T>(self.anchor.memory()?, &self.geometry, head).map(|tail| tail.wrapping_sub(head))
    }

    fn is_full(&self) -> Result<bool, Fault> {
        Ok(self.len()? == self.geometry.capacity)
    }

    fn recover(&self, _: &impl Peers) -> bool {
        true
    }
}

impl<T> Consumer<T> {
    /// The take edge: everything before `number` is taken.
    #[inline(always)]
    fn take(&self, memory: Memory, number: u64) {
        self.next.set(number);
        // SAFETY: `HEAD` lies in every region.
        let head = unsafe { memory.word_unchecked(HEAD) };
        // Release: the payload was copied before.
        head.store(number, Ordering::Release);
    }

    /// How many of the next `wanted` messages are there.
    #[inline(always)]
    fn look_ahead(&self, memory: Memory, wanted: usize) -> Result<usize, PopError> {
        let next = self.next.get();
        if wanted > 0 && next == self.stop.get() {
            self.look(memory)?;
        }
        let known = self.published.get().wrapping_sub(next) as usize;
        Ok(if known < wanted { self.look_further(memory, next, wanted) } else { wanted })
    }

    /// As [`Self::look_ahead`], where the next message is there, but not as many as are wanted as far as is known.
    ///
    /// All counts are read before the first message, because then the lines come from the other core side by side.
    #[inline(never)]
    fn look_further(&self, memory: Memory, next: u64, wanted: usize) -> usize {
        let (mut place, mut published) = (self.place.get(), self.published.get());
        if place.left(next) < published.wrapping_sub(next) {
            place = Place::of(published, &self.geometry);
        }
        while published.wrapping_sub(next) < wanted as u64 {
            place = place.from(published, self.geometry.end);
            // Acquire: the publish edge.
            let count = place.count(&memory).load(Ordering::Acquire);
            if !is_within(count, published, place.left(published)) {
                // What there is to say about it is said when it is the next message's.
                break;
            }
            published = count;
        }
        self.published.set(published);
        wanted.min(published.wrapping_sub(next) as usize)
    }

    /// Finds out that the next message, which is at `stop`, is published, and until where it goes on from there.
    #[inline(always)]
    fn look(&self, memory: Memory) -> Result<(), PopError> {
        self.learn(memory, self.next.get(), false).or_else(|count| self.look_again(memory, count))
    }

    /// As [`Self::look`], for message `next`; or the count of its block, if that says of no message that it is there. With
    /// `paused`, without another pause.
    #[inline(always)]
    fn learn(&self, memory: Memory, next: u64, paused: bool) -> Result<(), u64> {
        let place = self.place.get().from(next, self.geometry.end);
        self.place.set(place);
        if self.published.get() == next {
            // Acquire: the publish edge.
            let count = place.count(&memory).load(Ordering::Acquire);
            if !is_within(count, next, place.left(next)) {
                return Err(count);
            }
            self.published.set(count);
            if !paused && self.lag.is_due(next) {
                self.look_at_tail(memory, next);
            }
        }
        self.halt(place, next);
        self.prepare(memory, place, next, self.published.get());
        Ok(())
    }

    /// Gets blocks ready that are known to be published, if there are enough of them: `place` is that of message `next`, and
    /// all up to `published` are there.
    ///
    /// Of a line that the consumer has only read, the producer that writes to it next has a copy of its own, and must ask
    /// the other core to drop its one, while all of its stores wait; one that the consumer has *written* it can ask for in
    /// time. So the consumer rewrites a word of each line as it is (docs/PROTOCOL.md).
    #[inline(always)]
    fn prepare(&self, memory: Memory, place: Place<T>, next: u64, published: u64) {
        let known = published.wrapping_sub(next);
        // Only what is known to be there: to ask for a line that is written to would cost more than it gains. And not where a
        // block is one message: those are so quickly done that the processor gets far enough by itself.
        if Place::<T>::MESSAGES > 1 && known > Place::<T>::within(AHEAD_TO_READ) {
            memory.prefetch_to_read(place.ahead(AHEAD_TO_READ, self.geometry.end));
        }
        if known > self.far {
            let block = place.ahead(AHEAD_TO_REWRITE * block::<T>().size, self.geometry.end);
            // SAFETY: the first message of a block of the ring, one behind the block of `next`, but before `published`: so
            // nobody else stores to it.
            unsafe { memory.rewrite::<T>(block + COUNT) };
        }
    }

    /// Sets `stop` for messages from `next` on, which lies in `place`.
    #[inline(always)]
    fn halt(&self, place: Place<T>, next: u64) {
        let plain = self.published.get().wrapping_sub(next).min(place.left(next));
        self.stop.set(next.wrapping_add(plain));
    }

    /// Learns of whole blocks of messages by two looks, if the producer is that far ahead: the tail says where, and the
    /// count there whether.
    #[inline(always)]
    fn look_at_tail(&self, memory: Memory, next: u64) {
        // SAFETY: `TAIL` lies in every region.
        let tail = unsafe { memory.word_unchecked(TAIL) };
        let known = self.published.get().wrapping_sub(next);
        // Relaxed: a hint.
        let there = self.lag.keep(next, &mut false, || tail.load(Ordering::Relaxed));
        let tail = next.wrapping_add(there);
        if known < there && there <= self.geometry.capacity {
            let last = Place::<T>::of(tail.wrapping_sub(1), &self.geometry);
            // Acquire: the publish edge.
            if last.count(&memory).load(Ordering::Acquire) == tail {
                self.published.set(tail);
            }
        }
    }

    /// After a pause, if messages have been streaming in; else, or in vain, says why `count` says of no message that it
    /// is there.
    #[cold]
    #[inline(never)]
    fn look_again(&self, memory: Memory, count: u64) -> Result<(), PopError> {
        let next = self.next.get();
        let (mut count, mut paused) = (count, false);
        while count <= next {
            if !self.lag.pause(next, &mut paused) {
                return Err(PopError::Empty);
            }
            match self.learn(memory, next, true) {
                Ok(()) => return Ok(()),
                Err(again) => count = again,
            }
        }
        Err(PopError::Fault(corrupt_count(self.place.get().edge, count)))
    }
}

/// Whether `count` says that at least one of the `left` messages from `next` on is published, and no others.
#[inline(always)]
fn is_within(count: u64, next: u64, left: u64) -> bool {
    count.wrapping_sub(next).wrapping_sub(1) < left
}

#[cold]
fn corrupt_count(expected: u64, found: u64) -> Fault {
    Fault::Corrupt { what: "the sender's count of messages", expected, found }
}

/// The number of the next message to send: from the hint or from `head`, whichever is further, along the counts.
///
/// Ends after at most one lap, whatever a peer wrote.
pub(crate) fn find_tail<T>(memory: Memory, geometry: &Geometry, head: u64) -> Result<u64, Fault> {
    let in_ring = |next: u64| match next.wrapping_sub(head) {
        length if length <= geometry.capacity => Ok(next),
        _ => Err(Fault::Corrupt { what: "the sender's position", expected: head, found: next }),
    };
    let hint = memory.word(TAIL).load(Ordering::Acquire);
    // The consumer may have emptied the block that the producer has not left yet.
    let mut next = in_ring(hint.max(head))?;
    let mut place = Place::<T>::of(next, geometry);
    loop {
        let count = place.count(&memory).load(Ordering::Acquire);
        if count <= next {
            return Ok(next);
        }
        if count > place.edge {
            return Err(corrupt_count(place.edge, count));
        }
        next = in_ring(count)?;
        if place.left(next) > 0 {
            return Ok(next);
        }
        place = place.behind(geometry.end);
    }
}
