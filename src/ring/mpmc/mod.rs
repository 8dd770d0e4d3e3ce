//! The multi-producer, multi-consumer ring: lock-free, and no peer that is killed or stopped anywhere stops the others.
//!
//! # Idea
//!
//! Rings that claim with a tail counter (Vyukov 2010, LMAX Disruptor, DPDK, SCQ) leave a hole that nobody can attribute
//! when the claimant dies. Here ticket t is claimed by **one compare-exchange on the slot's own word**, which holds lap,
//! phase and owner, so the same instruction publishes the claim and the claimant. Tail and head are hints.
//!
//! Ticket t is slot `t mod N` in lap `t / N`; N is a power of two.
//!
//! docs/PROTOCOL.md has the state diagram, the invariants I1 to I7, and what is left behind by whoever is killed where.
//!
//! A plain consumer holds nothing: it copies the payload out and then exchanges FULL(l) for FREE(l+1); killed before, it
//! has taken nothing, and a copy that was overwritten meanwhile fails the exchange.
//!
//! # Packed rings
//!
//! There, a batch of small messages is sent in slots of many: FULL(l) says which of them are left, a *run*. Who takes some
//! exchanges it for FULL(l) with a shorter run, and who takes the last ones for FREE(l+1). So one exchange claims a slot for
//! many messages, and one takes as many. A message under guard would keep the ones behind it, so there are no guards.
//!
//! # Two ways to publish
//!
//! *Mode C*: by a compare-exchange, which fails if the slot was quarantined. *Mode A*, where every peer can issue
//! `membarrier`: by a plain store, followed by a look at the slot's skip word. Who quarantines writes REQ(l) there, issues
//! the barrier, and **reads the word again**; only if it is still WRITING(l,p), REQ(l) becomes QUAR(l), and the slot
//! counts as HELD whatever its word says. The barrier falls before p's store, then p's look at the skip word finds the
//! request; or after it, and then the second reading finds FULL. A reader loads the word first and the skip word second:
//!
//! * skip is QUAR(x,p): the slot is HELD(x,p);
//! * skip speaks about a later lap than the word could be in: the word was old, load both again;
//! * else the word is the truth. FULL(l) with REQ(l) is first settled to PUB(l): from then on nobody can quarantine it.
//!
//! An owner that finds QUAR(x) stores HELD(x) into the word, then settles the skip word to PUB(x), then gives the slot back
//! as in mode C; so a FREE word never goes with QUAR, and a claim need not look at the skip word. (Storing FREE(x+1)
//! there at once, as a first design did, lets a claim and the bump of QUAR(x) use the same ticket: `tests/model_mpmc`
//! finds the lost message.) Reclaiming takes the same steps for the dead owner.
//!
//! # Edges
//!
//! * **publish**: the word becomes FULL (Release), after the payload; read (Acquire) by consumers, before the payload.
//! * **take**: the word becomes FREE(l+1) (Release), after the payload was copied; the claim reads it (Acquire).
//! * **hint**: stored (Release) after the word; whoever starts from it (Acquire) sees all words up to it in their lap.
//! * **skip**: exchanged (AcqRel) only; what it says about the word holds for whoever reads it (Acquire).
//!
//! In mode A a `send` may return while its FULL is still in the processor's store buffer. "Empty only when true" and "a
//! completed send is not overtaken" therefore hold for everybody who could know that the send has returned (whatever
//! told them makes the FULL visible, too), not on a global clock.
//!
//! # Trust
//!
//! Geometry and own positions are private. Laps, owners and hints are input: an address depends on a ticket's residue
//! modulo N only, an owner index is used for queries only, and every loop has a budget, after which it says so.

mod consume;
mod packing;
mod produce;
mod recover;
mod word;

use core::marker::PhantomData;
use core::ops::Range;

pub(crate) use self::consume::Taken;
pub(crate) use self::packing::{Consumer, Producer};
pub(crate) use self::word::Phase;
use self::word::{Kind, NOBODY, Run, Skip, Word};
use super::Peers;
use crate::error::Fault;
use crate::layout::{Flavor, GUARDED, Geometry, HEAD, LINE, ORPHANED, PeerRecord, Slot, TAIL};
use crate::memory::{Anchor, Memory};
use crate::sync::{AtomicU64, Ordering, spin_loop};

