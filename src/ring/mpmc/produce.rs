//! Sending: claim, write, publish; and what follows when the slot was quarantined meanwhile.

use crossbeam_utils::Backoff;

use super::{
    BUDGET, HINT_EVERY, Kind, NOBODY, Phase, QUARANTINES_MAX, RACES, Ring, Run, STEPS, Skip, View, Word, corrupt_lap,
};
use crate::error::Fault;
use crate::layout::Geometry;
use crate::memory::Anchor;
use crate::ring::lag::{self, Lag};
use crate::ring::{Peers, Produce, PushError};
use crate::sync::{Ordering, PlainAtomicU64, compiler_fence, fence};

/// The producing side: any number of them, in any number of processes.
#[derive(Debug)]
pub(crate) struct Producer<T, const PACKED: bool> {
    ring: Ring<T, PACKED>,
    /// A ticket that is not behind the frontier. Private to the handle, which threads may share.
    next: PlainAtomicU64,
    lag: Lag,
}

impl<T, const PACKED: bool> Clone for Producer<T, PACKED> {
    fn clone(&self) -> Self {
        // Relaxed: a hint to itself.
        Self::at(self.ring.clone(), self.next.load(Ordering::Relaxed))
    }
}

impl<T, const PACKED: bool> Produce<T> for Producer<T, PACKED> {
    unsafe fn resume(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        // SAFETY: the caller's promise is the one that is asked for.
        Ok(Self::at(unsafe { Ring::open(anchor, geometry, peers) }?, 0))
    }

    #[inline(always)]
    fn push(&self, message: &T, peers: &impl Peers) -> Result<(), PushError> {
        self.check(peers)?;
        let ticket = self.send(core::slice::from_ref(message), false, peers)?;
        self.store_hint(ticket.wrapping_add(1));
        peers.published(&self.ring.memory, 1);
        Ok(())
    }

