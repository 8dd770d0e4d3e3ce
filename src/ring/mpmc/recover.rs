//! Taking back what dead peers left behind, and delivering again what was not acknowledged. No role, no file, no order:
//! every step is an exact exchange that anybody may do at any moment, as often as they like.
//!
//! The death test: (1) read the word that names owner k; (2) the kernel says that nobody holds the lease of k; (3)
//! exchange that very word. A newcomer that takes index k first sweeps every word that names k, so a late (3) fails.

use super::{BUDGET, Flavor, GUARDED, Kind, NOBODY, ORPHANED, PeerRecord, Phase, Ring, Skip, View, Word};
use crate::ring::Peers;
use crate::sync::Ordering;

impl<T, const PACKED: bool> Ring<T, PACKED> {
    /// Settles everything that the last holder of this peer's index left behind. The caller holds the lease, and has not
    /// handed out anything that could claim.
    pub(super) fn sweep(&self, peers: &impl Peers) {
        let attaches = Flavor::Mpmc.record_offset(self.me) + memoffset::offset_of!(PeerRecord, attaches);
        // Relaxed: written by the last holder, whose lease ended before ours began.
        if self.memory.word(attaches).load(Ordering::Relaxed) == 0 {
            return;
        }
        for slot in 0..self.capacity() {
            // Others may bump the slot meanwhile, at most once a lap.
            for _ in 0..BUDGET {
                match self.look(slot) {
                    Ok(view) if view.owner == self.me && self.reclaim(slot, &view, peers) => {}
                    _ => break,
                }
            }
        }
    }

    /// Takes a slot out of the hands of the view's owner; `false` if there was nothing to do.
    ///
    /// The view was read **before** the kernel was asked whether its owner is dead (or the caller holds that index, and has
    /// never claimed with it). So every exchange is from what was seen, or from what this call itself has put there, and
    /// fails if a newcomer of that index was faster.
    ///
    /// In mode A a slot that is being written is first quarantined and then given back, as a live owner would do it: so a
    /// peer that is stopped in the middle of this leaves a slot that the others pass over. That first exchange is on the
    /// skip word, and would not notice that the owner published between the view and its end. Therefore the word is
    /// looked at once more, now that its owner can store nothing any more; and as an owner claims a ticket once, what is
    /// still being written now was never published.
    pub(super) fn reclaim(&self, slot: u64, view: &View, peers: &impl Peers) -> bool {
        let View { word, skip, phase, lap, owner } = *view;
        match phase {
            Phase::Free => false,
            Phase::Full => {
                // Or a late request could become a quarantine that names the index's next holder.
                let requested = skip.requests(lap);
                if requested {
                    self.exchange_skip(slot, skip, Skip::settled(lap));
                }
                requested
            }
            Phase::Writing if self.asymmetric => {
                let quarantine = Skip::new(lap, Kind::Quar, owner);
                // Acquire: what the dead owner stored last.
                if self.word(slot).load(Ordering::Acquire) != word.0 {
                    return true;
                }
                let undecided = skip.laps() <= lap || skip.requests(lap);
                if undecided && self.exchange_skip(slot, skip, quarantine) {
                    self.give_back_for(slot, word, quarantine, peers);
                }
                undecided
            }
            Phase::Held if skip.kind() == Some(Kind::Quar) => {
                self.give_back_for(slot, word, skip, peers);
                true
            }
            Phase::Writing | Phase::Held => {
                if self.exchange(slot, word, Word::free(lap + 1)) {
                    peers.made_room();
                }
                true
            }
            Phase::Reading => {
                if owner != NOBODY && self.exchange(slot, word, word.with(Phase::Reading, NOBODY)) {
                    // Release: after the word.
                    self.memory.word(ORPHANED).store(1, Ordering::Release);
                    peers.made_messages(1);
                }
                owner != NOBODY
            }
        }
    }

    /// The way back of a quarantined slot, for an owner that is dead.
    fn give_back_for(&self, slot: u64, word: Word, skip: Skip, peers: &impl Peers) {
        let lap = skip.laps() - 1;
        let held = Word::new(lap, Phase::Held, skip.owner());
        let given_back = (word == held || self.exchange(slot, word, held))
            && self.exchange_skip(slot, skip, Skip::settled(lap))
            && self.exchange(slot, held, Word::free(lap + 1));
        if given_back {
            peers.made_room();
        }
    }