/// Rounds of a loop that others can make longer, beyond a few walks around the ring.
const BUDGET: u64 = 64;
/// Races for one slot, one after the other, that a correct channel does not lose.
const RACES: u32 = 1 << 16;
/// Taken slots to walk over before the hint is read again: walking alone never catches up with whoever leads, reading at
/// each step makes the hint everybody's line (docs/PROTOCOL.md, "Beyond two cores").
const STEPS: u32 = 3;
/// The patience of consumers doubles with each quarantine of a send, up to this many.
const QUARANTINES_MAX: u64 = 8;
/// How often a batch stores the hint, in slots: whoever starts from an old one walks that far.
const HINT_EVERY: usize = 8;

/// So many messages in a line make it worth a loop of its own.
const SEVERAL: usize = 4;

/// What producers and consumers of one process have in common. Whether messages share slots is part of the type, because the
/// product of a ticket and a number from memory would be waited for with every message.
#[derive(Debug)]
struct Ring<T, const PACKED: bool> {
    memory: Memory,
    /// Offset of the first slot.
    start: usize,
    /// Offset of the first redelivery word.
    redeliveries: usize,
    /// Records in the peer table.
    peers: usize,
    /// log2 of the number of slots.
    shift: u32,
    /// This peer's index.
    me: usize,
    /// Mode A.
    asymmetric: bool,
    payload: PhantomData<fn(T) -> T>,
}

impl<T, const PACKED: bool> Clone for Ring<T, PACKED> {
    fn clone(&self) -> Self {
        Self { payload: PhantomData, ..*self }
    }
}

/// A slot as it was at one moment.
#[derive(Clone, Copy, Debug)]
struct View {
    word: Word,
    skip: Skip,
    /// What both say together.
    phase: Phase,
    lap: u64,
    /// Whom they name; of a FULL slot, whom a request does, else [`NOBODY`].
    owner: usize,
}

impl View {
    /// Whether somebody has claimed the slot's ticket of `lap`.
    fn is_claimed(&self, lap: u64) -> bool {
        self.lap > lap || self.lap == lap && self.phase != Phase::Free
    }
}

/// The phase of a slot, from its two words (mode C: and a zero) as somebody read them.
pub(crate) fn phase(word: u64, skip: u64) -> Option<Phase> {
    if Skip(skip).kind()? == Kind::Quar { Some(Phase::Held) } else { Word(word).phase() }
}

/// Messages in a FULL slot that has at most so many.
pub(crate) fn messages(word: u64, most: u64) -> u64 {
    Word(word).run(most as usize).map_or(0, |run| run.length as u64)
}

impl<T, const PACKED: bool> Ring<T, PACKED> {
    const SLOT: Slot = Slot::of(size_of::<T>(), PACKED);

    /// # Safety
    /// As [`super::Produce::resume`].
    unsafe fn open(anchor: Anchor, geometry: &Geometry, peers: &impl Peers) -> Result<Self, Fault> {
        let ring = Self {
            // For good: `Peers::check` finds out about a fork before each call.
            memory: anchor.memory()?,
            start: geometry.start,
            redeliveries: geometry.end,
            peers: geometry.peers,
            shift: geometry.capacity.trailing_zeros(),
            me: peers.index(),
            asymmetric: peers.has_barrier(),
            payload: PhantomData,
        };
        ring.sweep(peers);
        Ok(ring)
    }

    fn capacity(&self) -> u64 {
        1 << self.shift
    }

    #[inline(always)]
    fn lap(&self, ticket: u64) -> u64 {
        ticket >> self.shift
    }

    /// The ticket of this slot in that lap.
    fn ticket(&self, lap: u64, slot: u64) -> u64 {
        lap << self.shift | slot
    }

    /// The slot of a ticket, whatever the ticket.
    #[inline(always)]
    fn slot(&self, ticket: u64) -> u64 {
        ticket & (self.capacity() - 1)
    }

    #[inline(always)]
    fn offset(&self, slot: u64) -> usize {
        self.start + slot as usize * Self::SLOT.size
    }

    /// Offset of message `index` of a slot.
    #[inline(always)]
    fn payload(&self, slot: u64, index: usize) -> usize {
        self.offset(slot) + Slot::place(size_of::<T>(), index)
    }