    fn push_slice(&self, messages: &[T], peers: &impl Peers) -> Result<usize, PushError> {
        self.check(peers)?;
        if messages.is_empty() {
            return Ok(0);
        }
        let (mut sent, mut slots) = (0, 0_usize);
        while sent < messages.len() {
            // No pause where something is to be told: others wait for the messages that this call has sent.
            let (pack, ticket) = if PACKED {
                let pack = &messages[sent..][..Ring::<T, PACKED>::SLOT.messages.min(messages.len() - sent)];
                (pack.len(), self.send(pack, sent > 0, peers))
            } else {
                (1, self.send(core::slice::from_ref(&messages[sent]), sent > 0, peers))
            };
            match ticket {
                Ok(ticket) => {
                    sent += pack;
                    slots += 1;
                    if slots % HINT_EVERY == 0 {
                        self.store_hint(ticket.wrapping_add(1));
                    }
                }
                // What was sent was sent; the next call meets the error again.
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        self.store_hint(self.next.load(Ordering::Relaxed));
        peers.published(&self.ring.memory, sent);
        Ok(sent)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.ring.len(0, self.next.load(Ordering::Relaxed))
    }

    fn is_empty(&self) -> Result<bool, Fault> {
        self.ring.is_empty(0, self.next.load(Ordering::Relaxed))
    }

    fn is_full(&self) -> Result<bool, Fault> {
        self.ring.is_full(0, self.next.load(Ordering::Relaxed))
    }

    fn is_drained(&self) -> Result<bool, Fault> {
        Ok(self.is_empty()? && !self.ring.has_readers())
    }

    fn recover(&self, peers: &impl Peers) {
        self.ring.recover(peers);
    }
}

impl<T, const PACKED: bool> Producer<T, PACKED> {
    fn at(ring: Ring<T, PACKED>, next: u64) -> Self {
        let lag = Lag::new(next, ring.capacity(), lag::distance(ring.capacity()));
        Self { ring, next: PlainAtomicU64::new(next), lag }
    }

    #[inline(always)]
    fn check(&self, peers: &impl Peers) -> Result<(), PushError> {
        peers.check().map_err(PushError::Fault)?;
        if peers.is_open(&self.ring.memory) { Ok(()) } else { Err(PushError::Closed) }
    }

    /// Sends what fits a slot, all but the shared hint; says in which ticket. With `paused`, a full ring is no reason for
    /// another pause.
    #[inline(always)]
    fn send(&self, messages: &[T], mut paused: bool, peers: &impl Peers) -> Result<u64, PushError> {
        let ring = &self.ring;
        // Relaxed: a hint to itself. The shared one is read when this one turns out to be old.
        let start = self.next.load(Ordering::Relaxed);
        if !paused && self.lag.is_due(start) {
            self.lag.keep(start, &mut paused, || ring.head().load(Ordering::Relaxed).wrapping_add(ring.capacity()));
        }
        let (slot, lap) = (self.ring.slot(start), self.ring.lap(start));
        let claimed = Word::new(lap, Phase::Writing, self.ring.me);
        // Without a look first: the line is fetched once, and for writing. Acquire: the take edge.
        let claim =
            self.ring.word(slot).compare_exchange(Word::free(lap).0, claimed.0, Ordering::Acquire, Ordering::Relaxed);
        let ticket = match claim {
            Ok(_) => start,
            Err(_) => self.claim_from(self.start(), paused, peers)?,
        };
        let ticket = if self.publish(ticket, messages) { ticket } else { self.send_again(ticket, messages, peers)? };
        // Relaxed: a hint to itself.
        self.next.store(ticket.wrapping_add(1), Ordering::Relaxed);
        Ok(ticket)
    }

    #[inline(always)]
    fn start(&self) -> u64 {
        // Acquire: the hint edge.
        self.next.load(Ordering::Relaxed).max(self.ring.tail().load(Ordering::Acquire))
    }

    #[inline(always)]
    fn store_hint(&self, ticket: u64) {
        // Release: the hint edge.
        self.ring.tail().store(ticket, Ordering::Release);
    }

    /// Claims the first ticket from `ticket` on that is to be had.
    #[cold]
    #[inline(never)]
    fn claim_from(&self, ticket: u64, mut paused: bool, peers: &impl Peers) -> Result<u64, PushError> {
        let ring = &self.ring;
        let backoff = Backoff::new();
        let (mut ticket, mut lost, mut bumps, mut walked, mut steps) = (ticket, 0, 0, 0, 0);
        while walked <= ring.walk() && lost < RACES {
            let (slot, lap) = (ring.slot(ticket), ring.lap(ticket));
            let view = ring.look(slot).map_err(PushError::Fault)?;
            walked += 1;
            if view.is_claimed(lap) {
                ticket = ring.behind_claimed(ticket, view.lap);
                steps += 1;
                if steps % STEPS == 0 {
                    ticket = ticket.max(ring.tail().load(Ordering::Acquire));
                }
                continue;
            }
            if view.lap == lap {
                if ring.exchange(slot, view.word, Word::new(lap, Phase::Writing, ring.me)) {
                    return Ok(ticket);
                }
                lost += 1;
                walked -= 1;
                backoff.spin();
                continue;
            }
            if view.lap + 1 != lap {
                return Err(PushError::Fault(corrupt_lap(lap, view.lap)));
            }
            match view.phase {
                Phase::Free => return Err(PushError::Fault(corrupt_lap(lap, view.lap))),
                Phase::Writing if peers.is_known_dead(view.owner) => {
                    ring.reclaim(slot, &view, peers);
                }
                Phase::Full | Phase::Writing if self.lag.pause(ticket, &mut paused) => {}
                Phase::Full | Phase::Writing => return Err(PushError::Full),
                Phase::Held | Phase::Reading if bumps >= ring.capacity() => return Err(PushError::Full),
                Phase::Held | Phase::Reading => {
                    if self.pass_over(slot, &view, peers) {
                        ticket = ticket.wrapping_add(1);
                        bumps += 1;
                    }
                }
            }
        }
        Err(PushError::Fault(Fault::Contended))
    }

    /// Passes over a slot that is out of circulation, or puts it back if its owner is dead; says whether the ticket behind
    /// the view's is used up by that.
    fn pass_over(&self, slot: u64, view: &View, peers: &impl Peers) -> bool {
        let dead = view.owner == NOBODY || peers.is_known_dead(view.owner);
        match (view.phase, dead) {
            (Phase::Reading, true) => self.ring.redeliver(slot, view, peers),
            (_, true) => {
                self.ring.reclaim(slot, view, peers);
                false
            }
            (_, false) => self.ring.bump(slot, view),
        }
    }

    /// Writes messages into a claimed slot and publishes them; `false` if the slot was quarantined before.
    #[inline(always)]
    fn publish(&self, ticket: u64, messages: &[T]) -> bool {
        let ring = &self.ring;
        let (slot, lap) = (ring.slot(ticket), ring.lap(ticket));
        ring.each_payload(slot, Run { first: 0, length: messages.len() }, |index, offset| {
            // SAFETY: no caller has more than fit a slot, which lies in the region, as long as `Slot::of` says; T has no
            // padding.
            unsafe { ring.memory.store(offset, &messages[index]) };
            true
        });
        let full = Word::full(lap, messages.len());
        if !ring.asymmetric {
            let claimed = Word::new(lap, Phase::Writing, ring.me);
            // Release: the publish edge. AcqRel for what may follow a failure.
            return ring.exchange(slot, claimed, full);
        }
        // Release: the publish edge.
        ring.word(slot).store(full.0, Ordering::Release);
        // The other half of the barrier that whoever quarantines issues.
        compiler_fence(Ordering::SeqCst);
        // Relaxed: if it asks for more, `settle` reads it again.
        Skip(ring.skip(slot).load(Ordering::Relaxed)).is_settled() || self.settle(slot, lap, full)
    }

    /// Mode A, with a request for the quarantine of this slot in sight: whether the messages count.
    #[cold]
    fn settle(&self, slot: u64, lap: u64, full: Word) -> bool {
        // Orders the store of FULL before the loads below; whoever quarantines does the same with its barrier.
        fence(Ordering::SeqCst);
        for _ in 0..BUDGET {
            let skip = Skip(self.ring.skip(slot).load(Ordering::Acquire));
            if skip.laps() <= lap {
                // A request that came too late for its message; left there, it would bring every message here.
                if skip.kind() == Some(Kind::Req) && skip.laps() > 0 {
                    self.ring.exchange_skip(slot, skip, Skip::settled(skip.laps() - 1));
                }
                return true;
            }
            if self.ring.word(slot).load(Ordering::Acquire) != full.0 {
                return true;
            }
            match skip.kind() {
                Some(Kind::Req) if self.ring.exchange_skip(slot, skip, Skip::settled(lap)) => return true,
                Some(Kind::Req) => {}
                Some(Kind::Quar) => return false,
                _ => return true,
            }
        }
        true
    }

    /// Gives back the slot that was quarantined, and sends once more, until it succeeds or that has happened too often.
    #[cold]
    #[inline(never)]
    fn send_again(&self, ticket: u64, messages: &[T], peers: &impl Peers) -> Result<u64, PushError> {
        let patience = self.ring.quarantines(self.ring.me).expect("a peer's own index lies in the table");
        let mut ticket = ticket;
        for _ in 0..BUDGET {
            self.give_back(self.ring.slot(ticket)).map_err(PushError::Fault)?;
            peers.made_room();
            // Relaxed: a hint to consumers.
            patience.store(patience.load(Ordering::Relaxed).min(QUARANTINES_MAX - 1) + 1, Ordering::Relaxed);
            // No pause: this call has taken its time, and may have messages to tell about.
            ticket = self.claim_from(self.start(), true, peers)?;
            if self.publish(ticket, messages) {
                patience.store(0, Ordering::Relaxed);
                return Ok(ticket);
            }
        }
        self.give_back(self.ring.slot(ticket)).map_err(PushError::Fault)?;
        peers.made_room();
        Err(PushError::Fault(Fault::Contended))
    }

    /// Puts a quarantined slot of this producer back into circulation.
    fn give_back(&self, slot: u64) -> Result<(), Fault> {
        let ring = &self.ring;
        for _ in 0..4 * ring.capacity() + BUDGET {
            let skip = Skip(ring.skip(slot).load(Ordering::Acquire));
            if ring.asymmetric && skip.kind() == Some(Kind::Quar) && skip.owner() == ring.me && skip.laps() > 0 {
                let lap = skip.laps() - 1;
                // Release: whoever finds the skip word settled finds this. Only the owner writes the word meanwhile.
                ring.word(slot).store(Word::new(lap, Phase::Held, ring.me).0, Ordering::Release);
                // Fails if the slot was passed over once more.
                ring.exchange_skip(slot, skip, Skip::settled(lap));
                continue;
            }
            let word = Word(ring.word(slot).load(Ordering::Acquire));
            if word.phase() != Some(Phase::Held) || word.owner() != ring.me {
                return Err(super::corrupt_word(word));
            }
            if ring.exchange(slot, word, Word::free(word.lap() + 1)) {
                return Ok(());
            }
        }
        Err(Fault::Contended)
    }
}