    /// Looks at every slot; says how many messages are held by receivers, and may come back.
    pub(super) fn recover(&self, peers: &impl Peers) -> u64 {
        let mut held = 0;
        // Most slots in trouble have one owner. That one was alive a moment ago may be remembered; that one is dead must be
        // asked after each look.
        let mut alive = self.me;
        for slot in 0..self.capacity() {
            let Ok(view) = self.look(slot) else { continue };
            match view.phase {
                Phase::Free | Phase::Full => continue,
                Phase::Writing | Phase::Held | Phase::Reading => {}
            }
            if view.owner != alive {
                if view.owner == NOBODY || peers.is_dead(view.owner) {
                    self.reclaim(slot, &view, peers);
                } else {
                    alive = view.owner;
                }
            }
            held += u64::from(view.phase == Phase::Reading);
        }
        // Relaxed: a killed peer may have cleared the other flag and done nothing, which is why this one is never.
        if self.memory.word(GUARDED).load(Ordering::Relaxed) != 0 {
            self.redeliver_all(peers);
        }
        held
    }

    /// Whether a message is under guard, or waits for its redelivery.
    pub(super) fn has_readers(&self) -> bool {
        let is_read = |slot| Word(self.word(slot).load(Ordering::Acquire)).phase() == Some(Phase::Reading);
        // Relaxed: whoever takes under guard says so before, and who asks has found the message taken.
        self.memory.word(GUARDED).load(Ordering::Relaxed) != 0 && (0..self.capacity()).any(is_read)
    }

    /// Turns a slot that waits for its redelivery into a message, in the ticket behind the view's, which is the frontier;
    /// says whether it did.
    pub(super) fn redeliver(&self, slot: u64, view: &View, peers: &impl Peers) -> bool {
        let times = self.redelivery(slot);
        let count = times.load(Ordering::Acquire);
        let lap = view.lap + 1;
        if count >> 16 < lap {
            // The number is that of this message only if it was delivered again before.
            let before = if view.word.is_redelivered() { count & 0xFFFF } else { 0 };
            let next = lap << 16 | (before + 1).min(0xFFFF);
            // Fails if somebody else has counted this redelivery.
            let _ = times.compare_exchange(count, next, Ordering::AcqRel, Ordering::Relaxed);
        }
        let done = self.exchange(slot, view.word, Word::full(lap, 1).redelivered());
        if done {
            peers.made_messages(1);
        }
        done
    }

    fn is_orphan(&self, slot: u64) -> bool {
        let word = Word(self.word(slot).load(Ordering::Acquire));
        word.phase() == Some(Phase::Reading) && word.owner() == NOBODY
    }

    /// The first slot from `ticket` on that waits for its redelivery.
    fn orphan_from(&self, ticket: u64) -> Option<u64> {
        (0..self.capacity()).map(|step| self.slot(ticket.wrapping_add(step))).find(|slot| self.is_orphan(*slot))
    }