    /// Hands out the messages of a run, each with its index in it and its offset, until `see` says that it is enough.
    ///
    /// Where a line has several, there are two loops, because one that looks for the end of a line at each message is slower.
    #[inline(always)]
    fn each_payload(&self, slot: u64, run: Run, mut see: impl FnMut(usize, usize) -> bool) {
        let (in_line, step) = (Slot::in_line(size_of::<T>()), Slot::step(size_of::<T>()));
        let mut offset = self.payload(slot, run.first);
        if !PACKED {
            see(0, offset);
        } else if in_line < SEVERAL {
            // Slots begin with a line, so an offset in the region is as far into one as an offset in the slot.
            for index in 0..run.length {
                if !see(index, offset) {
                    return;
                }
                offset = Slot::place_behind(size_of::<T>(), offset);
            }
        } else {
            let (mut line, mut end) = (0, in_line - run.first % in_line);
            while line < run.length {
                for index in line..end.min(run.length) {
                    if !see(index, offset) {
                        return;
                    }
                    offset += step;
                }
                offset += LINE - in_line * step;
                (line, end) = (end, end + in_line);
            }
        }
    }

    #[inline(always)]
    fn word(&self, slot: u64) -> &AtomicU64 {
        // SAFETY: `slot` is below the capacity, so its word lies in the region, at a multiple of 8.
        unsafe { self.memory.word_unchecked(self.offset(slot)) }
    }

    #[inline(always)]
    fn skip(&self, slot: u64) -> &AtomicU64 {
        // SAFETY: as in `word`; the header of a slot is two words.
        unsafe { self.memory.word_unchecked(self.offset(slot) + 8) }
    }

    /// How often the message in a slot was delivered: `lap:48 | times:16`.
    fn redelivery(&self, slot: u64) -> &AtomicU64 {
        self.memory.word(self.redeliveries + 8 * slot as usize)
    }

    #[inline(always)]
    fn tail(&self) -> &AtomicU64 {
        // SAFETY: the lines lie in every region.
        unsafe { self.memory.word_unchecked(TAIL) }
    }

    #[inline(always)]
    fn head(&self) -> &AtomicU64 {
        // SAFETY: as in `tail`.
        unsafe { self.memory.word_unchecked(HEAD) }
    }

    /// Where an owner counts its quarantines in a row.
    fn quarantines(&self, owner: usize) -> Option<&AtomicU64> {
        let field = memoffset::offset_of!(PeerRecord, quarantines);
        (owner < self.peers).then(|| self.memory.word(Flavor::Mpmc.record_offset(owner) + field))
    }

