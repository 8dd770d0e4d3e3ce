//! Taking back what dead peers left behind, and delivering again what was not acknowledged. No role, no file, no order:
//! every step is an exact exchange that anybody may do at any moment, as often as they like.
//!
//! The death test: (1) read the word that names owner k; (2) the kernel says that nobody holds the lease of k; (3)
//! exchange that very word. A newcomer that takes index k first sweeps every word that names k, so a late (3) fails.

use super::{BUDGET, Flavor, GUARDED, Kind, NOBODY, ORPHANED, PeerRecord, Phase, Ring, Skip, View, Word};
use crate::ring::Peers;
use crate::sync::Ordering;

impl<T> Ring<T> {
    /// Settles everything that the last holder of this peer's index left behind. The caller holds the lease.
    pub(super) fn sweep(&self, peers: &impl Peers) {
        let attaches = Flavor::Mpmc.record_offset(self.me) + memoffset::offset_of!(PeerRecord, attaches);
        // Relaxed: written by the last holder, whose lease ended before ours began.
        if self.memory.word(attaches).load(Ordering::Relaxed) != 0 {
            (0..self.capacity()).for_each(|slot| self.reclaim(slot, self.me, peers));
        }
    }

    /// Takes a slot out of the hands of `dead`, if it is there. The caller knows that nobody holds that index, or holds it
    /// itself and has never used it.
    pub(super) fn reclaim(&self, slot: u64, dead: usize, peers: &impl Peers) {
        for _ in 0..BUDGET {
            let word = Word(self.word(slot).load(Ordering::Acquire));
            let skip = if self.asymmetric { Skip(self.skip(slot).load(Ordering::Acquire)) } else { Skip(0) };
            if skip.kind() == Some(Kind::Quar) && skip.owner() == dead && skip.laps() > 0 {
                let lap = skip.laps() - 1;
                let held = Word::new(lap, Phase::Held, dead);
                if word == held || self.exchange(slot, word, held) {
                    self.exchange_skip(slot, skip, Skip::settled(lap));
                }
                continue;
            }
            if word.owner() != dead {
                return;
            }
            let lap = word.lap();
            let done = match word.phase() {
                // First the skip word, or a late request could turn into a quarantine of the next lap's owner.
                Some(Phase::Writing | Phase::Full) if skip.requests(lap) => {
                    self.exchange_skip(slot, skip, Skip::settled(lap));
                    false
                }
                Some(Phase::Writing) if self.asymmetric && skip.laps() <= lap => {
                    self.exchange_skip(slot, skip, Skip::settled(lap));
                    false
                }
                Some(Phase::Writing | Phase::Held) => {
                    let freed = self.exchange(slot, word, Word::free(lap + 1));
                    if freed {
                        peers.made_room();
                    }
                    freed
                }
                Some(Phase::Reading) if dead != NOBODY => {
                    let orphaned = self.exchange(slot, word, word.with(Phase::Reading, NOBODY));
                    if orphaned {
                        // Release: after the word.
                        self.memory.word(ORPHANED).store(1, Ordering::Release);
                        peers.made_message();
                    }
                    orphaned
                }
                _ => true,
            };
            if done {
                return;
            }
        }
    }

    /// Looks at every slot; says whether no message can come of what others hold.
    pub(super) fn recover(&self, peers: &impl Peers) -> bool {
        let mut settled = true;
        // Most slots in trouble have one owner.
        let mut asked = (NOBODY, true);
        for slot in 0..self.capacity() {
            let Ok(view) = self.look(slot) else { continue };
            match view.phase {
                Phase::Free | Phase::Full => continue,
                Phase::Writing | Phase::Held | Phase::Reading => {}
            }
            if view.owner != asked.0 {
                asked = (view.owner, peers.is_dead(view.owner));
            }
            if asked.1 {
                self.reclaim(slot, view.owner, peers);
            }
            settled &= view.phase != Phase::Reading || view.owner == self.me;
        }
        // Relaxed: a killed peer may have cleared the other flag and done nothing, which is why this one is never.
        if self.memory.word(GUARDED).load(Ordering::Relaxed) != 0 {
            self.redeliver_all(peers);
        }
        settled
    }

    /// Turns a slot that waits for its redelivery into a message, in the ticket behind the view's, which is the frontier;
    /// says whether it did.
    pub(super) fn redeliver(&self, slot: u64, view: &View, peers: &impl Peers) -> bool {
        let times = self.redelivery(slot);
        let count = times.load(Ordering::Acquire);
        let lap = view.lap + 1;
        if count >> 16 != lap {
            // The number is that of this message only if it was delivered again before.
            let before = if view.word.is_redelivered() { count & 0xFFFF } else { 0 };
            let next = lap << 16 | (before + 1).min(0xFFFF);
            // Fails if somebody else has counted this redelivery.
            let _ = times.compare_exchange(count, next, Ordering::AcqRel, Ordering::Relaxed);
        }
        let done = self.exchange(slot, view.word, view.word.bumped().with(Phase::Full, NOBODY).redelivered());
        if done {
            peers.made_message();
        }
        done
    }

    /// Moves the frontier on until everything that waits for its redelivery is a message again, or the ring is full.
    pub(super) fn redeliver_all(&self, peers: &impl Peers) {
        let orphaned = self.memory.word(ORPHANED);
        // AcqRel: what is refused from now on sets it again.
        orphaned.swap(0, Ordering::AcqRel);
        let orphans = |slot: &u64| {
            let word = Word(self.word(*slot).load(Ordering::Acquire));
            word.phase() == Some(Phase::Reading) && word.owner() == NOBODY
        };
        let mut left = (0..self.capacity()).filter(orphans).count();
        let Ok(mut ticket) = self.frontier(self.tail().load(Ordering::Acquire)) else { return };
        for _ in 0..2 * self.capacity() + BUDGET {
            if left == 0 {
                return;
            }
            let (slot, lap) = (self.slot(ticket), self.lap(ticket));
            let Ok(view) = self.look(slot) else { return };
            if view.lap > lap || view.lap == lap && view.phase != Phase::Free {
                ticket = self.behind_claimed(ticket, view.lap);
                continue;
            }
            let done = match view.phase {
                Phase::Free if view.lap == lap => self.exchange(slot, view.word, view.word.bumped()),
                Phase::Reading if view.owner == NOBODY => {
                    let done = self.redeliver(slot, &view, peers);
                    left -= usize::from(done);
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
        }
        orphaned.store(1, Ordering::Release);
    }
}