    /// Moves the frontier on until everything that waits for its redelivery is a message again, or the ring is full; says
    /// whether any became one.
    pub(super) fn redeliver_all(&self, peers: &impl Peers) -> bool {
        let frontier = self.frontier(self.tail().load(Ordering::Acquire));
        let Ok(mut ticket) = frontier else { return false };
        let (mut any, mut goal) = (false, self.orphan_from(ticket));
        for _ in 0..2 * self.capacity() + BUDGET {
            let Some(orphan) = goal else { return any };
            let (slot, lap) = (self.slot(ticket), self.lap(ticket));
            let Ok(view) = self.look(slot) else { break };
            if view.is_claimed(lap) {
                ticket = self.behind_claimed(ticket, view.lap);
                continue;
            }
            let done = match view.phase {
                // Somebody else was faster; a ticket that is voided for nothing is room that others miss.
                Phase::Free if !self.is_orphan(orphan) => {
                    goal = self.orphan_from(ticket);
                    continue;
                }
                Phase::Free if view.lap == lap => self.exchange(slot, view.word, view.word.bumped()),
                Phase::Reading if view.owner == NOBODY => {
                    let done = self.redeliver(slot, &view, peers);
                    any |= done;
                    done
                }
                Phase::Held | Phase::Reading => self.bump(slot, &view),
                Phase::Free | Phase::Full | Phase::Writing => break, // Full: whoever makes room comes by here.
            };
            if done {
                ticket = ticket.wrapping_add(1);
                // Release: the hint edge.
                self.tail().store(ticket, Ordering::Release);
            }
            if slot == orphan {
                goal = self.orphan_from(ticket);
            }
        }
        // Release: after the words.
        self.memory.word(ORPHANED).store(1, Ordering::Release);
        any
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use crate::error::Fault;
    use crate::layout::Geometry;
    use crate::memory::{Anchor, Memory};
    use crate::ring::mpmc::consume::Consumer;
    use crate::ring::mpmc::produce::Producer;
    use crate::ring::{Consume, Produce};
    use crate::sys::heap::Heap;

    const OWNER: usize = 1;

    /// A peer that asks about the owner of slot 0 in the very moment in which that one does its last deed.
    struct Asks<D> {
        index: usize,
        last_deed: D,
    }

    impl<D: Fn()> Peers for Asks<D> {
        fn check(&self) -> Result<(), Fault> {
            Ok(())
        }

        fn is_one_way(&self) -> bool {
            false
        }

        fn is_open(&self, _: &Memory) -> bool {
            true
        }

        fn published(&self, _: &Memory, _: usize) {}

        fn index(&self) -> usize {
            self.index
        }

        fn has_barrier(&self) -> bool {
            true
        }

        fn barrier(&self) -> bool {
            true
        }

        fn is_dead(&self, index: usize) -> bool {
            assert_eq!(index, OWNER);
            (self.last_deed)();
            true
        }

        fn has_ticked(&self) -> bool {
            true
        }

        fn made_room(&self) {}

        fn made_messages(&self, _: usize) {}
    }

    /// The first message of `owner`, claimed and written, but not published; then what a recovering peer makes of it whose
    /// question about the owner's life comes right after `last_deed`.
    #[allow(unsafe_code)]
    fn recover_after(last_deed: impl Fn(&Ring<u64, false>)) -> (Option<u64>, Word) {
        let geometry = Geometry::new(Flavor::Mpmc, 4, 8, 4, false).expect("a small ring");
        let heap = Heap::new(geometry.region_length).expect("a little memory");
        let anchor = || Anchor::new(heap.memory()).expect("a page");
        let quiet = |index| Asks { index, last_deed: || {} };
        // SAFETY: the heap outlives the ring, and the geometry is the payload's.
        let owner = unsafe { Ring::<u64, false>::open(anchor(), &geometry, &quiet(OWNER)) }.expect("a ring");
        // SAFETY: as above.
        let others = unsafe { Producer::<u64, false>::resume(anchor(), &geometry, &quiet(2)) }.expect("a producer");
        // SAFETY: as above.
        let consumer = unsafe { Consumer::<u64, false>::resume(anchor(), &geometry, &quiet(3)) }.expect("a consumer");

        owner.word(0).store(Word::new(0, Phase::Writing, OWNER).0, Ordering::Relaxed);
        // SAFETY: the payload of a slot lies in the region.
        unsafe { owner.memory.store(owner.payload(0, 0), &7_u64) };
        consumer.recover(&Asks { index: 3, last_deed: || last_deed(&owner) });

        let receive = || {
            let mut place = MaybeUninit::uninit();
            // SAFETY: it was initialized, and every bit pattern is a u64.
            consumer.pop(&mut place, &quiet(3)).ok().map(|()| unsafe { place.assume_init() })
        };
        let message = receive();
        for number in 10..18 {
            others.push(&number, &quiet(2)).expect("no slot is lost");
            assert_eq!(receive(), Some(number));
        }
        (message, Word(owner.word(0).load(Ordering::Relaxed)))
    }

    #[test]
    fn what_was_published_before_the_owner_died_is_a_message() {
        let (message, _) = recover_after(|ring| {
            ring.word(0).store(Word::full(0, 1).0, Ordering::Release);
        });
        assert_eq!(message, Some(7));
    }

    #[test]
    fn what_was_published_and_taken_by_then_is_left_alone() {
        let (message, _) = recover_after(|ring| {
            ring.word(0).store(Word::free(1).0, Ordering::Release);
            ring.head().store(1, Ordering::Release);
            ring.tail().store(1, Ordering::Release);
        });
        assert_eq!(message, None);
    }

    #[test]
    fn what_was_never_published_is_no_message() {
        let (message, word) = recover_after(|_| {});
        assert_eq!((message, word.phase()), (None, Some(Phase::Free)));
    }
}
