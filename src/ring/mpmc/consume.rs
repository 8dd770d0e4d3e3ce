//! Receiving: look, copy, take; and getting past a producer that is too slow.

use core::mem::MaybeUninit;

use crossbeam_utils::Backoff;

use super::{
    BUDGET, GUARDED, HINT_EVERY, Kind, NOBODY, ORPHANED, Phase, QUARANTINES_MAX, RACES, Ring, Run, STEPS, Skip, View,
    Word,
};
use crate::error::Fault;
use crate::layout::{Geometry, LINE, SLOT_HEADER};
use crate::memory::Anchor;
use crate::ring::lag::{self, Lag};
use crate::ring::{Consume, Peers, PopError};
use crate::sync::{Ordering, PlainAtomicU64, spin_loop};

/// Looks at a slot that is being written before it is passed over: some microseconds ...
const PATIENCE: u64 = if cfg!(loom) { 1 } else { 128 };
/// ... and one more for so many bytes of it.
const BYTES_A_LOOK: u64 = 32;
/// How many lines of a slot, behind its first one, a consumer rewrites: of more, the locked instructions cost more than they
/// gain (docs/PROTOCOL.md).
const LINES_TO_REWRITE: usize = 2;

/// The consuming side: any number of them, in any number of processes.
#[derive(Debug)]
pub(crate) struct Consumer<T, const PACKED: bool> {
    ring: Ring<T, PACKED>,
    /// A ticket that is not behind the first one to be delivered. Private to the handle, which threads may share.
    next: PlainAtomicU64,
    lag: Lag,
    /// Messages under guard. Other handles, clones of this one among them, are waited for at the end of the stream.
    guards: PlainAtomicU64,
}

/// A message taken under a guard: where it is, and how often others had it before.
#[derive(Debug)]
pub(crate) struct Taken {
    slot: u64,
    /// Deliveries before this one.
    pub(crate) redeliveries: u32,
}

/// What to make of a slot whose messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Free it, or leave the others there.
    Plain,
    /// Keep it until it is acknowledged.
    Guarded,
}

/// What was taken of one slot.
#[derive(Clone, Copy, Debug)]
struct Took {
    ticket: u64,
    /// The word that made it messages.
    word: Word,
    /// How many; 0 if the reader wanted none.
    messages: usize,
    /// A ticket that is not behind the next message.
    next: u64,
}

impl Took {
    /// Whether there is room in the slot again.
    #[inline(always)]
    fn freed(&self) -> bool {
        self.next != self.ticket
    }
}

impl<T, const PACKED: bool> Clone for Consumer<T, PACKED> {
    fn clone(&self) -> Self {
        // Relaxed: a hint to itself.
        Self::at(self.ring.clone(), self.next.load(Ordering::Relaxed))
    }
}