    /// Replaces a slot's word, if it is still `from`. The claim and take edges.
    fn exchange(&self, slot: u64, from: Word, to: Word) -> bool {
        self.word(slot).compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Replaces a slot's skip word, if it is still `from`. The skip edge.
    fn exchange_skip(&self, slot: u64, from: Skip, to: Skip) -> bool {
        self.skip(slot).compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Slots that one call may walk over. Others who have the lines of a small ring at hand are done with each slot before it
    /// is looked at, for hundreds of slots in a row.
    fn walk(&self) -> u64 {
        4 * self.capacity() + u64::from(RACES)
    }

    /// Looks at a slot.
    fn look(&self, slot: u64) -> Result<View, Fault> {
        let mut rounds = 0;
        loop {
            // Acquire: the publish and take edges, and the skip word after the word.
            let word = Word(self.word(slot).load(Ordering::Acquire));
            // No ring comes to the last lap, and without it the next lap is always a number, too.
            let phase = word.phase().filter(|_| word.lap() < Word::LAST_LAP).ok_or_else(|| corrupt_word(word))?;
            if phase == Phase::Full && word.run(Self::SLOT.messages).is_none() {
                let expected = Word::full(word.lap(), Self::SLOT.messages).0;
                return Err(Fault::Corrupt { what: "which messages are left in a slot", expected, found: word.0 });
            }
            let owner = if phase == Phase::Full { NOBODY } else { word.owner() };
            let plain = View { word, skip: Skip(0), phase, lap: word.lap(), owner };
            if !self.asymmetric {
                return Ok(plain);
            }
            // Acquire: the skip edge.
            let skip = Skip(self.skip(slot).load(Ordering::Acquire));
            let latest = plain.lap + u64::from(phase != Phase::Free);
            match skip.kind() {
                Some(Kind::Quar) if skip.laps() > 0 => {
                    return Ok(View { word, skip, phase: Phase::Held, lap: skip.laps() - 1, owner: skip.owner() });
                }
                Some(Kind::Pub | Kind::Req) if skip.laps() <= latest => {
                    let owner = if skip.requests(plain.lap) { skip.owner() } else { owner };
                    return Ok(View { skip, owner, ..plain });
                }
                Some(Kind::Pub | Kind::Req) if rounds < BUDGET => rounds += 1,
                _ => return Err(Fault::Corrupt { what: "a slot's skip word", expected: latest, found: skip.0 }),
            }
            spin_loop();
        }
    }

    /// Passes a slot over for the ticket of `lap`, the one behind the view's; says whether it was the one to do so.
    fn bump(&self, slot: u64, view: &View) -> bool {
        if self.asymmetric && view.skip.kind() == Some(Kind::Quar) {
            self.exchange_skip(slot, view.skip, view.skip.bumped())
        } else {
            self.exchange(slot, view.word, view.word.bumped())
        }
    }

    /// The first ticket at or behind `ticket` that nobody has claimed, as far as one walk around the ring tells.
    fn frontier(&self, ticket: u64) -> Result<u64, Fault> {
        let mut ticket = ticket;
        for _ in 0..=2 * self.capacity() {
            let (slot, lap) = (self.slot(ticket), self.lap(ticket));
            let view = self.look(slot)?;
            if !view.is_claimed(lap) {
                break;
            }
            ticket = self.behind_claimed(ticket, view.lap);
        }
        Ok(ticket)
    }

    /// A ticket behind `ticket` that is not behind the frontier, for a slot that is in `lap` already.
    fn behind_claimed(&self, ticket: u64, lap: u64) -> u64 {
        // If the slot is in lap l, all tickets up to its ticket in lap l - 1 were claimed.
        let claimed = lap.saturating_sub(1);
        ticket.wrapping_add(1).max(self.ticket(claimed, self.slot(ticket)).wrapping_add(1))
    }

    /// Tickets between the hints, give or take what is going on: those of messages, and what lies between them.
    fn used(&self, head: u64, tail: u64) -> Result<Range<u64>, Fault> {
        let head = head.max(self.head().load(Ordering::Acquire));
        let tail = self.frontier(tail.max(self.tail().load(Ordering::Acquire)))?;
        // Consumers may have passed what the hint does not tell of, yet.
        let mut head = head.max(tail.saturating_sub(self.capacity()));
        while head < tail {
            let view = self.look(self.slot(head))?;
            let lap = self.lap(head);
            if view.lap <= lap && !matches!(view.phase, Phase::Held | Phase::Reading) {
                break;
            }
            head += 1;
        }
        Ok(head.min(tail)..tail)
    }

    /// Messages between the hints, give or take what is going on.
    fn len(&self, head: u64, tail: u64) -> Result<u64, Fault> {
        let used = self.used(head, tail)?;
        if !PACKED {
            return Ok(used.end - used.start);
        }
        used.map(|ticket| {
            let view = self.look(self.slot(ticket))?;
            Ok(match (view.lap == self.lap(ticket), view.word.run(Self::SLOT.messages)) {
                (true, Some(run)) if view.phase == Phase::Full => run.length as u64,
                (true, _) => u64::from(view.phase == Phase::Writing),
                (false, _) => 0,
            })
        })
        .sum()
    }

    /// Whether no message is between the hints. Unlike the number of them, it needs a look at one slot, in a packed ring, too.
    fn is_empty(&self, head: u64, tail: u64) -> Result<bool, Fault> {
        Ok(self.used(head, tail)?.is_empty())
    }

    /// Whether there is no room, not even for a single message.
    fn is_full(&self, head: u64, tail: u64) -> Result<bool, Fault> {
        let used = self.used(head, tail)?;
        Ok(used.end - used.start == self.capacity())
    }
}

#[cold]
fn corrupt_word(found: Word) -> Fault {
    Fault::Corrupt { what: "a slot's word", expected: found.0 & !0b111, found: found.0 }
}

/// A slot is not in the lap that the ticket expects, or the one before: somebody forged a hint or a word.
#[cold]
fn corrupt_lap(expected: u64, found: u64) -> Fault {
    Fault::Corrupt { what: "a slot's lap", expected, found }
}