impl<T, const PACKED: bool> Consume<T> for Consumer<T, PACKED> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        // SAFETY: the caller's promise is the one that is asked for.
        Ok(Self::at(unsafe { Ring::open(anchor, geometry, peers) }?, 0))
    }

    #[inline(always)]
    fn pop(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<(), PopError> {
        peers.check().map_err(PopError::Fault)?;
        let took = self.take(false, peers, |slot, run| self.load_first(slot, run, place))?;
        self.store_hint(took.next);
        // Senders wait for slots.
        if took.freed() {
            peers.published(&self.ring.memory, 1);
        }
        Ok(())
    }

    fn pop_slice(
        &self,
        messages: &mut [T],
        peers: &impl Peers,
        check: impl Fn(MaybeUninit<T>) -> Result<T, Fault>,
    ) -> Result<usize, PopError> {
        peers.check().map_err(PopError::Fault)?;
        if messages.is_empty() {
            return Ok(0);
        }
        let (mut taken, mut freed) = (0, 0_usize);
        while taken < messages.len() {
            // A copy that comes to nothing leaves valid messages in the caller's places, which are not counted.
            let room = &mut messages[taken..];
            let read = |slot, run: Run| {
                let (run, mut read) = (Run { length: run.length.min(room.len()), ..run }, 0);
                self.ring.each_payload(slot, run, |index, offset| {
                    self.own(slot, offset);
                    // SAFETY: a run has been checked, so the message lies in the region, as `Slot::of` says.
                    let message = unsafe { self.ring.memory.load_value(offset) };
                    let Ok(message) = check(message) else { return false };
                    room[index] = message;
                    read = index + 1;
                    true
                });
                read
            };
            // No pause where something was had: the caller waits for it, and senders to be told of the room.
            match self.take(taken > 0, peers, read) {
                Ok(Took { messages: 0, .. }) if taken == 0 => {
                    let mut message = MaybeUninit::uninit();
                    self.pop(&mut message, peers)?;
                    messages[0] = check(message).map_err(PopError::Fault)?;
                    return Ok(1);
                }
                Ok(Took { messages: 0, .. }) => break,
                Ok(took) => {
                    taken += took.messages;
                    freed += usize::from(took.freed());
                    if freed % HINT_EVERY == 0 {
                        self.store_hint(took.next);
                    }
                }
                // What was taken was taken; the next call meets the error again.
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        self.store_hint(self.next.load(Ordering::Relaxed));
        if freed > 0 {
            peers.published(&self.ring.memory, freed);
        }
        Ok(taken)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.ring.len(self.next.load(Ordering::Relaxed), 0)
    }

    fn is_empty(&self) -> Result<bool, Fault> {
        self.ring.is_empty(self.next.load(Ordering::Relaxed), 0)
    }

    fn is_full(&self) -> Result<bool, Fault> {
        self.ring.is_full(self.next.load(Ordering::Relaxed), 0)
    }

    fn recover(&self, peers: &impl Peers) -> bool {
        // Relaxed: a number of this handle's own.
        self.ring.recover(peers) <= self.guards.load(Ordering::Relaxed)
    }
}

impl<T, const PACKED: bool> Consumer<T, PACKED> {
    /// Looks that a slot is given whose owner was never quarantined.
    const PATIENCE: u64 = PATIENCE + Ring::<T, PACKED>::SLOT.size as u64 / BYTES_A_LOOK;

    fn at(ring: Ring<T, PACKED>, next: u64) -> Self {
        let lag = Lag::new(next, ring.capacity(), lag::distance(ring.capacity()));
        Self { ring, next: PlainAtomicU64::new(next), lag, guards: PlainAtomicU64::new(0) }
    }

    /// Takes messages of the first slot that has any, all but the shared hint. `read` gets the slot and the run of messages
    /// that are left there, perhaps several times, copies the first ones, and says how many. With `paused`, an empty ring is no
    /// reason for another pause.
    #[inline(always)]
    fn take(
        &self,
        mut paused: bool,
        peers: &impl Peers,
        mut read: impl FnMut(u64, Run) -> usize,
    ) -> Result<Took, PopError> {
        let ring = &self.ring;
        // Relaxed: a hint to itself. The shared one is read when this one turns out to be old.
        let ticket = self.next.load(Ordering::Relaxed);
        if !paused && self.lag.is_due(ticket) {
            self.lag.keep(ticket, &mut paused, || ring.tail().load(Ordering::Relaxed));
        }
        let (slot, lap) = (ring.slot(ticket), ring.lap(ticket));
        // Acquire: the publish edge, and the skip word after the word.
        let word = Word(ring.word(slot).load(Ordering::Acquire));
        let run = if PACKED { word.run_in(lap, Ring::<T, PACKED>::SLOT.messages) } else { word.single_in(lap) };
        if let Some(run) = run {
            if !ring.asymmetric || Skip(ring.skip(slot).load(Ordering::Relaxed)).is_settled() {
                if let Some(took) = self.take_run(ticket, slot, word, run, &mut read) {
                    return Ok(took);
                }
            }
        }
        self.take_from(self.start(), Take::Plain, paused, peers, read)
    }

    /// Takes messages of this run, which the word of the ticket's slot tells of; `None` if somebody else was faster. The slot
    /// comes with the ticket, because every caller has worked it out before.
    #[inline(always)]
    fn take_run(
        &self,
        ticket: u64,
        slot: u64,
        word: Word,
        run: Run,
        read: &mut impl FnMut(u64, Run) -> usize,
    ) -> Option<Took> {
        let messages = read(slot, run);
        if messages == 0 {
            return Some(Took { ticket, word, messages, next: ticket });
        }
        // Release: the take edge, after the payload was copied.
        let word_after = word.without(messages, run);
        self.ring.word(slot).compare_exchange(word.0, word_after.0, Ordering::Release, Ordering::Relaxed).ok()?;
        let next = ticket.wrapping_add(u64::from(messages == run.length));
        // Relaxed: a hint to itself.
        self.next.store(next, Ordering::Relaxed);
        Some(Took { ticket, word, messages, next })
    }

    #[inline(always)]
    fn start(&self) -> u64 {
        // Acquire: the hint edge.
        self.next.load(Ordering::Relaxed).max(self.ring.head().load(Ordering::Acquire))
    }

    #[inline(always)]
    fn store_hint(&self, ticket: u64) {
        // Release: the hint edge.
        self.ring.head().store(ticket, Ordering::Release);
    }

    /// Makes a line of a slot this core's own: the one at the beginning of which the message at `offset` lies, or those behind
    /// the first one of a large message, where they are few.
    ///
    /// Of a line that was only read here, its next producer has a copy of its own, and has to wait until it is the only one
    /// (docs/PROTOCOL.md). The first line of a slot becomes our own when we take.
    #[inline(always)]
    fn own(&self, slot: u64, offset: usize) {
        let first = self.ring.offset(slot);
        // SAFETY: every caller's line lies in the slot, and that in the region.
        let word = |line: usize| unsafe { self.ring.memory.word_unchecked(line) };
        if PACKED {
            if offset % LINE == SLOT_HEADER && offset != first + SLOT_HEADER {
                // Relaxed: a word that nobody reads.
                word(offset - SLOT_HEADER).store(0, Ordering::Relaxed);
            }
            return;
        }
        let behind = LINE..Ring::<T, PACKED>::SLOT.size;
        if behind.len() > LINES_TO_REWRITE * LINE {
            return;
        }
        for line in behind.step_by(LINE) {
            let word = word(first + line);
            // Relaxed: nothing depends on the value, which stays: so it does no harm, whoever has the slot by now.
            let found = word.load(Ordering::Relaxed);
            let _ = word.compare_exchange(found, found, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Copies the first message of a run out; says that it is one.
    #[inline(always)]
    fn load_first(&self, slot: u64, run: Run, place: &mut MaybeUninit<T>) -> usize {
        let offset = self.ring.payload(slot, run.first);
        self.own(slot, offset);
        // SAFETY: as in `pop_slice`.
        unsafe { self.ring.memory.load(offset, place) };
        1
    }

    /// As [`Consumer::take`], of the first slot from `ticket` on.
    #[inline(never)]
    fn take_from(
        &self,
        ticket: u64,
        take: Take,
        mut paused: bool,
        peers: &impl Peers,
        mut read: impl FnMut(u64, Run) -> usize,
    ) -> Result<Took, PopError> {
        let ring = &self.ring;
        let backoff = Backoff::new();
        let (mut ticket, mut lost, mut walked, mut steps) = (ticket, 0, 0, 0);
        let mut looks = Self::PATIENCE << QUARANTINES_MAX;
        while walked <= ring.walk() && lost < RACES {
            let (slot, lap) = (ring.slot(ticket), ring.lap(ticket));
            let view = ring.look(slot).map_err(PopError::Fault)?;
            walked += 1;
            if view.lap > lap {
                ticket = self.behind_taken(ticket, &view);
                steps += 1;
                if steps % STEPS == 0 {
                    ticket = ticket.max(ring.head().load(Ordering::Acquire));
                }
                continue;
            }
            let mut empty = false;
            match view.phase {
                Phase::Free => empty = true,
                _ if view.lap < lap => empty = true,
                Phase::Held | Phase::Reading => ticket = ticket.wrapping_add(1),
                Phase::Full if view.skip.requests(lap) => {
                    ring.exchange_skip(slot, view.skip, Skip::settled(lap));
                }
                Phase::Full => {
                    let took = match take {
                        Take::Plain => {
                            let run = view.word.run(Ring::<T, PACKED>::SLOT.messages).expect("a view was checked");
                            self.take_run(ticket, slot, view.word, run, &mut read)
                        }
                        Take::Guarded => self.hold(ticket, &view, &mut read),
                    };
                    if let Some(took) = took {
                        return Ok(took);
                    }
                    lost += 1;
                    walked -= 1;
                    backoff.spin();
                }
                Phase::Writing if !self.is_claimed(ticket.wrapping_add(1))? => empty = true,
                Phase::Writing => {
                    if self.has_changed(slot, &view, &mut looks) {
                        walked -= 1;
                        lost += 1;
                    } else if peers.is_dead(view.owner) {
                        ring.reclaim(slot, &view, peers);
                    } else {
                        self.quarantine(slot, &view, peers);
                    }
                }
            }
            if empty && !self.lag.pause(ticket, &mut paused) && !self.redelivers(ticket, &view, peers)? {
                return Err(PopError::Empty);
            }
        }
        Err(PopError::Fault(Fault::Contended))
    }

    /// As [`Consumer::take_run`], under a guard.
    fn hold(&self, ticket: u64, view: &View, read: &mut impl FnMut(u64, Run) -> usize) -> Option<Took> {
        let (slot, next) = (self.ring.slot(ticket), ticket.wrapping_add(1));
        let messages = read(slot, Run::SINGLE);
        if !self.ring.exchange(slot, view.word, view.word.with(Phase::Reading, self.ring.me)) {
            return None;
        }
        // Relaxed: a hint to itself.
        self.next.store(next, Ordering::Relaxed);
        Some(Took { ticket, word: view.word, messages, next })
    }

    /// The ticket behind `ticket`, or a later one if everything before that was delivered.
    fn behind_taken(&self, ticket: u64, view: &View) -> u64 {
        // A claimed slot of lap l: the tickets up to its own in lap l - 1 are behind us. A FREE one may have become so
        // out of order: one lap less.
        let back = if view.phase == Phase::Free { 2 } else { 1 };
        let next = ticket.wrapping_add(1);
        match view.lap.checked_sub(back) {
            Some(lap) => next.max(self.ring.ticket(lap, self.ring.slot(ticket)).wrapping_add(1)),
            None => next,
        }
    }

    /// At the frontier: the ring is empty, unless a message that somebody refused or left behind became one again just now.
    fn redelivers(&self, ticket: u64, view: &View, peers: &impl Peers) -> Result<bool, PopError> {
        if view.lap.wrapping_add(1) < self.ring.lap(ticket) {
            return Err(PopError::Fault(super::corrupt_lap(self.ring.lap(ticket), view.lap)));
        }
        // What was walked over needs no second walk. Relaxed: a hint to itself.
        self.next.store(ticket, Ordering::Relaxed);
        // Relaxed: once set, it stays. A reader that was killed has told nobody.
        if self.ring.memory.word(GUARDED).load(Ordering::Relaxed) != 0 && peers.has_ticked() {
            self.ring.recover(peers);
            return Ok(true);
        }
        // AcqRel: what is refused from now on sets it again; whoever clears it sees to what was refused before. The load
        // is to keep the line while there is nothing to do.
        let orphaned = self.ring.memory.word(ORPHANED);
        let mine = orphaned.load(Ordering::Relaxed) != 0 && orphaned.swap(0, Ordering::AcqRel) != 0;
        Ok(mine && self.ring.redeliver_all(peers))
    }

    /// Whether somebody has claimed `ticket`.
    fn is_claimed(&self, ticket: u64) -> Result<bool, PopError> {
        let view = self.ring.look(self.ring.slot(ticket)).map_err(PopError::Fault)?;
        Ok(view.is_claimed(self.ring.lap(ticket)))
    }

    /// Waits for a slot that is being written, but not for long; says whether it has changed. `left` are the looks that are
    /// left to the call, whatever it meets.
    fn has_changed(&self, slot: u64, view: &View, left: &mut u64) -> bool {
        // Relaxed: a hint of how much patience is due.
        let quarantines = self.ring.quarantines(view.owner).map_or(0, |count| count.load(Ordering::Relaxed));
        let looks = Self::PATIENCE << quarantines.min(QUARANTINES_MAX);
        for _ in 0..looks.min(*left) {
            *left -= 1;
            // Relaxed: who sees a change looks again.
            if self.ring.word(slot).load(Ordering::Relaxed) != view.word.0 {
                return true;
            }
            spin_loop();
        }
        false
    }

    /// Passes over a slot whose live owner is too slow to write it.
    #[cold]
    fn quarantine(&self, slot: u64, view: &View, peers: &impl Peers) {
        let ring = &self.ring;
        if !ring.asymmetric {
            ring.exchange(slot, view.word, view.word.with(Phase::Held, view.owner));
            return;
        }
        let request = Skip::new(view.lap, Kind::Req, view.owner);
        let skip = Skip(ring.skip(slot).load(Ordering::Acquire));
        if skip.laps() > view.lap && skip != request {
            return; // Settled, or quarantined by somebody else.
        }
        if skip != request && !ring.exchange_skip(slot, skip, request) {
            return;
        }
        // Behind it, the owner's store of FULL is visible, or the owner will see the request.
        if peers.barrier() && ring.word(slot).load(Ordering::Acquire) == view.word.0 {
            ring.exchange_skip(slot, request, Skip::new(view.lap, Kind::Quar, view.owner));
        }
    }

    /// As [`Consume::pop`], but the message stays in its slot until it is acknowledged.
    pub(crate) fn take_guarded(&self, place: &mut MaybeUninit<T>, peers: &impl Peers) -> Result<Taken, PopError> {
        peers.check().map_err(PopError::Fault)?;
        let guarded = self.ring.memory.word(GUARDED);
        // Relaxed: from now on, whoever recovers looks for readers; it need not be this very moment.
        if guarded.load(Ordering::Relaxed) == 0 {
            guarded.store(1, Ordering::Relaxed);
        }
        let took =
            self.take_from(self.start(), Take::Guarded, false, peers, |slot, run| self.load_first(slot, run, place))?;
        // Relaxed: a number of this handle's own.
        self.guards.fetch_add(1, Ordering::Relaxed);
        self.store_hint(took.next);
        let slot = self.ring.slot(took.ticket);
        let redeliveries = if took.word.is_redelivered() {
            // Relaxed: written before the word became FULL again, which was acquired.
            self.ring.redelivery(slot).load(Ordering::Relaxed) as u32 & 0xFFFF
        } else {
            0
        };
        Ok(Taken { slot, redeliveries })
    }

    /// Ends a guard: the message is done with, or is to be delivered again.
    pub(crate) fn end_guard(&self, taken: &Taken, acknowledged: bool, peers: &impl Peers) -> Result<(), Fault> {
        let ring = &self.ring;
        // Relaxed: as above.
        self.guards.fetch_sub(1, Ordering::Relaxed);
        for _ in 0..4 * ring.capacity() + BUDGET {
            let word = Word(ring.word(taken.slot).load(Ordering::Acquire));
            if word.phase() != Some(Phase::Reading) || word.owner() != ring.me {
                return Err(super::corrupt_word(word));
            }
            let to = if acknowledged { Word::free(word.lap() + 1) } else { word.with(Phase::Reading, NOBODY) };
            // Fails if the slot was passed over meanwhile.
            if ring.exchange(taken.slot, word, to) {
                if acknowledged {
                    peers.made_room();
                    // Nothing can come of this message any more: that may be what other receivers wait for at the end.
                    if !peers.is_open(&ring.memory) {
                        peers.made_messages(usize::MAX);
                    }
                } else {
                    // Release: after the word.
                    ring.memory.word(ORPHANED).store(1, Ordering::Release);
                    peers.made_messages(1);
                }
                return Ok(());
            }
        }
        Err(Fault::Contended)
    }
}
